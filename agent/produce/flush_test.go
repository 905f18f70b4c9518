package produce

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/objstoretest"
)

// TestEachStepOfTheFlushUnderEachFault is the table of the write path: each
// step fails, fails after it was done, or is slow, for a while or for good.
// Whatever happens, an acknowledged batch is there once and its bytes are too.
func TestEachStepOfTheFlushUnderEachFault(t *testing.T) {
	lost := errors.New("connection reset")
	put := func(n int, f objstoretest.Fault) func(*path) {
		return func(p *path) { p.bucket.Fail(objstoretest.Put, n, f) }
	}
	commit := func(n int, f commitFault) func(*path) { return func(p *path) { p.store.fail(n, f) } }
	const forGood = 1 << 20
	cases := []struct {
		name   string
		fault  func(*path)
		stored bool // is the batch in the log afterwards?
		acked  bool // and was its producer told so?
	}{
		{"nothing fails", func(*path) {}, true, true},
		{"put failed", put(1, objstoretest.Fault{Err: lost}), true, true},
		{"put failed but persisted", put(1, objstoretest.Fault{Err: lost, Persisted: true}), true, true},
		{"put slow", put(1, objstoretest.Fault{Block: after(50 * time.Millisecond)}), true, true},
		{"put's reply slow", put(1, objstoretest.Fault{BlockReply: after(50 * time.Millisecond)}), true, true},
		{"put failed for good", put(forGood, objstoretest.Fault{Err: lost}), false, false},
		{"put persisted, failed for good", put(forGood, objstoretest.Fault{Err: lost, Persisted: true}), false, false},
		{"put refused", put(forGood, objstoretest.Fault{Err: objstore.ErrConfig}), false, false},
		{"commit failed", commit(3, commitFault{err: metadata.ErrUnavailable}), true, true},
		{"commit failed but persisted", commit(1, commitFault{err: metadata.ErrOutcomeUnknown, persisted: true}), true, true},
		{"commit failed but persisted, then failed", commit(3, commitFault{err: metadata.ErrOutcomeUnknown, persisted: true}), true, true},
		{"commit slow", commit(1, commitFault{block: after(50 * time.Millisecond)}), true, true},
		{"commit refused", commit(1, commitFault{err: errors.New("syntax error")}), false, false},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			p := newPath(t, nil)
			test.fault(p)
			first := result(p.add(0, plain("first")))
			p.bucket.Inject(nil)
			p.store.inject(nil)

			if acked := first.Err == nil; acked != test.acked {
				t.Fatalf("acknowledged: %v (%v), want %v", acked, first.Err, test.acked)
			}
			want := int64(0)
			if test.stored {
				want = 1
			}
			if got := p.nextOffset(0); got != want {
				t.Errorf("the log ends at %d, want %d", got, want)
			}
			if second := result(p.add(0, plain("second"))); second.Err != nil || second.BaseOffset != want {
				t.Errorf("the next batch got offset %d (%v), want %d", second.BaseOffset, second.Err, want)
			}
			p.stored()
		})
	}
}

// after returns a channel that closes a little later.
func after(d time.Duration) <-chan struct{} {
	c := make(chan struct{})
	time.AfterFunc(d, func() { close(c) })
	return c
}

func TestFilesCommitInTheOrderTheyWereSealed(t *testing.T) {
	// Each request fills a file; the first one's upload is the last to end.
	p := newPath(t, func(c *Config) { c.FlushBytes = 1 })
	release := make(chan struct{})
	p.bucket.Fail(objstoretest.Put, 1, objstoretest.Fault{Block: release})
	var tickets []Ticket
	for i := range 8 {
		tickets = append(tickets, p.add(0, plain(fmt.Sprint(i))))
		// The first upload is the one that blocks; those beside it go through.
		for p.bucket.Calls(objstoretest.Put) < min(i+1, 4) {
			<-after(time.Millisecond)
		}
	}
	select {
	case <-tickets[1].Done():
		t.Fatal("a file was committed before its predecessor")
	case <-after(20 * time.Millisecond):
	}
	close(release)
	for i, ticket := range tickets {
		if r := result(ticket); r.Err != nil || r.BaseOffset != int64(i) {
			t.Errorf("batch %d got offset %d (%v)", i, r.BaseOffset, r.Err)
		}
	}
}

func TestFailedFileTakesThoseBehindItAlong(t *testing.T) {
	p := newPath(t, func(c *Config) { c.FlushBytes = 1 })
	release, doomed := make(chan struct{}), make(chan struct{})
	var first sync.Once
	p.bucket.Inject(func(op objstoretest.Op, _ string) (fault objstoretest.Fault) {
		if op == objstoretest.Put {
			first.Do(func() {
				fault = objstoretest.Fault{Block: release, Err: objstore.ErrConfig}
				close(doomed)
			})
		}
		return fault
	})
	var tickets []Ticket
	tickets = append(tickets, p.add(0, newBatch(7, 0, "k", "v")))
	<-doomed
	for i := range 5 {
		tickets = append(tickets, p.add(0, newBatch(7, int32(i+1), "k", "v")))
	}
	close(release)
	for i, ticket := range tickets {
		if r := result(ticket); !errors.Is(r.Err, ErrFileFailed) {
			t.Errorf("batch %d: %v, want ErrFileFailed", i, r.Err)
		}
	}
	// The producer sends all of them again, and none is out of sequence.
	for i := range 6 {
		if r := result(p.add(0, newBatch(7, int32(i), "k", "v"))); r.Err != nil || r.BaseOffset != int64(i) {
			t.Errorf("batch %d, sent again: offset %d (%v)", i, r.BaseOffset, r.Err)
		}
	}
}

// TestNothingPassesAFailingFile adds batches while the failure waits for an
// upload beside it: they fail too, instead of getting offsets before the retries.
func TestNothingPassesAFailingFile(t *testing.T) {
	p := newPath(t, func(c *Config) { c.FlushBytes = 1 })
	release, stuck := make(chan struct{}), make(chan struct{})
	p.bucket.Fail(objstoretest.Put, 1, objstoretest.Fault{Block: release, Err: objstore.ErrConfig})
	first := p.add(0, plain("first"))
	for p.bucket.Calls(objstoretest.Put) == 0 {
		<-after(time.Millisecond)
	}
	deaf := deafPut{stuck}
	p.bucket.Inject(deaf.hook)
	second := p.add(0, plain("second"))
	for p.bucket.Calls(objstoretest.Put) < 2 {
		<-after(time.Millisecond)
	}
	close(release)
	third := p.add(0, plain("third")) // its producer knows of no failure yet
	close(stuck)
	for i, ticket := range []Ticket{first, second, third} {
		if r := result(ticket); i < 2 && !errors.Is(r.Err, ErrFileFailed) || i == 2 && r.Err == nil && r.BaseOffset != 0 {
			t.Errorf("batch %d: %+v", i, r)
		}
	}
}

// deafPut blocks a Put whatever becomes of its context, as an fsync does.
type deafPut struct{ until <-chan struct{} }

func (d deafPut) hook(op objstoretest.Op, _ string) objstoretest.Fault {
	if op == objstoretest.Put {
		<-d.until
	}
	return objstoretest.Fault{}
}

func TestFileThatIsTooOldFailsWhatIsBehindIt(t *testing.T) {
	p := newPath(t, func(c *Config) { c.FlushBytes = 1 })
	hold := make(chan struct{})
	p.store.fail(1, commitFault{block: hold})
	tickets := []Ticket{p.add(0, plain("on its way"))}
	for i := range 3 {
		tickets = append(tickets, p.add(0, newBatch(7, int32(i), "k", "v")))
	}
	for p.bucket.Calls(objstoretest.Put) < 4 {
		<-after(time.Millisecond)
	}
	// By the time of the commit, the second file has become too old.
	p.store.age(1)
	close(hold)
	if r := result(tickets[0]); r.Err != nil {
		t.Fatal(r.Err)
	}
	for i, ticket := range tickets[1:] {
		if r := result(ticket); r.Err == nil {
			t.Errorf("batch %d behind a file that was too old got offset %d", i, r.BaseOffset)
		}
	}
}

func TestFilesThatAreReadyTogetherCommitTogether(t *testing.T) {
	p := newPath(t, func(c *Config) { c.FlushBytes = 1 })
	release := make(chan struct{})
	p.store.fail(1, commitFault{block: release})
	var tickets []Ticket
	for i := range 20 {
		tickets = append(tickets, p.add(i%3, plain("v")))
	}
	for p.bucket.Calls(objstoretest.Put) < 20 {
		<-after(time.Millisecond)
	}
	close(release)
	for _, ticket := range tickets {
		if r := result(ticket); r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	p.store.mu.Lock()
	defer p.store.mu.Unlock()
	if p.store.calls > 10 {
		t.Errorf("20 files took %d commits although 19 of them waited for the first", p.store.calls)
	}
}

func TestDuplicatesAnswerWithTheirFirstOffset(t *testing.T) {
	p := newPath(t, nil)
	for i := range 3 {
		if r := result(p.add(0, newBatch(7, int32(i), "k", "v"))); r.BaseOffset != int64(i) || r.Err != nil {
			t.Fatalf("batch %d: %+v", i, r)
		}
	}
	if r := result(p.add(0, newBatch(7, 1, "k", "v"))); r.BaseOffset != 1 || r.Err != nil {
		t.Errorf("the duplicate got %+v, want offset 1", r)
	}
	if r := result(p.add(0, newBatch(7, 9, "k", "v"))); !errors.Is(r.Err, metadata.ErrOutOfOrderSequence) {
		t.Errorf("a gap in the sequence got %v", r.Err)
	}
	if got := p.nextOffset(0); got != 3 {
		t.Errorf("the log ends at %d, want 3", got)
	}
}

func TestDeletedTopicFailsItsBatchesOnly(t *testing.T) {
	p := newPath(t, nil)
	gone, err := p.store.CreateTopic(t.Context(), metadata.NewTopic{Name: "gone", Partitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.store.DeleteTopic(t.Context(), gone.ID); err != nil {
		t.Fatal(err)
	}
	entries := []Entry{
		{Topic: gone.ID, Partition: gone.Partitions[0], Batch: plain("lost")},
		p.entry(0, plain("kept")),
	}
	ticket, err := p.acc.Add(entries, func() {})
	if err != nil {
		t.Fatal(err)
	}
	<-ticket.Done()
	if r := ticket.Result(0); !errors.Is(r.Err, metadata.ErrUnknownPartition) {
		t.Errorf("the deleted topic's batch: %v", r.Err)
	}
	if r := ticket.Result(1); r.Err != nil || r.BaseOffset != 0 {
		t.Errorf("the batch beside it: %+v", r)
	}
}

func TestMemoryIsGivenBackOnceWhateverHappens(t *testing.T) {
	for _, fail := range []bool{false, true} {
		p := newPath(t, nil)
		if fail {
			p.bucket.Fail(objstoretest.Put, 1<<20, objstoretest.Fault{Err: objstore.ErrConfig})
		}
		released := make(chan struct{}, 10)
		ticket, err := p.acc.Add([]Entry{p.entry(0, plain("v"))}, func() { released <- struct{}{} })
		if err != nil {
			t.Fatal(err)
		}
		<-ticket.Done()
		<-released
		select {
		case <-released:
			t.Error("released twice")
		case <-after(10 * time.Millisecond):
		}
	}
}

func TestDrainShipsWhatIsOpen(t *testing.T) {
	p := newPath(t, func(c *Config) { c.FlushInterval, c.PutRate = time.Hour, 0.001 })
	// The first file takes the only token, and keeps the second one waiting.
	first := p.add(0, plain("first"))
	<-first.Done()
	second := p.add(0, plain("second"))
	if err := p.acc.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := result(second); r.Err != nil || r.BaseOffset != 1 {
		t.Errorf("got %+v, want offset 1", r)
	}
	if _, err := p.acc.Add([]Entry{p.entry(0, plain("late"))}, func() {}); !errors.Is(err, ErrStopped) {
		t.Errorf("after Drain: %v, want ErrStopped", err)
	}
}

func TestHurryShipsWhatWaitsAndWhatComesLater(t *testing.T) {
	p := newPath(t, func(c *Config) { c.FlushInterval, c.PutRate = time.Hour, 0.001 })
	<-p.add(0, plain("the only token")).Done()
	waits := p.add(0, plain("waits"))
	p.acc.Hurry()
	for i, ticket := range []Ticket{waits, p.add(0, plain("later"))} {
		if r := result(ticket); r.Err != nil || r.BaseOffset != int64(i+1) {
			t.Errorf("got %+v, want offset %d", r, i+1)
		}
	}
}

func TestDrainGivesUpAtTheEndOfItsTime(t *testing.T) {
	p := newPath(t, nil)
	p.store.fail(1<<20, commitFault{err: metadata.ErrUnavailable})
	ticket := p.add(0, plain("v"))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := p.acc.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Drain: %v, want that its time was over", err)
	}
	if r := result(ticket); r.Err == nil {
		t.Error("a batch that was never committed was acknowledged")
	}
}

func TestSmallFilesWaitForTheirRateAndFullOnesDont(t *testing.T) {
	p := newPath(t, func(c *Config) { c.PutRate, c.FlushBytes = 0.001, 100 })
	<-p.add(0, plain("the only token")).Done()
	small := p.add(0, newBatch(-1, -1, "k", "v"))
	select {
	case <-small.Done():
		t.Fatal("a small file shipped above --put-rate")
	case <-after(30 * time.Millisecond):
	}
	full := p.add(1, plain("enough to fill the file that waits: it ships at once"))
	if r := result(full); r.Err != nil {
		t.Error(r.Err)
	}
	if r := result(small); r.Err != nil {
		t.Error(r.Err)
	}
}

func TestOneRequestMayHoldManyPartitions(t *testing.T) {
	p := newPath(t, nil)
	var entries []Entry
	for i := range 30 {
		entries = append(entries, p.entry(i%3, plain(fmt.Sprint(i))))
	}
	ticket, err := p.acc.Add(entries, func() {})
	if err != nil {
		t.Fatal(err)
	}
	<-ticket.Done()
	for i := range entries {
		if r := ticket.Result(i); r.Err != nil || r.BaseOffset != int64(i/3) {
			t.Errorf("entry %d: %+v, want offset %d", i, r, i/3)
		}
	}
	p.stored()
}
