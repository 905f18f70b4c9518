package objstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
)

// RetryPolicy says how often and how long a failed call is repeated.
type RetryPolicy struct {
	// Attempts is the most calls made for one, including the first.
	Attempts int
	// MinDelay is the first pause; each next one is twice as long, up to
	// MaxDelay, and all vary by half of their length either way, so that agents
	// that failed together don't come back together.
	MinDelay, MaxDelay time.Duration
	// Total bounds a call with all its attempts and pauses; Put and Get have
	// TransferTime on top. List is bounded by Attempts alone: a long listing is
	// no slow one.
	Total time.Duration
}

// TransferTime is how long so many bytes may take on a connection that is slow
// but not broken: a second for each 4 MiB. Less than 0 bytes, an object of unknown
// size, counts as 256 MiB, and more than 1 GiB as 1 GiB.
func TransferTime(bytes int64) time.Duration {
	if bytes < 0 {
		bytes = 256 << 20
	}
	return time.Duration(min(bytes, 1<<30)) * time.Second / (4 << 20)
}

// DefaultRetryPolicy gives up before a Kafka producer does, whose request
// timeout is 30 s by default.
func DefaultRetryPolicy() RetryPolicy {
	return RetryPolicy{Attempts: 8, MinDelay: 50 * time.Millisecond, MaxDelay: 4 * time.Second, Total: 25 * time.Second}
}

// Retry repeats calls of b that failed for a reason that may pass: everything
// but ErrConfig, ErrKey, ErrNotFound, ErrRange and the end of the caller's ctx.
// A timeout inside the store is such a passing reason. Every call of a Bucket
// is safe to repeat. The error returned wraps that of the last attempt.
func Retry(b Bucket, policy RetryPolicy) Bucket {
	builder := retrypolicy.NewBuilder[[]byte]().
		AbortIf(func(_ []byte, err error) bool { return final(err) }).
		WithMaxAttempts(policy.Attempts).
		WithBackoff(policy.MinDelay, policy.MaxDelay).
		WithJitterFactor(0.5).
		ReturnLastFailure()
	return &retrier{Bucket: b, total: policy.Total, executor: failsafe.With(builder.Build())}
}

type retrier struct {
	Bucket
	total    time.Duration
	executor failsafe.Executor[[]byte]
}

func (r *retrier) Put(ctx context.Context, key string, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, r.total+TransferTime(int64(len(body))))
	defer cancel()
	_, err := r.run(ctx, func() ([]byte, error) { return nil, r.Bucket.Put(ctx, key, body) })
	return err
}

func (r *retrier) Get(ctx context.Context, key string, offset, length int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, r.total+TransferTime(length))
	defer cancel()
	return r.run(ctx, func() ([]byte, error) { return r.Bucket.Get(ctx, key, offset, length) })
}

func (r *retrier) Delete(ctx context.Context, keys ...string) error {
	ctx, cancel := context.WithTimeout(ctx, r.total)
	defer cancel()
	_, err := r.run(ctx, func() ([]byte, error) { return nil, r.Bucket.Delete(ctx, keys...) })
	return err
}

// List skips, in a repeated listing, the objects that visit has seen; the
// order of keys allows it.
func (r *retrier) List(ctx context.Context, prefix string, visit func(ObjectInfo) error) error {
	var last string      // key of the last object visited
	var visitError error // ends the listing, and is not ours to retry
	_, err := r.run(ctx, func() ([]byte, error) {
		err := r.Bucket.List(ctx, prefix, func(o ObjectInfo) error {
			if last != "" && o.Key <= last {
				return nil
			}
			last = o.Key
			visitError = visit(o)
			return visitError
		})
		if visitError != nil {
			return nil, nil //nolint:nilerr // not to be tried again; it is returned below
		}
		return nil, err
	})
	if visitError != nil {
		return visitError
	}
	return err
}

// run calls fn until it succeeds, ctx ends or the policy says that it is enough.
func (r *retrier) run(ctx context.Context, fn func() ([]byte, error)) ([]byte, error) {
	var last error // of the newest attempt; failsafe drops it when ctx ends
	data, err := r.executor.WithContext(ctx).Get(func() ([]byte, error) {
		data, err := fn()
		last = err
		return data, err
	})
	if err != nil && last != nil && !errors.Is(last, err) {
		return nil, fmt.Errorf("%w; last attempt: %w", err, last)
	}
	return data, err
}
