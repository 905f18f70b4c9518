package fetch

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/semaphore"

	"github.com/wadi-log/wadi/objstore/objstoretest"
	"github.com/wadi-log/wadi/protocol"
)

// oneTurn is turns with one place.
func oneTurn() *turns {
	t := newTurns(newWay(wayFor))
	t.places = semaphore.NewWeighted(1)
	return t
}

// use takes the turn, goes on for a while, and returns when it had the turn.
func use(t *testing.T, of *turns, period time.Duration) time.Time {
	t.Helper()
	turn := turn{turns: of}
	if err := turn.take(t.Context()); err != nil {
		t.Error(err)
	}
	had := time.Now()
	<-time.After(period)
	turn.leave()
	return had
}

func TestTurnsFollowOneAnotherAtOnceWhereNobodyElseIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := oneTurn()
		first := use(t, turns, 3*time.Millisecond)
		if second := use(t, turns, 0); second.Sub(first) != 3*time.Millisecond {
			t.Errorf("the second turn came %v after the first", second.Sub(first))
		}
	})
}

func TestTurnsMakeWayForASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := oneTurn()
		turns.makeWay(0)
		first := use(t, turns, 2*time.Millisecond)
		second := use(t, turns, 0)
		if want := (1 + pausePerTurn) * 2 * time.Millisecond; second.Sub(first) != want {
			t.Errorf("the second turn came %v after the first, want %v", second.Sub(first), want)
		}
		<-time.After(wayFor)
		first = use(t, turns, 2*time.Millisecond)
		if second := use(t, turns, 0); second.Sub(first) != 2*time.Millisecond {
			t.Errorf("a second later it came %v after the first", second.Sub(first))
		}
	})
}

func TestThoseWhoCatchUpReadFasterThanOthersProduce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := oneTurn()
		read := func(bytes int) time.Duration {
			began := time.Now()
			reading := turn{turns: turns}
			if err := reading.take(t.Context()); err != nil {
				t.Fatal(err)
			}
			l := &load{length: int64(bytes), blockBytes: int64(bytes), blocks: []*flight{landed(make([]byte, bytes))}}
			if _, err := reading.wait(t.Context(), l); err != nil {
				t.Fatal(err)
			}
			<-time.After(turnTime)
			reading.leave()
			use(t, turns, 0)
			return time.Since(began)
		}
		turns.makeWay(1000)
		for range perProduced {
			if took := read(1000); took != turnTime {
				t.Errorf("%v for no more than others produced", took)
			}
		}
		if took := read(1); took != (1+pausePerTurn)*turnTime {
			t.Errorf("%v for more than that", took)
		}
		turns.makeWay(1 << 40)
		if credit := turns.credit.Load(); credit != maxCredit {
			t.Errorf("%d bytes saved up", credit)
		}
	})
}

func TestTurnIsOthersWhileABlockIsOnItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := oneTurn()
		waiting := turn{turns: turns}
		if err := waiting.take(t.Context()); err != nil {
			t.Fatal(err)
		}
		block := &flight{done: make(chan struct{})}
		l := &load{length: 3, blockBytes: 3, blocks: []*flight{block}}
		arrived := make(chan error)
		go func() {
			pieces, err := waiting.wait(t.Context(), l)
			if err == nil && string(pieces[0]) != "abc" {
				err = errors.New("other bytes")
			}
			arrived <- err
		}()
		synctest.Wait()
		use(t, turns, 0) // or this would wait for ever
		block.data = []byte("abc")
		close(block.done)
		if err := <-arrived; err != nil || !waiting.has {
			t.Errorf("has the turn again: %v, %v", waiting.has, err)
		}
		// With all there, a turn goes on until it was long enough.
		if _, err := waiting.wait(t.Context(), l); err != nil || turns.places.TryAcquire(1) {
			t.Errorf("gave up its turn for nothing, %v", err)
		}
		waiting.leave()
	})
}

func TestWhoWaitsForATurnLeavesWithItsClient(t *testing.T) {
	turns := oneTurn()
	holder := turn{turns: turns}
	if err := holder.take(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	late := turn{turns: turns}
	if err := late.take(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("took the turn: %v", err)
	}
	late.leave() // has none
	if turns.places.TryAcquire(1) {
		t.Error("somebody else's turn is free")
	}
	holder.leave()
	if !turns.places.TryAcquire(1) {
		t.Error("the turn was not given back")
	}
}

func TestTailingFetchNeedsNoTurn(t *testing.T) {
	c := newCluster(t, 1)
	batch := makeBatch(t, protocol.CodecNone, recs(10, 100, 0)...)
	c.produce(t, map[int32][]protocol.Batch{0: {batch}})
	a := c.agent(t) // whose tail begins behind that
	a.turns = oneTurn()
	a.turns.way = newWay(time.Hour)
	a.produce(t, map[int32][]protocol.Batch{0: {batch}})
	a.fetch(t, fetchFrom(10)) // from here on the tail knows where the log begins
	holder := turn{turns: a.turns}
	if err := holder.take(t.Context()); err != nil {
		t.Fatal(err)
	}
	old := make(chan *kmsg.FetchResponse, 1)
	go func() { old <- a.answer(t.Context(), fetchFrom(0)) }()
	if first, next := offsetsOf(t, a.fetch(t, fetchFrom(10))[0].RecordBatches); first != 10 || next != 20 {
		t.Errorf("%d to %d, want 10 to 20", first, next)
	}
	if !a.turns.way.made() {
		t.Error("nobody makes way for a consumer at the end of the log")
	}
	select {
	case <-old:
		t.Error("a fetch of old records did not wait for its turn")
	default:
	}
	holder.leave()
	if first, next := offsetsOf(t, (<-old).Topics[0].Partitions[0].RecordBatches); first != 0 || next < 10 {
		t.Errorf("%d to %d, want 0 to 10 at least", first, next)
	}
}

// blocksAndOthers are blocks of which each is one read, in pools of the same size, and somebody to make way for.
func blocksAndOthers(t *testing.T, others bool) *blocksFixture {
	t.Helper()
	config := smallBlocks(100_000)
	config.RangeBytes, config.PeerBytes, config.HotBytes = config.BlockBytes, config.ColdBytes, config.ColdBytes
	f := newBlocksFixture(t, config)
	if others {
		f.way.make()
	}
	return f
}

// TestBackfillsHaveOneReadUnderWayWhileOthersNeedTheStore: on two cores, and as many as fit when nobody does.
func TestBackfillsHaveOneReadUnderWayWhileOthersNeedTheStore(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(coresOfColdRead))
	for _, test := range []struct {
		name string
		pool Pool
		made bool
		want int32
	}{
		{"nobody else", Cold, false, 4},
		{"somebody produces", Cold, true, 1},
		{"for another agent", PeerCold, true, 1},
		{"tailing", Hot, true, 4},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := blocksAndOthers(t, test.made)
				var under atomic.Int32
				end := make(chan struct{})
				f.bucket.Inject(func(objstoretest.Op, string) objstoretest.Fault {
					under.Add(1)
					return objstoretest.Fault{Block: end}
				})
				l := f.load(f.file, 0, 10_000, test.pool)
				synctest.Wait()
				if got := under.Load(); got != test.want {
					t.Errorf("%d reads under way, want %d", got, test.want)
				}
				close(end)
				if _, err := l.wait(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestBackfillsPauseWhileMergesAreBehind: between any two reads, if both produce, for as long as merges say so.
func TestBackfillsPauseWhileMergesAreBehind(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(coresOfColdRead))
	const took = 10 * time.Millisecond
	for _, test := range []struct {
		name         string
		pool         Pool
		made, behind bool
		took, want   time.Duration
	}{
		{"merges keep up", Cold, true, false, took, took},
		{"merges are behind", Cold, true, true, took, (1 + pausePerRead) * took},
		{"for another agent", PeerCold, true, true, took, (1 + pausePerRead) * took},
		{"nobody produces", Cold, false, true, took, 0},
		{"tailing", Hot, true, true, took, 0},
		{"a slow store", Cold, true, true, time.Second / 2, time.Second/2 + pausePerRead*longRead},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := blocksAndOthers(t, test.made)
				f.MergesBehind(test.behind)
				var mu sync.Mutex
				var began []time.Time
				f.bucket.Inject(func(objstoretest.Op, string) objstoretest.Fault {
					mu.Lock()
					began = append(began, time.Now())
					mu.Unlock()
					time.Sleep(test.took)
					return objstoretest.Fault{}
				})
				if _, err := f.load(f.file, 0, 2*f.config.BlockBytes, test.pool).wait(t.Context()); err != nil {
					t.Fatal(err)
				}
				if len(began) != 2 || began[1].Sub(began[0]) != test.want {
					t.Errorf("reads began at %v, want %v between them", began, test.want)
				}
			})
		})
	}
}

// TestMergesThatSayNothingAreNotBehindForEver: background work may be paused, or its agent's role may change.
func TestMergesThatSayNothingAreNotBehindForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newBlocksFixture(t, smallBlocks(20_000))
		f.MergesBehind(true)
		if !f.merges.made() {
			t.Error("not taken for behind")
		}
		time.Sleep(mergesFor)
		if f.merges.made() {
			t.Error("taken for behind after all that time")
		}
		f.MergesBehind(true)
		if f.MergesBehind(false); f.merges.made() {
			t.Error("taken for behind though they have caught up")
		}
	})
}
