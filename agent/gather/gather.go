// Package gather joins what is asked for at the same time into few calls.
//
// While a call is under way the next requests wait, and share the next call: alone
// a request waits for nobody, and the more there are the cheaper each is. Nothing
// is held back to make calls larger.
//
// Nobody who waits is turned away, so who adds must be bounded: the connections
// of an agent are, which each wait for an answer.
//
// [Workers] are the goroutines that make the calls, and end with their owner.
//
// It is a leaf: any package of the agent may import it, and it knows none of them.
package gather

import "sync"

// Queue gathers requests of type T. Make it with [New].
type Queue[T any] struct {
	workers int
	spawn   func(func()) bool
	take    func(waiting []T) (batch, rest []T)
	call    func(batch []T)

	mu      sync.Mutex
	waiting []T
	working int
}

// New makes a queue of which up to workers calls are under way at a time.
//
// spawn starts a goroutine and returns true, or returns false when the owner is
// closing; it must not wait. take parts those who wait, of whom there is at least
// one, into the next call's, at least one, and the rest, both in their order; both may share the
// slice. call makes the call and answers each of the batch.
func New[T any](workers int, spawn func(func()) bool, take func(waiting []T) (batch, rest []T), call func(batch []T)) *Queue[T] {
	return &Queue[T]{workers: workers, spawn: spawn, take: take, call: call}
}

// Add queues requests. When it returns false the owner is closing, and nobody will
// answer them.
func (q *Queue[T]) Add(requests ...T) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	before := len(q.waiting)
	q.waiting = append(q.waiting, requests...)
	if q.working < q.workers && q.spawn(q.work) {
		q.working++
	}
	if q.working == 0 {
		q.waiting = q.waiting[:before]
	}
	return q.working > 0
}

// Waiting is the number of requests in no call yet.
func (q *Queue[T]) Waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting)
}

// work makes calls until nobody waits.
func (q *Queue[T]) work() {
	for {
		batch := q.next()
		if len(batch) == 0 {
			return
		}
		q.call(batch)
	}
}

func (q *Queue[T]) next() (batch []T) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		q.working--
		return nil
	}
	batch, q.waiting = q.take(q.waiting)
	if len(q.waiting) == 0 {
		q.waiting = nil // a burst's memory is given back
	}
	return batch
}

// Until returns a take that goes by the order alone: requests join a call until
// it weighs as much as full.
func Until[T any](full int, weight func(T) int) func(waiting []T) (batch, rest []T) {
	return func(waiting []T) (batch, rest []T) {
		n, sum := 0, 0
		for n < len(waiting) && (n == 0 || sum < full) {
			sum += weight(waiting[n])
			n++
		}
		return waiting[:n:n], waiting[n:]
	}
}
