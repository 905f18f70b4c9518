package txncheck

import (
	"hash/fnv"
	"math/rand/v2"
	"time"
)

// ending is how a script's transaction ends.
type ending int8

const (
	commits ending = iota
	aborts
	// crashes: in the middle, with a request under way, and is replaced.
	crashes
	// dies: of sending its commit, which may have come through, and is replaced.
	dies
	// haunts: another producer takes the transactional ID over while this one goes on.
	haunts
	// rises: it goes on after another one took over.
	rises
	// oversleeps: until the transaction has timed out; then it commits.
	oversleeps
	endings // how many there are
)

// script is one transaction of a writer, fixed by the seed and its number.
type script struct {
	ending ending
	// flushes are sent one after the other.
	flushes [][]send
	// pause is between the end and what the writer does next, or how long it takes to replace one that crashed.
	pause time.Duration
}

// send is one record.
type send struct {
	partition int32
	filler    int
}

// random returns the source of what the seed decides for one of many things of a kind.
func random(seed uint64, kind string, number int) *rand.Rand {
	h := fnv.New64a()
	_, _ = h.Write([]byte(kind))
	return rand.New(rand.NewPCG(seed^h.Sum64(), uint64(number)))
}

// newScript writes the script of a writer's transaction over some of the partitions.
func newScript(r *rand.Rand, partitions []int32) script {
	s := script{pause: time.Duration(r.IntN(30)) * time.Millisecond}
	switch drawn := r.IntN(100); {
	case drawn < 60:
		s.ending = commits
	case drawn < 77:
		s.ending = aborts
	case drawn < 84:
		s.ending = crashes
		if r.IntN(4) == 0 { // nobody comes for a while: the transaction may time out
			s.pause = time.Duration(r.IntN(5000)) * time.Millisecond
		}
	case drawn < 88:
		s.ending = dies
	case drawn < 91:
		s.ending = haunts
	case drawn < 94:
		s.ending = rises
	default:
		s.ending = oversleeps
	}
	// From one partition to all of them.
	r.Shuffle(len(partitions), func(i, k int) { partitions[i], partitions[k] = partitions[k], partitions[i] })
	partitions = partitions[:1+r.IntN(1+r.IntN(len(partitions)))]
	for range 1 + r.IntN(3) {
		var flush []send
		for range 1 + r.IntN(25) {
			flush = append(flush, send{partitions[r.IntN(len(partitions))], r.IntN(200)})
		}
		s.flushes = append(s.flushes, flush)
	}
	return s
}
