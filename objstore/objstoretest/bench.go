package objstoretest

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/wadi-log/wadi/objstore"
)

// benchBytes is the size of a data file.
const benchBytes = 8 << 20

// Bench measures Put and Get of 8 MiB, one at a time and four at a time. Besides
// bytes per second it reports the CPU time of this process (not of the store's
// server) for each GiB.
func Bench(b *testing.B, bucket objstore.Bucket) {
	body := Bytes(benchBytes, 1)
	key := func(i int) string { return fmt.Sprintf("bench/%02d/object", i%32) }
	for _, parallel := range []int{1, 4} {
		b.Run(fmt.Sprintf("Put8MiB/parallel=%d", parallel), func(b *testing.B) {
			measure(b, parallel, func(i int) error { return bucket.Put(b.Context(), key(i), body) })
		})
		b.Run(fmt.Sprintf("Get8MiB/parallel=%d", parallel), func(b *testing.B) {
			for i := range 32 {
				if err := bucket.Put(b.Context(), key(i), body); err != nil {
					b.Fatal(err)
				}
			}
			measure(b, parallel, func(i int) error {
				_, err := bucket.Get(b.Context(), key(i), 0, benchBytes)
				return err
			})
		})
	}
}

// measure calls do b.N times from so many goroutines.
func measure(b *testing.B, parallel int, do func(i int) error) {
	b.SetBytes(benchBytes)
	b.ReportAllocs()
	next := make(chan int)
	errs := make(chan error, parallel)
	before := cpuTime(b)
	b.ResetTimer()
	for range parallel {
		go func() {
			var failed error
			for i := range next {
				if err := do(i); err != nil {
					failed = err
				}
			}
			errs <- failed
		}()
	}
	for i := range b.N {
		next <- i
	}
	close(next)
	for range parallel {
		if err := <-errs; err != nil {
			b.Error(err)
		}
	}
	b.StopTimer()
	gib := float64(b.N) * benchBytes / (1 << 30)
	b.ReportMetric((cpuTime(b)-before).Seconds()/gib, "cpu-s/GiB")
}

// cpuTime returns what this process has used so far.
func cpuTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
