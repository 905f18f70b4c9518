package gather

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
)

func TestCloseEndsTheWorkersAndWaitsForThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewWorkers()
		var ended atomic.Int32
		for range 3 {
			if !w.Spawn(func() {
				<-w.Life().Done()
				ended.Add(1)
			}) {
				t.Fatal("a worker was refused")
			}
		}
		synctest.Wait()
		if n := ended.Load(); n != 0 {
			t.Errorf("%d workers ended before their owner", n)
		}
		w.Close()
		if n := ended.Load(); n != 3 {
			t.Errorf("Close waited for %d of 3 workers", n)
		}
		if w.Spawn(func() { t.Error("a worker began after Close") }) {
			t.Error("a worker was taken after Close")
		}
	})
}
