package soak

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sort"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/time/rate"
)

// maxBurst is the number of records that a writer sends to a partition in a row at most.
const maxBurst = 16

// writer writes to its own partitions.
type writer struct {
	run        *Run
	client     *kgo.Client
	limiter    *rate.Limiter
	random     *rand.Rand
	partitions []*partition
	weights    []float64 // running sums of the partitions' shares
}

func (r *Run) newWriter(number int) (*writer, error) {
	client, err := kgo.NewClient(append(r.clientOptions(fmt.Sprint("soak-writer-", number)),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(20*time.Millisecond),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MaxBufferedRecords(20_000))...)
	if err != nil {
		return nil, err
	}
	perWriter := rate.Limit(r.config.Rate) / rate.Limit(r.config.Writers)
	w := &writer{
		run: r, client: client, random: rand.New(rand.NewPCG(r.config.Seed, uint64(number))),
		// What could not be written while an agent was dead is made up for by a second's worth at most.
		limiter: rate.NewLimiter(perWriter, max(maxBurst*maxValue, int(perWriter))),
	}
	sum := 0.0
	for i, p := range r.ledger.partitions {
		if i%r.config.Writers == number {
			sum += p.topic.Share / float64(p.topic.Partitions)
			w.partitions, w.weights = append(w.partitions, p), append(w.weights, sum)
		}
	}
	return w, nil
}

// write writes until ctx ends, and returns when everything is acknowledged.
func (w *writer) write(ctx context.Context) {
	for ctx.Err() == nil {
		i := sort.SearchFloat64s(w.weights, w.random.Float64()*w.weights[len(w.weights)-1])
		p := w.partitions[i]
		bytes := 0
		for range 1 + w.random.IntN(maxBurst) {
			n, record := p.next(time.Now())
			bytes += len(record.Value)
			// Without the ctx: what is begun is written to its end, or the partition's numbers
			// would have a hole.
			w.client.Produce(context.WithoutCancel(ctx), record, func(record *kgo.Record, err error) {
				switch {
				case errors.Is(err, kgo.ErrClientClosed):
					return // by Close, of a run that was given up
				case err == nil:
					err = p.ack(n, record.Offset)
				default:
					err = fmt.Errorf("%v: the producer gave record %d up: %w", p, n, err)
				}
				if err != nil {
					w.run.problems.add(err)
				}
			})
		}
		if err := w.limiter.WaitN(ctx, bytes); err != nil {
			break // ctx ends
		}
	}
	flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.run.config.Patience)
	defer cancel()
	if err := w.client.Flush(flush); err != nil {
		w.run.problems.add(fmt.Errorf("the last records are not acknowledged within %v: %w", w.run.config.Patience, err))
	}
}
