package gather

import (
	"context"
	"sync"
)

// Workers are the goroutines of an owner, which ends with them. Make them with
// [NewWorkers].
type Workers struct {
	life context.Context
	stop context.CancelFunc

	closing sync.Mutex
	closed  bool
	running sync.WaitGroup
}

// NewWorkers makes an owner's workers, none of them running yet.
func NewWorkers() *Workers {
	w := &Workers{}
	w.life, w.stop = context.WithCancel(context.Background())
	return w
}

// Life ends with Close: what the workers call takes it, or one made from it.
func (w *Workers) Life() context.Context { return w.life }

// Spawn starts a worker that Close waits for; false after Close.
func (w *Workers) Spawn(f func()) bool {
	w.closing.Lock()
	defer w.closing.Unlock()
	if w.closed {
		return false
	}
	w.running.Go(f)
	return true
}

// Close ends the workers and waits for them.
func (w *Workers) Close() {
	w.closing.Lock()
	w.closed = true
	w.closing.Unlock()
	w.stop()
	w.running.Wait()
}
