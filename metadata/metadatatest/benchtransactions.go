package metadatatest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wadi-log/wadi/metadata"
)

func benchmarkTransactions(b *testing.B, create func(t testing.TB) Database) {
	for _, agents := range []int{1, 4} {
		for _, partitions := range []int{1, 10, 100} {
			b.Run(fmt.Sprintf("EndTransaction/agents=%d/partitions=%d", agents, partitions), func(b *testing.B) {
				benchmarkEnd(newFixtureB(b, create(b)), b, agents, partitions)
			})
		}
	}
}

// benchmarkEnd runs transactions of one file each, which writes a batch to each of
// the partitions, by agents at once. It tells how long their ends take and, for
// comparison, the commits of their files.
func benchmarkEnd(f *fixture, b *testing.B, agents, partitions int) {
	parts := f.topic("bench", int32(partitions)).Partitions
	var next atomic.Int64
	writes, ends := make([][]time.Duration, agents), make([][]time.Duration, agents)
	var wg sync.WaitGroup
	producers := make([]*producer, agents)
	for i := range producers {
		producers[i] = f.other().producer(fmt.Sprint("t", i))
	}
	b.ResetTimer()
	for i, p := range producers {
		wg.Go(func() {
			for next.Add(1) <= int64(b.N) {
				written, ended, err := p.transact(parts)
				if err != nil {
					b.Error(err)
					return
				}
				writes[i], ends[i] = append(writes[i], written), append(ends[i], ended)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	if b.Failed() {
		return
	}
	for what, took := range map[string][][]time.Duration{"write": writes, "end": ends} {
		all := slices.Concat(took...)
		slices.Sort(all)
		b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, what+"-p50-ms")
		b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, what+"-p99-ms")
	}
}

// transact runs one transaction, and says how long the commit of its file took, and its end.
func (p *producer) transact(partitions []metadata.PartitionID) (written, ended time.Duration, err error) {
	var appends []metadata.Append
	for _, id := range partitions {
		appends = append(appends, appendTo(id, p.batch(id, 10)))
	}
	file := newFile(p, appends...)
	start := time.Now()
	result, err := p.store.CommitFiles(p.ctx, []metadata.File{file})
	if err != nil {
		return 0, 0, err
	}
	for _, o := range result.Files[0].Outcomes {
		err = errors.Join(err, o[0].Err)
	}
	written = time.Since(start)
	// Its epochs don't run out.
	changed, endErr := p.store.ChangeTransactions(p.ctx, []metadata.TransactionRequest{{ID: p.id, Op: metadata.EndTransaction{
		Producer: p.ProducerEpoch, Commit: true, Version: metadata.TransactionV2,
	}}})
	if err = errors.Join(err, endErr); err != nil {
		return 0, 0, err
	}
	ended = time.Since(start) - written
	p.is(changed.Results[0].Producer)
	return written, ended, changed.Results[0].Err
}
