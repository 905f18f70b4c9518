package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/test/harness"
)

// transactionChange is a change of transactional ID t, which has written to
// partition p and put offset 5 of group g aside; and the same test for all changes:
// did it happen?
type transactionChange struct {
	name string
	op   func(f *transactionFixture) metadata.TransactionOp
	// happened is what everything then looks like.
	happened string
	// entry: it makes a feed entry.
	entry bool
	// again is what a repetition is told that finds the change done.
	again error
}

const beforeChange = `Ongoing epoch 0 in 1 ["g"], 1 records, stable 0, aborted 0, offset -1 true`

var transactionChanges = []transactionChange{
	{"initialize", func(f *transactionFixture) metadata.TransactionOp {
		return metadata.InitProducer{Timeout: time.Minute, Expected: f.producer, NewProducerID: f.newProducerID()}
	}, `Empty epoch 1 in 0 [], 2 records, stable 2, aborted 1, offsets none`, true, nil},
	{"add", func(f *transactionFixture) metadata.TransactionOp {
		group := "h"
		return metadata.AddToTransaction{Producer: f.producer, Partitions: []metadata.PartitionID{f.other}, Group: &group}
	}, `Ongoing epoch 0 in 2 ["g" "h"], 1 records, stable 0, aborted 0, offset -1 true`, false, nil},
	{"put offsets aside", func(f *transactionFixture) metadata.TransactionOp {
		return f.putAside(6, f.other)
	}, `Ongoing epoch 0 in 1 ["g"], 1 records, stable 0, aborted 0, offset -1 true, offset -1 true`, false, nil},
	{"commit", func(f *transactionFixture) metadata.TransactionOp {
		return f.ending(true)
	}, `CompleteCommit epoch 1 in 0 [], 2 records, stable 2, aborted 0, offset 5 false`, true, nil},
	{"commit of an older client", func(f *transactionFixture) metadata.TransactionOp {
		return metadata.EndTransaction{Producer: f.producer, Commit: true, Version: metadata.TransactionV1, NewProducerID: -1}
	}, `CompleteCommit epoch 0 in 0 [], 2 records, stable 2, aborted 0, offset 5 false`, true, nil},
	{"abort", func(f *transactionFixture) metadata.TransactionOp {
		return f.ending(false)
	}, `CompleteAbort epoch 1 in 0 [], 2 records, stable 2, aborted 1, offsets none`, true, nil},
	{"expire", func(f *transactionFixture) metadata.TransactionOp {
		exec(f, f.url, `UPDATE transactions SET started_at = started_at - interval '1 hour'`)
		return metadata.ExpireTransaction{Producer: f.producer}
	}, `CompleteAbort epoch 1 in 0 [], 2 records, stable 2, aborted 1, offsets none`, true, metadata.ErrProducerFenced},
}

// transactionFixture is a database with an open transaction.
type transactionFixture struct {
	testing.TB
	url      string
	observer *Store
	producer metadata.ProducerEpoch
	// partition was written to, other was not.
	partition, other metadata.PartitionID
	groupVersion     int64
}

func newTransactionFixture(t testing.TB, url string) *transactionFixture {
	t.Helper()
	f := &transactionFixture{TB: t, url: url, observer: open(t, url)}
	topic, err := f.observer.CreateTopic(t.Context(), metadata.NewTopic{Name: "t", Partitions: 2})
	f.must(err)
	f.partition, f.other = topic.Partitions[0], topic.Partitions[1]
	f.groupVersion, err = f.observer.StoreGroup(t.Context(), "g", 0, metadata.GroupState{State: []byte("x")})
	f.must(err)
	f.producer = f.change(metadata.InitProducer{Timeout: time.Minute, Expected: metadata.NoProducer, NewProducerID: f.newProducerID()}).Producer
	_, err = f.observer.CommitFiles(t.Context(), []metadata.File{f.file(f.partition)})
	f.must(err)
	f.change(f.putAside(5, f.partition))
	f.wantLook(beforeChange)
	return f
}

func (f *transactionFixture) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

func (f *transactionFixture) newProducerID() int64 {
	f.Helper()
	id, err := f.observer.AllocateProducerIDs(f.Context(), 1)
	f.must(err)
	return id
}

func (f *transactionFixture) putAside(offset int64, partition metadata.PartitionID) metadata.TransactionOp {
	return metadata.TransactionOffsets{
		Producer: f.producer, GroupID: "g", GroupVersion: f.groupVersion, Version: metadata.TransactionV2,
		Offsets: []metadata.Offset{{GroupID: "g", Partition: partition, Offset: offset, LeaderEpoch: -1}},
	}
}

// ending ends the transaction of a client of KIP-890.
func (f *transactionFixture) ending(commit bool) metadata.TransactionOp {
	return metadata.EndTransaction{Producer: f.producer, Commit: commit, Version: metadata.TransactionV2, NewProducerID: -1}
}

// file holds one batch for each of the partitions, which it adds to the transaction.
func (f *transactionFixture) file(partitions ...metadata.PartitionID) metadata.File {
	file, err := transactionalFile(f.producer, partitions)
	f.must(err)
	return file
}

func transactionalFile(producer metadata.ProducerEpoch, partitions []metadata.PartitionID) (metadata.File, error) {
	id, err := uuid.NewV7()
	file := metadata.File{ID: id, Size: 10}
	batch := metadata.Batch{Size: 10, Records: 1, MaxTimestamp: 1, ProducerID: producer.ID, ProducerEpoch: producer.Epoch, Transactional: true, AddsPartition: true}
	for _, partition := range partitions {
		file.Appends = append(file.Appends, metadata.Append{Partition: partition, StoredSize: 10, Batches: []metadata.Batch{batch}})
	}
	return file, err
}

// change changes transactional ID t and requires success.
func (f *transactionFixture) change(op metadata.TransactionOp) metadata.TransactionResult {
	f.Helper()
	changed, err := f.observer.ChangeTransactions(f.Context(), []metadata.TransactionRequest{{ID: "t", Op: op}})
	f.must(err)
	f.must(changed.Results[0].Err)
	return changed.Results[0]
}

// look is transactional ID t, the partition, and the offsets of group g, as text.
func (f *transactionFixture) look() string {
	f.Helper()
	transactions, _, err := f.observer.Transactions(f.Context(), []string{"t"})
	f.must(err)
	t := transactions[0]
	found, err := f.observer.FindRuns(f.Context(), []metadata.RunQuery{{Partition: f.partition, MaxBytes: 1 << 20, MaxRuns: 10}})
	f.must(err)
	offsets, err := f.observer.FetchOffsets(f.Context(), []metadata.OffsetQuery{{GroupID: "g"}})
	f.must(err)
	look := fmt.Sprintf("%v epoch %d in %d %q, %d records, stable %d, aborted %d", t.State, t.Epoch, len(t.Partitions), t.Groups, found[0].NextOffset, found[0].StableOffset, len(found[0].Aborted))
	for _, o := range offsets[0] {
		look += fmt.Sprintf(", offset %d %v", o.Offset, o.Unstable)
	}
	if len(offsets[0]) == 0 {
		look += ", offsets none"
	}
	return look
}

func (f *transactionFixture) wantLook(want string) {
	f.Helper()
	if got := f.look(); got != want {
		f.Fatalf("got  %s\nwant %s", got, want)
	}
}

func TestTransactionChangeOverBrokenConnection(t *testing.T) {
	databases := newDatabases(harness.Postgres(t))
	for _, c := range transactionChanges {
		for _, cut := range []struct {
			name    string
			trigger string
			deliver bool
			want    error
			// happened tells what became of the first attempt.
			happened bool
		}{
			{"lock request lost: tried again at once", "FOR UPDATE", false, nil, true},
			{"answer to lock request lost: tried again at once", "FOR UPDATE", true, nil, true},
			{"COMMIT lost", "COMMIT\x00", false, metadata.ErrOutcomeUnknown, false},
			{"answer to COMMIT lost", "COMMIT\x00", true, metadata.ErrOutcomeUnknown, true},
		} {
			t.Run(c.name+", "+cut.name, func(t *testing.T) {
				direct := databases(t).(database).url
				f := newTransactionFixture(t, direct)
				p, through := newProxy(t, direct)
				s := open(t, through+plainSQL)
				requests := []metadata.TransactionRequest{{ID: "t", Op: c.op(f)}}

				p.cutAt(cut.trigger, cut.deliver)
				if _, err := s.ChangeTransactions(t.Context(), requests); !errors.Is(err, cut.want) {
					t.Fatalf("got %v, want %v", err, cut.want)
				}
				if cut.happened {
					f.wantLook(c.happened)
				} else {
					f.wantLook(beforeChange)
				}
				// The same request again settles it either way.
				again, err := s.ChangeTransactions(t.Context(), requests)
				f.must(err)
				want := error(nil)
				if cut.happened {
					want = c.again
				}
				if got := again.Results[0].Err; !errors.Is(got, want) {
					t.Fatalf("told %v, want %v", got, want)
				}
				if fresh := len(again.Commits) == 1; fresh != (c.entry && !cut.happened) {
					t.Fatalf("feed entries %+v, but the first attempt happened: %v", again.Commits, cut.happened)
				}
				f.wantLook(c.happened)
			})
		}
	}
}

// TestTransactionalBatchOverBrokenConnection: what a commit of files changes of
// transactions goes with it.
func TestTransactionalBatchOverBrokenConnection(t *testing.T) {
	for _, deliver := range []bool{false, true} {
		t.Run(fmt.Sprintf("persisted=%v", deliver), func(t *testing.T) {
			direct := harness.Postgres(t)
			f := newTransactionFixture(t, direct)
			f.producer = f.change(f.ending(false)).Producer
			p, through := newProxy(t, direct)
			s := open(t, through+plainSQL)
			file := f.file(f.partition)
			const (
				before = `CompleteAbort epoch 1 in 0 [], 2 records, stable 2, aborted 1, offsets none`
				begun  = `Ongoing epoch 1 in 1 [], 3 records, stable 2, aborted 1, offsets none`
			)
			f.wantLook(before)
			p.cutAt("COMMIT\x00", deliver)
			if _, err := s.CommitFiles(t.Context(), []metadata.File{file}); !errors.Is(err, metadata.ErrOutcomeUnknown) {
				t.Fatalf("got %v", err)
			}
			if deliver {
				f.wantLook(begun)
			} else {
				f.wantLook(before)
			}
			result, err := s.CommitFiles(t.Context(), []metadata.File{file})
			f.must(err)
			if got := result.Files[0].Outcomes[0][0]; got.BaseOffset != 2 || got.Err != nil {
				t.Fatalf("got %+v", got)
			}
			f.wantLook(begun)
		})
	}
}

// failingTransactions makes every change of a table of transactions run the PL/pgSQL statements.
func failingTransactions(t testing.TB, url, statements string) {
	t.Helper()
	exec(t, url, `CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN `+statements+` IF TG_OP = 'DELETE' THEN RETURN OLD; END IF; RETURN NEW; END $$`)
	for _, table := range []string{"transactions", "transaction_partitions", "transaction_offsets"} {
		exec(t, url, `CREATE TRIGGER fail BEFORE INSERT OR UPDATE OR DELETE ON `+table+` FOR EACH ROW EXECUTE FUNCTION fail()`)
	}
}

func TestServerErrorsDuringTransactionChange(t *testing.T) {
	databases := newDatabases(harness.Postgres(t))
	for _, c := range transactionChanges {
		for code, want := range map[string]error{
			"40P01": metadata.ErrUnavailable, "53100": metadata.ErrUnavailable, "55P03": metadata.ErrUnavailable, "42703": metadata.ErrSchema,
		} {
			t.Run(c.name+" "+code, func(t *testing.T) {
				url := databases(t).(database).url
				f := newTransactionFixture(t, url)
				requests := []metadata.TransactionRequest{{ID: "t", Op: c.op(f)}}
				failingTransactions(t, url, fmt.Sprintf(`RAISE EXCEPTION 'injected' USING ERRCODE = '%s';`, code))
				_, err := f.observer.ChangeTransactions(t.Context(), requests)
				if !errors.Is(err, want) || errors.Is(err, metadata.ErrOutcomeUnknown) {
					t.Fatalf("got %v", err)
				}
				f.wantLook(beforeChange)
				exec(t, url, `DROP FUNCTION fail CASCADE`)
				changed, err := f.observer.ChangeTransactions(t.Context(), requests)
				f.must(err)
				f.must(changed.Results[0].Err)
				f.wantLook(c.happened)
			})
		}
	}
}

// TestTransactionIsNotKnownToHaveEndedBeforeThatIsReplicated: a repeated call that
// finds its own change must not take it for done.
func TestTransactionIsNotKnownToHaveEndedBeforeThatIsReplicated(t *testing.T) {
	server := harness.StartPostgres(t)
	url := server.URL()
	f := newTransactionFixture(t, url)
	requests := []metadata.TransactionRequest{{ID: "t", Op: f.ending(true)}}
	requireStandby(t, url, "nobody")
	for try := range 3 {
		err := patience(t, 2*time.Second, func(ctx context.Context) error { _, err := f.observer.ChangeTransactions(ctx, requests); return err })
		if !errors.Is(err, metadata.ErrOutcomeUnknown) {
			t.Errorf("try %d: %v, want ErrOutcomeUnknown", try, err)
		}
	}
	requireStandby(t, url, "")
	changed, err := f.observer.ChangeTransactions(t.Context(), requests)
	if err != nil || changed.Results[0].Err != nil || changed.Results[0].Producer.Epoch != 1 {
		t.Errorf("with no standby to wait for: %+v, %v", changed, err)
	}
	f.wantLook(`CompleteCommit epoch 1 in 0 [], 2 records, stable 2, aborted 0, offset 5 false`)
}

// TestTransactionsFilesAndOffsetsDontLockEachOtherOut: many stores at once begin and
// end transactions, commit files, and write, delete and fence offsets of the same
// groups. Nothing is tried twice here, so a deadlock shows.
func TestTransactionsFilesAndOffsetsDontLockEachOtherOut(t *testing.T) {
	patientCalls(t)
	const agents, rounds, groups, partitions = 4, 8, 3, 4
	url := harness.Postgres(t)
	first := openWithoutRetries(t, url)
	topic, err := first.CreateTopic(t.Context(), metadata.NewTopic{Name: "t", Partitions: partitions})
	if err != nil {
		t.Fatal(err)
	}
	// Between two offsets there is time for others to come in between.
	exec(t, url, `CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		PERFORM pg_sleep(0.001); IF TG_OP = 'DELETE' THEN RETURN OLD; END IF; RETURN NEW; END $$`)
	exec(t, url, `CREATE TRIGGER dawdle BEFORE INSERT OR UPDATE OR DELETE ON group_offsets FOR EACH ROW EXECUTE FUNCTION dawdle()`)
	var wg sync.WaitGroup
	for agent := range agents {
		l := &lockers{ctx: t.Context(), s: openWithoutRetries(t, url), agent: agent, partitions: topic.Partitions}
		for i := range groups {
			l.groups = append(l.groups, fmt.Sprint("g", i))
		}
		for _, loop := range []func(round int) error{l.transact, l.writeOffsets, l.changeGroups} {
			wg.Go(func() {
				for round := range rounds {
					if err := loop(round); err != nil {
						t.Errorf("agent %d, round %d: %v", agent, round, err)
						return
					}
				}
			})
		}
	}
	wg.Wait()
	if n := (database{url: url}).GroupLeftovers(t) + (database{url: url}).TransactionLeftovers(t); n != 0 {
		t.Errorf("%d rows left over", n)
	}
}

func openWithoutRetries(t *testing.T, url string) *Store {
	t.Helper()
	s := open(t, url)
	s.retry = failsafe.With(retrypolicy.NewBuilder[any]().WithMaxAttempts(1).Build())
	return s
}

// lockers is one agent, which does in turns what takes locks.
type lockers struct {
	ctx        context.Context
	s          *Store
	agent      int
	partitions []metadata.PartitionID
	groups     []string
}

// order is in which order to go through n things, another one in each round.
func order(n, round int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = (i + round) % n
	}
	if round%2 == 1 {
		slices.Reverse(out)
	}
	return out
}

// transact runs two transactions, which write to all partitions and put offsets of all
// groups aside, and ends them in one call.
func (l *lockers) transact(round int) error {
	first, err := l.s.AllocateProducerIDs(l.ctx, 2)
	if err != nil {
		return err
	}
	requests := make([]metadata.TransactionRequest, 2)
	for i := range requests {
		requests[i] = metadata.TransactionRequest{ID: fmt.Sprint(l.agent, "-", i), Op: metadata.InitProducer{Timeout: time.Minute, Expected: metadata.NoProducer, NewProducerID: first + int64(i)}}
	}
	changed, err := l.s.ChangeTransactions(l.ctx, requests)
	if err != nil {
		return err
	}
	for i, r := range changed.Results {
		if err := errors.Join(r.Err, l.write(r.Producer, round), l.putAside(requests[i].ID, r.Producer, round)); err != nil {
			return err
		}
		requests[i].Op = metadata.EndTransaction{Producer: r.Producer, Commit: (round+i)%3 > 0, Version: metadata.TransactionV2, NewProducerID: -1}
	}
	if changed, err = l.s.ChangeTransactions(l.ctx, requests); err != nil {
		return err
	}
	return errors.Join(changed.Results[0].Err, changed.Results[1].Err)
}

func (l *lockers) write(producer metadata.ProducerEpoch, round int) error {
	var partitions []metadata.PartitionID
	for _, i := range order(len(l.partitions), round) {
		partitions = append(partitions, l.partitions[i])
	}
	file, err := transactionalFile(producer, partitions)
	if err != nil {
		return err
	}
	result, err := l.s.CommitFiles(l.ctx, []metadata.File{file})
	if err != nil {
		return err
	}
	for _, outcomes := range result.Files[0].Outcomes {
		err = errors.Join(err, outcomes[0].Err)
	}
	return err
}

// putAside offers offsets of all groups; those that change meanwhile refuse.
func (l *lockers) putAside(id string, producer metadata.ProducerEpoch, round int) error {
	versions, _, err := l.s.GroupVersions(l.ctx, l.groups)
	for _, i := range order(len(l.groups), round) {
		if err != nil {
			return err
		}
		op := metadata.TransactionOffsets{Producer: producer, GroupID: l.groups[i], GroupVersion: versions[i], Version: metadata.TransactionV2}
		for _, p := range order(len(l.partitions), round) {
			op.Offsets = append(op.Offsets, metadata.Offset{GroupID: l.groups[i], Partition: l.partitions[p], Offset: int64(round), LeaderEpoch: -1})
		}
		var changed metadata.TransactionsChanged
		if changed, err = l.s.ChangeTransactions(l.ctx, []metadata.TransactionRequest{{ID: id, Op: op}}); err == nil && !errors.Is(changed.Results[0].Err, metadata.ErrGroupVersion) {
			err = changed.Results[0].Err
		}
	}
	return err
}

// writeOffsets deletes one half of the groups' offsets and puts the other.
func (l *lockers) writeOffsets(round int) error {
	var refs []metadata.GroupRef
	for _, i := range order(len(l.groups), round) {
		refs = append(refs, metadata.GroupRef{ID: l.groups[i], Create: &metadata.GroupState{}})
	}
	err := l.s.WriteOffsets(l.ctx, refs, func(_ time.Time, groups []metadata.Group) (changes metadata.OffsetChanges, _ error) {
		for _, g := range groups {
			for _, p := range order(len(l.partitions), round) {
				if (p+round)%2 == 0 {
					changes.Delete = append(changes.Delete, metadata.OffsetKey{GroupID: g.ID, Partition: l.partitions[p]})
				} else {
					changes.Put = append(changes.Put, metadata.Offset{GroupID: g.ID, Partition: l.partitions[p], Offset: int64(round), LeaderEpoch: -1})
				}
			}
		}
		return changes, nil
	})
	var refusal *pgconn.PgError
	if errors.Is(err, errRetry) && !errors.As(err, &refusal) {
		return nil // somebody deleted a group that it had just entered
	}
	return err
}

// changeGroups stores a group, deletes it now and then, and does what maintenance does.
func (l *lockers) changeGroups(round int) error {
	id := l.groups[(round+l.agent)%len(l.groups)]
	versions, _, err := l.s.GroupVersions(l.ctx, []string{id})
	if err != nil {
		return err
	}
	if round%5 == 0 && versions[0] > 0 {
		err = l.s.DeleteGroup(l.ctx, id, versions[0])
	} else {
		_, err = l.s.StoreGroup(l.ctx, id, versions[0], metadata.GroupState{})
	}
	if err != nil && !errors.Is(err, metadata.ErrGroupVersion) {
		return err
	}
	_, trimErr := l.s.TrimOffsets(l.ctx, 10)
	_, expireErr := l.s.ExpireProducers(l.ctx, 0, 10)
	return errors.Join(trimErr, expireErr)
}

// TestOffsetsCountThoughTheClockWentBack, as it may when a standby takes over: a
// transaction's offsets come after those that were committed before they were put aside.
func TestOffsetsCountThoughTheClockWentBack(t *testing.T) {
	f := newTransactionFixture(t, harness.Postgres(t))
	f.producer = f.change(f.ending(true)).Producer
	exec(f, f.url, `UPDATE group_offsets SET committed_at = committed_at + interval '1 hour'`)
	f.change(f.putAside(6, f.partition))
	f.change(f.ending(true))
	f.wantLook(`CompleteCommit epoch 2 in 0 [], 2 records, stable 2, aborted 0, offset 6 false`)
}
