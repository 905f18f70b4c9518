package objstore

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/budget"
	"github.com/failsafe-go/failsafe-go/hedgepolicy"
)

const (
	// hedgeSizeBase and hedgeClasses make the classes of Gets by length: up to
	// 64 KiB, 512 KiB, 4 MiB, and beyond (or to the end). One estimate for all
	// would ask twice for every large range.
	hedgeSizeBase = 64 << 10
	hedgeClasses  = 4

	// hedgeWarmUp is how many Gets of a class are seen before the first hedge,
	// and roughly how many the estimate remembers.
	hedgeWarmUp = 100
	hedgeMemory = 500

	// hedgeMaxRate bounds the hedges to this part of the Gets under way (and one
	// always may): when the whole store is slow, asking twice makes it slower.
	hedgeMaxRate = 0.1
)

// Hedge asks a second time for what a slow Get has not brought yet, takes
// what comes first and cancels the other. Object stores answer most reads
// quickly and a few very late, mostly not twice in a row.
//
// The second request follows after delay; with delay 0 after the 99th
// percentile of the Gets of about the same length that it has seen, so that
// about one in a hundred is doubled. An attempt that failed is no slow one:
// its error is returned unless the other attempt is under way.
//
// Close waits for attempts that lost.
func Hedge(b Bucket, delay time.Duration) Bucket {
	h := &hedger{Bucket: b}
	limit := budget.NewBuilder().WithMaxRate(hedgeMaxRate).WithMinConcurrency(1).Build()
	for i := range h.executors {
		builder := hedgepolicy.NewBuilderWithDelayQuantile[hedgedGet](0.99, hedgeMemory, hedgeWarmUp)
		if delay > 0 {
			builder = hedgepolicy.NewBuilderWithDelay[hedgedGet](delay)
		}
		h.executors[i] = failsafe.With(builder.
			WithMaxHedges(1).
			WithBudget(limit).
			CancelIf(func(r hedgedGet, err error) bool { return err == nil || final(err) || r.alone }).
			Build())
	}
	return h
}

type hedger struct {
	Bucket
	executors [hedgeClasses]failsafe.Executor[hedgedGet]
	attempts  sync.WaitGroup
}

// hedgedGet is what one attempt brought.
type hedgedGet struct {
	data []byte
	// alone: no other attempt is under way, so there is nothing to wait for.
	alone bool
}

func (h *hedger) Get(ctx context.Context, key string, offset, length int64) ([]byte, error) {
	class := 0
	for bound := int64(hedgeSizeBase); class < hedgeClasses-1 && (length < 0 || length > bound); bound *= 8 {
		class++
	}
	h.attempts.Add(1) // keeps the count above zero until the attempts have begun
	defer h.attempts.Done()
	var running atomic.Int32
	result, err := h.executors[class].WithContext(ctx).GetWithExecution(
		func(exec failsafe.Execution[hedgedGet]) (hedgedGet, error) {
			h.attempts.Add(1)
			defer h.attempts.Done()
			running.Add(1)
			data, err := h.Bucket.Get(exec.Context(), key, offset, length)
			return hedgedGet{data: data, alone: running.Add(-1) == 0}, err
		})
	return result.data, err
}

func (h *hedger) Close() error {
	h.attempts.Wait()
	return h.Bucket.Close()
}
