package metadatatest

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/wadi-log/wadi/metadata"
)

// replacementsAndDeletionsAtOnce: agents merge whatever stands, while others commit, move
// log starts, trim and delete topics. checkFiles, after it, sees a row too many or too few.
func replacementsAndDeletionsAtOnce(f *fixture, seed uint64) {
	p := f.topic("t", 2).Partitions
	doomed := f.topic("doomed", 2)
	all := append(p[:2:2], doomed.Partitions...)
	commit := func(agent *fixture, rng *rand.Rand) error {
		var appends []metadata.Append
		for _, id := range all {
			if rng.IntN(4) > 0 {
				appends = append(appends, appendTo(id, plain(1+rng.Int32N(3), 1)))
			}
		}
		_, err := agent.store.CommitFiles(f.ctx, []metadata.File{newFile(f, appends...)})
		return err
	}
	setUp := rand.New(rand.NewPCG(seed, 100))
	for range 20 {
		f.must(commit(f, setUp))
	}
	var wg sync.WaitGroup
	var taken atomic.Int64
	run := func(stream uint64, steps int, step func(agent *fixture, rng *rand.Rand) error) {
		agent, rng := f.other(), rand.New(rand.NewPCG(seed, stream))
		wg.Go(func() {
			for range steps {
				if err := step(agent, rng); err != nil {
					f.Errorf("agent %d: %v", stream, err)
					return
				}
			}
		})
	}
	run(1, 20, commit)
	for stream := uint64(2); stream < 4; stream++ {
		run(stream, 30, func(agent *fixture, rng *rand.Rand) error {
			n, err := agent.mergeSome(all[rng.IntN(len(all))], rng)
			taken.Add(int64(n))
			return err
		})
	}
	run(4, 15, func(agent *fixture, rng *rand.Rand) error {
		id := p[rng.IntN(2)]
		bounds, err := agent.store.Bounds(f.ctx, []metadata.PartitionID{id})
		if err != nil {
			return err
		}
		before := bounds[0].LogStartOffset + rng.Int64N(min(5, bounds[0].NextOffset-bounds[0].LogStartOffset)+1)
		_, err = agent.store.DeleteRecords(f.ctx, []metadata.RecordsDeletion{{Partition: id, Before: before}})
		return err
	})
	run(5, 15, func(agent *fixture, _ *rand.Rand) error {
		_, err := agent.store.TrimRuns(f.ctx, 3)
		return err
	})
	deleted := false
	run(6, 15, func(agent *fixture, rng *rand.Rand) error {
		if !deleted && rng.IntN(5) == 0 {
			deleted = true
			return agent.store.DeleteTopic(f.ctx, doomed.ID)
		}
		_, err := agent.store.ReclaimDeleted(f.ctx, 3)
		return err
	})
	wg.Wait()
	if taken.Load() == 0 {
		f.Error("nothing was merged")
	}
}

// mergeSome replaces some rows of the partition that it sees in the index. They may be gone by then.
func (f *fixture) mergeSome(partition metadata.PartitionID, rng *rand.Rand) (taken int, err error) {
	bounds, err := f.store.Bounds(f.ctx, []metadata.PartitionID{partition})
	if err != nil || !bounds[0].Exists {
		return 0, err
	}
	found, err := f.store.FindRuns(f.ctx, []metadata.RunQuery{{Partition: partition, Offset: bounds[0].LogStartOffset, MaxBytes: 1 << 40, MaxRuns: metadata.MaxRuns}})
	if err != nil || len(found[0].Runs) == 0 {
		return 0, err
	}
	rows := found[0].Runs
	from := rng.IntN(len(rows))
	rows = rows[from : from+1+rng.IntN(min(6, len(rows)-from))]
	r := replacement(f, rows)
	answer, err := f.store.ReplaceRuns(f.ctx, r)
	if err == nil && answer[0] {
		taken++
	}
	return taken, err
}
