package objstore_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wadi-log/wadi/objstore"
)

// scripted is a bucket whose n-th Get takes the n-th time and ends with the
// n-th error; later ones are like the last.
type scripted struct {
	objstore.Bucket
	calls     atomic.Int32
	cancelled atomic.Int32
	script    []answer
}

type answer struct {
	after time.Duration
	err   error
}

func (s *scripted) Get(ctx context.Context, _ string, _, _ int64) ([]byte, error) {
	n := int(s.calls.Add(1))
	a := s.script[min(n, len(s.script))-1]
	select {
	case <-time.After(a.after):
		return []byte{byte(n)}, a.err
	case <-ctx.Done():
		s.cancelled.Add(1)
		return nil, ctx.Err()
	}
}

func (s *scripted) Close() error { return nil }

func TestHedge(t *testing.T) {
	const ms = time.Millisecond
	for _, test := range []struct {
		name      string
		script    []answer
		want      byte // which attempt's answer, 0 for none
		err       error
		calls     int32
		cancelled int32
		took      time.Duration
	}{
		{"a quick Get is not doubled", []answer{{90 * ms, nil}}, 1, nil, 1, 0, 90 * ms},
		{"the second request overtakes a slow one", []answer{{time.Hour, nil}, {20 * ms, nil}}, 2, nil, 2, 1, 120 * ms},
		{"the first may still win", []answer{{150 * ms, nil}, {time.Hour, nil}}, 1, nil, 2, 1, 150 * ms},
		{"no third request", []answer{{time.Hour, nil}, {2 * time.Hour, nil}}, 1, nil, 2, 1, time.Hour},
		{"a failure is no slow answer", []answer{{10 * ms, errPassing}}, 0, errPassing, 1, 0, 10 * ms},
		{"no object is an answer", []answer{{time.Hour, nil}, {10 * ms, objstore.ErrNotFound}}, 0, objstore.ErrNotFound, 2, 1, 110 * ms},
		{"the second's failure waits for the first", []answer{{300 * ms, nil}, {10 * ms, errPassing}}, 1, nil, 2, 0, 300 * ms},
		{"the first's failure waits for the second", []answer{{200 * ms, errPassing}, {300 * ms, nil}}, 2, nil, 2, 0, 400 * ms},
		{"both fail", []answer{{200 * ms, errPassing}, {300 * ms, errPassing}}, 0, errPassing, 2, 0, 400 * ms},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &scripted{script: test.script}
				b := objstore.Hedge(store, 100*ms)
				start := time.Now()
				got, err := b.Get(t.Context(), "key", 0, 10)
				took := time.Since(start)
				if !errors.Is(err, test.err) {
					t.Errorf("error %v, want %v", err, test.err)
				}
				if err == nil && (len(got) != 1 || got[0] != test.want) {
					t.Errorf("answer of attempt %v, want %d", got, test.want)
				}
				if took != test.took {
					t.Errorf("took %v of synthetic time, want %v", took, test.took)
				}
				if err := b.Close(); err != nil { // waits for the loser
					t.Error(err)
				}
				if store.calls.Load() != test.calls || store.cancelled.Load() != test.cancelled {
					t.Errorf("%d requests, %d cancelled; want %d, %d", store.calls.Load(), store.cancelled.Load(), test.calls, test.cancelled)
				}
			})
		})
	}
}

func TestHedgeEndsWithItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &scripted{script: []answer{{time.Hour, nil}}}
		b := objstore.Hedge(store, time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			_, err := b.Get(ctx, "key", 0, 10)
			done <- err
		}()
		time.Sleep(2 * time.Second) // synthetic: both requests are under way
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want %v", err, context.Canceled)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if n := store.cancelled.Load(); n != 2 {
			t.Errorf("%d requests were cancelled, want 2", n)
		}
	})
}

func TestHedgeLearnsWhatIsSlowBySize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &scripted{script: []answer{{10 * time.Millisecond, nil}}}
		b := objstore.Hedge(store, 0)
		for range 200 { // Gets of this size take 10 ms
			if _, err := b.Get(t.Context(), "key", 0, 1000); err != nil {
				t.Fatal(err)
			}
		}
		store.script = []answer{{time.Minute, nil}}
		for length, want := range map[int64]int32{8 << 20: 1, 1000: 2} {
			store.calls.Store(0)
			if _, err := b.Get(t.Context(), "key", 0, length); err != nil {
				t.Fatal(err)
			}
			if n := store.calls.Load(); n != want {
				t.Errorf("a Get of %d bytes and a minute made %d requests, want %d", length, n, want)
			}
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestHedgesAreFewWhenEverythingIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &scripted{script: []answer{{time.Minute, nil}}}
		b := objstore.Hedge(store, time.Second)
		done := make(chan error)
		for range 100 {
			go func() {
				_, err := b.Get(t.Context(), "key", 0, 1000)
				done <- err
			}()
		}
		for range 100 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if n := store.calls.Load(); n <= 100 || n > 115 {
			t.Errorf("100 slow Gets made %d requests, want a tenth more", n)
		}
	})
}
