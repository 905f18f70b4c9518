package metadatatest

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/wadi-log/wadi/metadata"
)

var randomTransactionTests = slices.Concat(
	seeded("AbortedOverlapWhatIsRead", abortedOverlapWhatIsRead),
	[]test{{"ManyAreAborted", manyAreAborted}},
	seeded("ZombiesAndEnds", zombiesAndEnds),
)

// abortedOverlapWhatIsRead compares with a list of all that was aborted: overlapping
// transactions of several producers, among them one that ends late.
func abortedOverlapWhatIsRead(f *fixture, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	parts := f.topic("t", 2).Partitions
	late := f.producer("late")
	late.write(1, parts...)
	producers := make([]*producer, 4)
	for i := range producers {
		producers[i] = f.producer(fmt.Sprint("t", i))
	}
	var aborted []metadata.AbortedTransaction
	end := func(p *producer, commit bool) {
		if f.transaction(p.id).State == metadata.TransactionOngoing {
			for _, c := range p.end(commit) {
				aborted = append(aborted, c.Aborted...)
			}
		}
	}
	for range 60 {
		p := producers[rng.IntN(len(producers))]
		switch rng.IntN(4) {
		case 0:
			end(p, rng.IntN(4) == 0)
		case 1:
			f.commitOne(parts[rng.IntN(2)], plain(1+rng.Int32N(3), 1))
		default:
			p.write(1+rng.Int32N(3), parts[rng.IntN(2)])
		}
	}
	end(late, false)
	for _, p := range producers {
		end(p, rng.IntN(2) == 0)
	}
	for _, part := range parts {
		f.wantAborted(part, 1, aborted)
	}
}

// manyAreAborted beside one transaction that is longer than all the others.
func manyAreAborted(f *fixture) {
	const producers, rounds = 25, 12
	part := f.topic("t", 1).Partitions[0]
	late := f.producer("late")
	late.write(1, part)
	var all []*producer
	for i := range producers {
		all = append(all, f.producer(fmt.Sprint("t", i)))
	}
	var aborted []metadata.AbortedTransaction
	for range rounds {
		var batches []metadata.Batch
		var ends []metadata.TransactionRequest
		for _, p := range all {
			batches = append(batches, p.batch(part, 1))
			ends = append(ends, metadata.TransactionRequest{ID: p.id, Op: metadata.EndTransaction{Producer: p.ProducerEpoch, Version: metadata.TransactionV2}})
		}
		f.commit(newFile(f, appendTo(part, batches...)))
		changed := f.change(ends...)
		for i, result := range changed.Results {
			f.must(result.Err)
			all[i].is(result.Producer)
		}
		aborted = append(aborted, changed.Commits[0].Aborted...)
	}
	if len(aborted) != producers*rounds {
		f.Errorf("%d were aborted", len(aborted))
	}
	f.wantStable([]metadata.PartitionID{part}, 0)
	f.wantAborted(part, 29, append(aborted, late.end(false)[0].Aborted...))
}

// wantAborted reads from every step-th offset on, one run and more.
func (f *fixture) wantAborted(partition metadata.PartitionID, step int64, all []metadata.AbortedTransaction) {
	f.Helper()
	var queries []metadata.RunQuery
	for offset := int64(0); offset < f.bounds(partition).NextOffset; offset += step {
		for _, runs := range []int{1, 3, 20, math.MaxInt} {
			queries = append(queries, metadata.RunQuery{Partition: partition, Offset: offset, MaxBytes: math.MaxInt64, MaxRuns: runs})
		}
	}
	found, err := f.store.FindRuns(f.ctx, queries)
	f.must(err)
	for i, q := range queries {
		end := found[i].Runs[len(found[i].Runs)-1].NextOffset()
		var want []metadata.AbortedTransaction
		for _, a := range all {
			if a.Partition == partition && a.LastOffset >= q.Offset && a.FirstOffset < end {
				want = append(want, a)
			}
		}
		slices.SortFunc(want, func(a, b metadata.AbortedTransaction) int { return int(a.LastOffset - b.LastOffset) })
		if !slices.Equal(found[i].Aborted, want) {
			f.Fatalf("from %d to %d:\ngot  %+v\nwant %+v", q.Offset, end, found[i].Aborted, want)
		}
	}
}

// written is a transactional batch that was accepted.
type written struct {
	metadata.ProducerEpoch
	partition metadata.PartitionID
	offset    int64
}

// zombiesAndEnds: several clients use the same transactional IDs through several
// stores, fence one another, and write while their transactions are ended. Every
// accepted batch is followed by the marker of its own epoch's end, and that says what
// the client was told.
func zombiesAndEnds(f *fixture, seed uint64) {
	const ids, clients, rounds = 2, 3, 8
	parts := f.topic("t", 3).Partitions
	var mu sync.Mutex
	var batches []written
	told := map[metadata.ProducerEpoch]bool{}
	var wg sync.WaitGroup
	for i := range ids * clients {
		z := zombie{
			fixture: f.other(), rng: rand.New(rand.NewPCG(seed, uint64(i))), id: fmt.Sprint("t", i%ids), parts: parts,
			told: map[metadata.ProducerEpoch]bool{},
		}
		wg.Go(func() {
			for range rounds {
				if err := z.round(); err != nil {
					f.Error(err)
					return
				}
			}
			mu.Lock()
			defer mu.Unlock()
			batches = append(batches, z.batches...)
			maps.Copy(told, z.told)
		})
	}
	wg.Wait()
	for i := range ids {
		f.producer(fmt.Sprint("t", i)) // ends what is still open
	}
	for _, part := range parts {
		f.wantStable([]metadata.PartitionID{part}, f.bounds(part).NextOffset)
		kinds := f.bothKinds(part)
		for _, b := range batches {
			if b.partition == part {
				f.wantEnd(b, kinds[1], told)
			}
		}
	}
	if len(batches) == 0 || len(told) == 0 {
		f.Errorf("%d batches, %d ends", len(batches), len(told))
	}
}

// wantEnd looks for the first marker of the batch's producer behind it.
func (f *fixture) wantEnd(b written, markers []metadata.Run, told map[metadata.ProducerEpoch]bool) {
	f.Helper()
	for _, r := range markers {
		m, _ := r.Marker()
		if m.ProducerID != b.ID || r.BaseOffset < b.offset {
			continue
		}
		commit, isTold := told[b.ProducerEpoch]
		if m.Epoch != b.Epoch+1 || isTold && m.Commit != commit || !isTold && m.Commit {
			f.Errorf("batch %+v is ended by %+v at %d; its client was told: %v, committed %v", b, m, r.BaseOffset, isTold, commit)
		}
		return
	}
	f.Errorf("batch %+v has no end", b)
}

type zombie struct {
	*fixture
	rng     *rand.Rand
	id      string
	parts   []metadata.PartitionID
	batches []written
	// told are the epochs whose transaction it ended, and whether by a commit.
	told map[metadata.ProducerEpoch]bool
}

// round initialises a producer and goes on with it until it is fenced, or gives up.
func (z *zombie) round() error {
	p := &producer{fixture: z.fixture, id: z.id, version: metadata.TransactionV2, sequences: map[metadata.PartitionID]int32{}}
	var id int64
	if err := Patiently(func() (err error) {
		id, err = z.store.AllocateProducerIDs(z.ctx, 1)
		return err
	}); err != nil {
		return err
	}
	result, err := z.ask(metadata.InitProducer{Timeout: time.Hour, Expected: metadata.NoProducer, NewProducerID: id})
	if err != nil || result.Err != nil {
		return errors.Join(err, result.Err)
	}
	for p.is(result.Producer); z.rng.IntN(8) > 0; {
		if z.rng.IntN(3) > 0 {
			if fenced, err := z.write(p); err != nil || fenced {
				return err
			}
			continue
		}
		commit := z.rng.IntN(2) == 0
		result, err := z.ask(metadata.EndTransaction{Producer: p.ProducerEpoch, Commit: commit, Version: metadata.TransactionV2, NewProducerID: id})
		switch {
		case err != nil:
			return err
		case errors.Is(result.Err, metadata.ErrProducerFenced):
			return nil
		case errors.Is(result.Err, metadata.ErrInvalidTransactionState): // nothing to commit
		case result.Err != nil:
			return result.Err
		default:
			z.told[p.ProducerEpoch] = commit
			p.is(result.Producer)
		}
	}
	return nil
}

func (z *zombie) ask(op metadata.TransactionOp) (metadata.TransactionResult, error) {
	var changed metadata.TransactionsChanged
	if err := Patiently(func() (err error) {
		changed, err = z.store.ChangeTransactions(z.ctx, []metadata.TransactionRequest{{ID: z.id, Op: op}})
		return err
	}); err != nil {
		return metadata.TransactionResult{}, err
	}
	return changed.Results[0], nil
}

// write commits a batch to one partition, which may have been fenced.
func (z *zombie) write(p *producer) (fenced bool, err error) {
	part := z.parts[z.rng.IntN(len(z.parts))]
	files := []metadata.File{newFile(z, appendTo(part, p.batch(part, 1)))}
	var result metadata.CommitResult
	if err := Patiently(func() (err error) {
		result, err = z.store.CommitFiles(z.ctx, files)
		return err
	}); err != nil {
		return false, err
	}
	o := result.Files[0].Outcomes[0][0]
	if errors.Is(o.Err, metadata.ErrInvalidProducerEpoch) {
		return true, nil
	}
	z.batches = append(z.batches, written{p.ProducerEpoch, part, o.BaseOffset})
	return false, o.Err
}

// Patiently repeats a call that did nothing: where many write to one SQLite file on a busy
// machine, one of them may find it locked until its call's time is over.
func Patiently(call func() error) error {
	for tries := 1; ; tries++ {
		if err := call(); !errors.Is(err, metadata.ErrUnavailable) || tries == 5 {
			return err
		}
	}
}
