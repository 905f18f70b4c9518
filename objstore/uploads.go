package objstore

import (
	"context"
	"time"
)

// Uploads is implemented by buckets in which an upload that was cut off may leave
// something behind that is no object, is never listed, and is paid for all the same.
type Uploads interface {
	// AbortUploads removes what is left of uploads that began longer ago than age and never
	// ended, and returns how many. Only uploads whose keys start with prefix count, where
	// the store knows the key; of those under way none may take as long as age, by the
	// machine's clock against the store's: a day is safe. Safe to repeat. With an
	// error, some may be gone.
	AbortUploads(ctx context.Context, prefix string, age time.Duration) (int, error)
}

// AbortUploads is that of b, if b has it. The decorators of this package pass it on.
func AbortUploads(ctx context.Context, b Bucket, prefix string, age time.Duration) (int, error) {
	if u, ok := b.(Uploads); ok {
		return u.AbortUploads(ctx, prefix, age)
	}
	return 0, nil
}

// AbortUploads repeats what failed for a reason that may pass, as List does.
func (r *retrier) AbortUploads(ctx context.Context, prefix string, age time.Duration) (int, error) {
	total := 0
	_, err := r.run(ctx, func() ([]byte, error) {
		n, err := AbortUploads(ctx, r.Bucket, prefix, age)
		total += n
		return nil, err
	})
	return total, err
}

// AbortUploads is not hedged.
func (h *hedger) AbortUploads(ctx context.Context, prefix string, age time.Duration) (int, error) {
	return AbortUploads(ctx, h.Bucket, prefix, age)
}

// AbortUploads counts as a request for the listing and one for each upload, under the verb abort.
func (m *meter) AbortUploads(ctx context.Context, prefix string, age time.Duration) (int, error) {
	start := time.Now()
	n, err := AbortUploads(ctx, m.Bucket, prefix, age)
	m.requests.WithLabelValues("abort", outcome(err)).Add(float64(1 + n))
	m.seconds.WithLabelValues("abort").Observe(time.Since(start).Seconds())
	return n, err
}
