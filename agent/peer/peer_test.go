package peer

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/objstore"
)

// ask reads one span, as a block cache does.
func (p *pair) ask(t *testing.T, position, length int64) ([]byte, error) {
	return p.owner().Read(t.Context(), uuid.Max, position, length, true)
}

func TestOwnerAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := make(file, 3<<20)
		r := rand.NewChaCha8([32]byte{1})
		_, _ = r.Read(body)
		p := newPair(t, secret, secret, func(ctx context.Context, id uuid.UUID, position, length int64, hot bool) ([][]byte, error) {
			switch {
			case id == uuid.Nil:
				return nil, objstore.ErrNotFound
			case position >= int64(len(body)):
				return nil, objstore.ErrRange
			}
			return body.read(ctx, id, position, length, hot)
		})
		for _, c := range []struct {
			name             string
			file             uuid.UUID
			position, length int64
			hot              bool
			want             []byte
			err              error
		}{
			{"one byte", uuid.Max, 7, 1, true, body[7:8], nil},
			{"everything", uuid.Max, 0, 3 << 20, true, body, nil},
			{"beyond the end", uuid.Max, 2 << 20, MaxSpanBytes, true, body[2<<20:], nil},
			{"from the end", uuid.Max, 3 << 20, 10, true, nil, objstore.ErrRange},
			{"no such file", uuid.Nil, 0, 10, true, nil, objstore.ErrNotFound},
			{"nothing", uuid.Max, 0, 0, true, nil, errWire},
			{"too much", uuid.Max, 0, MaxSpanBytes + 1, true, nil, errWire},
			{"before the beginning", uuid.Max, -1, 10, true, nil, errWire},
		} {
			got, err := p.owner().Read(t.Context(), c.file, c.position, c.length, c.hot)
			if !errors.Is(err, c.err) || !bytes.Equal(got, c.want) {
				t.Errorf("%s: %d bytes, error %v; want %d, %v", c.name, len(got), err, len(c.want), c.err)
			}
		}
		if got, want := p.counts(), (counts{ok: 3, absent: 2, failed: 3, calls: 5}); got != want {
			t.Errorf("counted %+v, want %+v", got, want)
		}
	})
}

func TestWhatIsAskedForAtOnceGoesTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		body := make(file, 1<<20)
		p := newPair(t, secret, secret, func(ctx context.Context, id uuid.UUID, position, length int64, hot bool) ([][]byte, error) {
			<-gate
			return body.read(ctx, id, position, length, hot)
		})
		var all sync.WaitGroup
		for i := range callsAtOnce + 50 {
			all.Go(func() {
				if got, err := p.ask(t, int64(i), 100); err != nil || len(got) != 100 {
					t.Errorf("%d bytes, error %v", len(got), err)
				}
			})
			synctest.Wait()
		}
		close(gate)
		all.Wait()
		if got, want := p.counts(), (counts{ok: callsAtOnce + 50, calls: callsAtOnce + 1}); got != want {
			t.Errorf("counted %+v, want %+v", got, want)
		}
	})
}

// TestTheTailWaitsForNoBackfill: what agents that catch up have asked fills the room for answers.
func TestTheTailWaitsForNoBackfill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		body := make(file, 1000)
		p := newPair(t, secret, secret, func(ctx context.Context, id uuid.UUID, position, length int64, hot bool) ([][]byte, error) {
			if !hot {
				<-gate
			}
			return body.read(ctx, id, position, length, hot)
		})
		var backfill sync.WaitGroup
		backfill.Go(func() {
			if _, err := p.owner().Read(t.Context(), uuid.Max, 0, 1000, false); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		if got, err := p.ask(t, 0, 1000); err != nil || len(got) != 1000 {
			t.Errorf("%d bytes, error %v", len(got), err)
		}
		close(gate)
		backfill.Wait()
	})
}

// TestAnAnswerWaitsForNoOther: of one call, each is given out when it is there.
func TestAnAnswerWaitsForNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, slow := make(chan struct{}), make(chan struct{})
		body := make(file, 1000)
		p := newPair(t, secret, secret, func(ctx context.Context, id uuid.UUID, position, length int64, hot bool) ([][]byte, error) {
			switch position {
			case 0:
				<-first
			case 1:
				<-slow
			}
			return body.read(ctx, id, position, length, hot)
		})
		var all, quick sync.WaitGroup
		for range callsAtOnce { // so that the others share a call
			all.Go(func() {
				if _, err := p.ask(t, 0, 1); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		all.Go(func() {
			if _, err := p.ask(t, 1, 1); err != nil {
				t.Error(err)
			}
		})
		quick.Go(func() {
			if _, err := p.ask(t, 2, 1); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		close(first)
		quick.Wait()
		close(slow)
		all.Wait()
		if got := p.counts().calls; got != callsAtOnce+1 {
			t.Errorf("%d calls, want %d", got, callsAtOnce+1)
		}
	})
}

// TestAFrozenOwnerCostsOnce: it is given up after a moment, left alone, and asked again when it lives.
func TestAFrozenOwnerCostsOnce(t *testing.T) {
	for _, connected := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			p := newPair(t, secret, secret, make(file, 1000).read)
			if connected {
				if _, err := p.ask(t, 0, 10); err != nil {
					t.Fatal(err)
				}
				synctest.Wait() // the connection is idle
			}
			p.net.freeze(true)
			start := time.Now()
			var all sync.WaitGroup
			for range 20 {
				all.Go(func() {
					if _, err := p.ask(t, 0, 10); !errors.Is(err, errSilent) && !errors.Is(err, errResting) {
						t.Errorf("error %v, want %v", err, errSilent)
					}
				})
			}
			all.Wait()
			if took := time.Since(start); took != patience {
				t.Errorf("it took %v, want %v", took, patience)
			}
			// From now on nobody waits, not even while it is looked after.
			for range 100 {
				asked := time.Now()
				if _, err := p.ask(t, 0, 10); !errors.Is(err, errResting) {
					t.Errorf("error %v, want %v", err, errResting)
				}
				if took := time.Since(asked); took != 0 {
					t.Errorf("it took %v more", took)
				}
				time.Sleep(rest / 10)
			}
			p.net.freeze(false)
			time.Sleep(rest + patience)
			_, _ = p.ask(t, 0, 10) // has it looked after
			synctest.Wait()
			if _, err := p.ask(t, 0, 10); err != nil {
				t.Errorf("it lives again: error %v", err)
			}
		})
	}
}

// TestAnOwnerThatFreezesWhileItAnswers: some of a call is answered, the rest is given up.
func TestAnOwnerThatFreezesWhileItAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p *pair
		p = newPair(t, secret, secret, func(_ context.Context, _ uuid.UUID, position, length int64, _ bool) ([][]byte, error) {
			time.Sleep(time.Second) // it beats
			p.net.freeze(true)
			return [][]byte{make([]byte, length)}, nil
		})
		start := time.Now()
		_, err := p.ask(t, 0, 10)
		if took := time.Since(start); !errors.Is(err, errSilent) || took < time.Second || took > time.Second+patience {
			t.Errorf("error %v after %v", err, took)
		}
	})
}

func TestALivingOwnerIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := make(file, 1000)
		p := newPair(t, secret, secret, func(ctx context.Context, id uuid.UUID, position, length int64, hot bool) ([][]byte, error) {
			time.Sleep(answerTimeout - time.Millisecond) // the object store is slow today
			return body.read(ctx, id, position, length, hot)
		})
		if got, err := p.ask(t, 0, 10); err != nil || len(got) != 10 {
			t.Errorf("%d bytes, error %v", len(got), err)
		}
	})
}

func TestAnOwnerWithoutItsStoreIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, secret, secret, func(ctx context.Context, _ uuid.UUID, _, _ int64, _ bool) ([][]byte, error) {
			<-ctx.Done() // which it is when nobody waits any more
			return nil, ctx.Err()
		})
		start := time.Now()
		_, err := p.ask(t, 0, 10)
		if took := time.Since(start); err == nil || took != answerTimeout {
			t.Errorf("error %v after %v, want one after %v", err, took, answerTimeout)
		}
		if _, err := p.ask(t, 0, 10); !errors.Is(err, errResting) {
			t.Errorf("error %v, want %v", err, errResting)
		}
	})
}

func TestAnOwnerThatSaysThatItCannotIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, secret, secret, func(context.Context, uuid.UUID, int64, int64, bool) ([][]byte, error) {
			return nil, errors.New("the object store is away")
		})
		if _, err := p.ask(t, 0, 10); !errors.Is(err, errFailed) {
			t.Errorf("error %v, want %v", err, errFailed)
		}
		if _, err := p.ask(t, 0, 10); !errors.Is(err, errResting) {
			t.Errorf("error %v, want %v", err, errResting)
		}
	})
}

func TestADeadOwnerIsFoundOutAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, secret, secret, make(file, 1000).read)
		if _, err := p.ask(t, 0, 10); err != nil {
			t.Fatal(err)
		}
		p.server.Close()
		start := time.Now()
		if _, err := p.ask(t, 0, 10); err == nil || time.Since(start) > patience {
			t.Errorf("error %v after %v", err, time.Since(start))
		}
	})
}

func TestClosingEndsWhatIsUnderWay(t *testing.T) {
	for _, closer := range []string{"asker", "owner"} {
		synctest.Test(t, func(t *testing.T) {
			var ended atomic.Bool
			p := newPair(t, secret, secret, func(ctx context.Context, _ uuid.UUID, _, _ int64, _ bool) ([][]byte, error) {
				<-ctx.Done()
				ended.Store(true)
				return nil, ctx.Err()
			})
			var asking sync.WaitGroup
			asking.Go(func() {
				if _, err := p.ask(t, 0, 10); err == nil {
					t.Error("no error")
				}
			})
			synctest.Wait()
			if closer == "asker" {
				p.client.Close()
			} else {
				p.server.Close()
			}
			asking.Wait()
			synctest.Wait()
			if !ended.Load() {
				t.Errorf("after the %s closed, the owner still reads", closer)
			}
		})
	}
}

// TestWithoutTheSecretNobodyAsksOrAnswers: whichever side has another secret.
func TestWithoutTheSecretNobodyAsksOrAnswers(t *testing.T) {
	other := bytes.Repeat([]byte{7}, 32)
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, other, secret, func(context.Context, uuid.UUID, int64, int64, bool) ([][]byte, error) {
			t.Error("a stranger's request was answered")
			return nil, nil
		})
		if _, err := p.ask(t, 0, 10); err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("error %v, want one of certificates", err)
		}
	})
}
