package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/objstore/memory"
	"github.com/wadi-log/wadi/objstore/objstoretest"
	"github.com/wadi-log/wadi/protocol"
)

// owner is another agent that owns everything.
type owner struct {
	mu    sync.Mutex
	asked []string
	read  func(ctx context.Context, file uuid.UUID, position, length int64) ([]byte, error)
}

func (o *owner) Owner(uuid.UUID, int64) Source { return o }

func (o *owner) Read(ctx context.Context, file uuid.UUID, position, length int64, hot bool) ([]byte, error) {
	o.mu.Lock()
	o.asked = append(o.asked, fmt.Sprintf("%d+%d hot=%v", position, length, hot))
	o.mu.Unlock()
	return o.read(ctx, file, position, length)
}

// honest is an owner that gives what the bucket has.
func honest(bucket objstore.Bucket) *owner {
	return &owner{read: func(ctx context.Context, file uuid.UUID, position, length int64) ([]byte, error) {
		return bucket.Get(ctx, datafile.Key(file), position, length)
	}}
}

// inZone is a fixture with an owner beside it, which reads past the bucket's counts.
func inZone(t *testing.T) (*blocksFixture, *owner) {
	f := newBlocksFixture(t, smallBlocks(50_000))
	o := honest(f.bucket.Bucket)
	f.zone = o
	return f, o
}

func TestBlocksAskTheirOwner(t *testing.T) {
	f, o := inZone(t)
	for range 2 { // the second time all of it is in the cache
		if got, err := f.bytesOf(t.Context(), 1500, 4000); err != nil || !bytes.Equal(got, f.body[1500:5500]) {
			t.Fatalf("wrong bytes, error %v", err)
		}
	}
	if _, err := f.load(f.file, 7000, 1, Cold).wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	slices.Sort(o.asked)
	if want := []string{"1000+3000 hot=true", "4000+2000 hot=true", "7000+1000 hot=false"}; !slices.Equal(o.asked, want) {
		t.Errorf("the owner was asked for %q, want %q", o.asked, want)
	}
	if n := f.bucket.Calls(objstoretest.Get); n != 0 {
		t.Errorf("the object store was asked %d times", n)
	}
	if n := counted(f.metrics.fromPeers); n != 6 {
		t.Errorf("%v blocks came from the owner, want 6", n)
	}
}

func TestOwnerThatCannotTellIsNotNeeded(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want error
		gets int
	}{
		{"it failed", errors.New("silent"), nil, 1},
		{"it has no such file", objstore.ErrNotFound, nil, 1},
		{"the file ends before", objstore.ErrRange, errShortFile, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, o := inZone(t)
			o.read = func(context.Context, uuid.UUID, int64, int64) ([]byte, error) { return nil, c.err }
			got, err := f.bytesOf(t.Context(), 0, 3000)
			if !errors.Is(err, c.want) || c.want == nil && !bytes.Equal(got, f.body[:3000]) {
				t.Errorf("%d bytes, error %v, want %v", len(got), err, c.want)
			}
			if n := f.bucket.Calls(objstoretest.Get); n != c.gets {
				t.Errorf("%d reads of the object store, want %d", n, c.gets)
			}
		})
	}
}

// TestPeersAreNotSentOn: two agents that take each other for the owner don't wait for each other.
func TestPeersAreNotSentOn(t *testing.T) {
	f, o := inZone(t)
	other := newBlocksFixture(t, smallBlocks(50_000))
	other.bucket, other.Blocks.bucket = f.bucket, f.bucket
	back := &owner{read: func(ctx context.Context, file uuid.UUID, position, length int64) ([]byte, error) {
		pieces, err := f.ReadForPeer(ctx, file, position, length, PeerHot)
		return bytes.Join(pieces, nil), err
	}}
	other.zone = back
	// Both have a read under way, which asks the other agent, before either comes there.
	var there sync.WaitGroup
	there.Add(2)
	meet := func(next func(context.Context, uuid.UUID, int64, int64) ([]byte, error)) func(context.Context, uuid.UUID, int64, int64) ([]byte, error) {
		return func(ctx context.Context, file uuid.UUID, position, length int64) ([]byte, error) {
			there.Done()
			there.Wait()
			return next(ctx, file, position, length)
		}
	}
	back.read = meet(back.read)
	o.read = meet(func(ctx context.Context, file uuid.UUID, position, length int64) ([]byte, error) {
		pieces, err := other.ReadForPeer(ctx, file, position, length, PeerHot)
		return bytes.Join(pieces, nil), err
	})
	first, second := f.load(f.file, 0, 1000, Hot), other.load(f.file, 0, 1000, Hot)
	for _, l := range []*load{first, second} {
		if pieces, err := l.wait(t.Context()); err != nil || !bytes.Equal(bytes.Join(pieces, nil), f.body[:1000]) {
			t.Errorf("wrong bytes, error %v", err)
		}
	}
	if n := f.bucket.Calls(objstoretest.Get); n > 2 {
		t.Errorf("%d reads of the object store, want one by each at most", n)
	}
}

// TestAgentsThatAskEachOtherWaitForNeither: each has its places for reads taken by what it asks of the other, while the
// other's answer is a block that it is about to read itself.
func TestAgentsThatAskEachOtherWaitForNeither(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := smallBlocks(50_000)
		config.RangeBytes, config.PartBytes, config.ColdBytes = config.BlockBytes, config.BlockBytes, config.BlockBytes
		bucket, file, body := memory.Open(), uuid.UUID{}, objstoretest.Bytes(2000, 1)
		if err := bucket.Put(t.Context(), datafile.Key(file), body); err != nil {
			t.Fatal(err)
		}
		agents, gate := make(agentsInZone, 2), make(chan struct{})
		for i := range agents {
			agents[i] = NewBlocks(bucket, delayed{memberOf{agents, i}, gate}, config, testMetrics())
			defer agents[i].Close()
		}
		began := time.Now()
		var loads []*load
		for _, other := range []int{1, 0} { // block i is agent i's
			for i, a := range agents {
				loads = append(loads, a.load(file, int64((i+other)%2)*1000, 1000, Cold))
			}
			synctest.Wait()
		}
		close(gate)
		for _, l := range loads {
			if pieces, err := l.wait(t.Context()); err != nil || !bytes.Equal(bytes.Join(pieces, nil), body[l.position:l.position+1000]) {
				t.Errorf("wrong bytes, error %v", err)
			}
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("it took %v", took)
		}
	})
}

// delayed is a zone whose agents are asked when the gate opens.
type delayed struct {
	Zone
	gate chan struct{}
}

func (d delayed) Owner(file uuid.UUID, part int64) Source {
	if owner := d.Zone.Owner(file, part); owner != nil {
		return &gated{owner, d.gate}
	}
	return nil
}

type gated struct {
	Source
	gate chan struct{}
}

func (g *gated) Read(ctx context.Context, file uuid.UUID, position, length int64, hot bool) ([]byte, error) {
	<-g.gate
	return g.Source.Read(ctx, file, position, length, hot)
}

func TestPeersGetWhatTheFileHas(t *testing.T) {
	for _, filled := range []bool{false, true} {
		f := newBlocksFixture(t, smallBlocks(50_000))
		if filled {
			f.Fill(f.file, f.body)
		}
		for _, c := range []struct{ position, length, want int64 }{
			{0, 1000, 1000}, {9000, 3000, 1500}, {10_000, 1000, 500}, {10_499, 50, 1},
			{8000, 1000, 1000}, {8000, 10_000, 2500},
			{10_500, 10, -1}, {11_000, 1000, -1}, {40_000, 1000, -1},
		} {
			pieces, err := f.ReadForPeer(t.Context(), f.file, c.position, c.length, PeerCold)
			got := bytes.Join(pieces, nil)
			switch {
			case c.want < 0:
				if !errors.Is(err, objstore.ErrRange) {
					t.Errorf("filled %v, %+v: error %v, want %v", filled, c, err, objstore.ErrRange)
				}
			case err != nil || !bytes.Equal(got, f.body[c.position:c.position+c.want]):
				t.Errorf("filled %v, %+v: %d bytes, error %v", filled, c, len(got), err)
			}
		}
		if _, err := f.ReadForPeer(t.Context(), newFileID(t), 0, 1, PeerHot); !errors.Is(err, objstore.ErrNotFound) {
			t.Errorf("error %v, want %v", err, objstore.ErrNotFound)
		}
	}
}

// A file that is as long as its blocks ends where nothing was read.
func TestPeersGetWhatAFileOfWholeBlocksHas(t *testing.T) {
	f := newBlocksFixture(t, smallBlocks(50_000))
	file := newFileID(t)
	if err := f.bucket.Put(t.Context(), datafile.Key(file), f.body[:2000]); err != nil {
		t.Fatal(err)
	}
	for _, position := range []int64{1000, 0} { // the last block first, then those around it
		pieces, err := f.ReadForPeer(t.Context(), file, position, 3000, PeerHot)
		if got := bytes.Join(pieces, nil); err != nil || !bytes.Equal(got, f.body[position:2000]) {
			t.Errorf("from %d: %d bytes, error %v", position, len(got), err)
		}
	}
}

// agentsInZone are block caches that own what a hash says.
type agentsInZone []*Blocks

// memberOf is the zone as one of its agents sees it.
type memberOf struct {
	agents agentsInZone
	self   int
}

func (m memberOf) Owner(file uuid.UUID, part int64) Source {
	if i := (int(file[15]) + int(part)) % len(m.agents); i != m.self {
		return member{m.agents[i]}
	}
	return nil
}

type member struct{ *Blocks }

func (m member) Read(ctx context.Context, file uuid.UUID, position, length int64, hot bool) ([]byte, error) {
	pool := PeerCold
	if hot {
		pool = PeerHot
	}
	pieces, err := m.ReadForPeer(ctx, file, position, length, pool)
	return bytes.Join(pieces, nil), err
}

// TestAZoneReadsEachBlockOnce has many readers of any ranges at each of three agents.
func TestAZoneReadsEachBlockOnce(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	bucket := objstoretest.NewFaulty(memory.Open())
	agents := make(agentsInZone, 3)
	for i := range agents {
		agents[i] = NewBlocks(bucket, memberOf{agents, i}, smallBlocks(1<<20), testMetrics())
		t.Cleanup(agents[i].Close)
	}
	files, bodies := make([]uuid.UUID, 5), make([][]byte, 5)
	blocks := 0
	for i := range files {
		files[i], bodies[i] = newFileID(t), objstoretest.Bytes(500+4700*i, uint64(i))
		blocks += (len(bodies[i]) + 999) / 1000
		if err := bucket.Put(t.Context(), datafile.Key(files[i]), bodies[i]); err != nil {
			t.Fatal(err)
		}
	}
	var readers sync.WaitGroup
	for reader := range uint64(12) {
		readers.Go(func() {
			r := rand.New(rand.NewPCG(seed, reader))
			for range 200 {
				i := r.IntN(len(files))
				position := r.Int64N(int64(len(bodies[i])))
				length := 1 + r.Int64N(int64(len(bodies[i]))-position)
				pool := Pool(r.IntN(2))
				pieces, err := agents[reader%3].load(files[i], position, length, pool).wait(t.Context())
				if err != nil || !bytes.Equal(bytes.Join(pieces, nil), bodies[i][position:position+length]) {
					t.Errorf("file %d, %d bytes from %d: wrong bytes, error %v", i, length, position, err)
				}
			}
		})
	}
	readers.Wait()
	read := 0
	for _, a := range agents {
		for pool := range Pool(pools) {
			read += counted(a.metrics.getBytes[pool])
		}
	}
	total := 0
	for _, b := range bodies {
		total += len(b)
	}
	if read != total {
		t.Errorf("%v bytes were read from the object store, of files of %d", read, total)
	}
	if n := bucket.Calls(objstoretest.Get); n > blocks {
		t.Errorf("%d reads of %d blocks", n, blocks)
	}
}

// damaging gives what the bucket has, with one byte changed.
func damaging(bucket objstore.Bucket, change func(uuid.UUID) (at int64)) *owner {
	o := honest(bucket)
	get := o.read
	o.read = func(ctx context.Context, file uuid.UUID, position, length int64) ([]byte, error) {
		body, err := get(ctx, file, position, length)
		if at := change(file) - position; at >= 0 && at < int64(len(body)) {
			body[at] ^= 0x40
		}
		return body, err
	}
	return o
}

// TestDamageOnTheWayIsNone: records that another agent damages are read from the object store.
func TestDamageOnTheWayIsNone(t *testing.T) {
	for name, at := range map[string]int64{"length": 8, "body": 100, "second batch": -30} {
		t.Run(name, func(t *testing.T) {
			f := newReadFixture(t, memoryBucket(), DefaultBlocksConfig(1<<20))
			batch := makeBatch(t, protocol.CodecNone, recs(10, 300, 0)...)
			runs := f.write(t, datafile.None, map[metadata.PartitionID][]protocol.Batch{1: {batch, batch}, 2: {batch}})
			f.blocks.zone = damaging(f.bucket, func(uuid.UUID) int64 {
				if at < 0 {
					return runs[1].Position + int64(runs[1].StoredSize) + at
				}
				return runs[1].Position + at
			})
			size := batch.Size()
			var got []byte
			for offset := int64(0); offset < 20; {
				parts := f.read(t.Context(), []asked{{1, offset, 1 << 20}, {2, 0, 1 << 20}}, []plan{planned(runs[1]), planned(runs[2])},
					limits{maxBytes: 1 << 20}, noReplan(t))
				if parts[0].err != nil || parts[1].err != nil || len(parts[0].batches) == 0 || len(parts[1].batches) != size {
					t.Fatalf("%d and %d bytes, errors %v and %v", len(parts[0].batches), len(parts[1].batches), parts[0].err, parts[1].err)
				}
				got = append(got, parts[0].batches...)
				offset = parts[0].next
			}
			if len(got) != 2*size {
				t.Errorf("%d bytes, want %d", len(got), 2*size)
			}
			if n := counted(f.metrics.corrupt); n != 0 {
				t.Errorf("damage was counted %v times", n)
			}
		})
	}
}

// TestDamageInTheStoreIsFoundThroughAZone: once at each reading, as without other agents.
func TestDamageInTheStoreIsFoundThroughAZone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the clock stands still: nothing depends on it
		f := newReadFixture(t, memoryBucket(), DefaultBlocksConfig(1<<20))
		f.blocks.zone = honest(f.bucket.Bucket)
		batch := makeBatch(t, protocol.CodecNone, recs(10, 300, 0)...)
		bad := bytes.Clone(batch)
		bad[100]++
		run := f.write(t, datafile.None, map[metadata.PartitionID][]protocol.Batch{1: {bad}})[1]
		for i := range 3 {
			if _, err := f.one(t, 0, 1<<20, run); !errors.Is(err, errCorrupt) || errors.Is(err, errDoubtful) {
				t.Errorf("error %v, want %v", err, errCorrupt)
			}
			if n := counted(f.metrics.corrupt); n != i+1 {
				t.Errorf("damage was counted %v times in %d readings", n, i+1)
			}
			if n := f.bucket.Calls(objstoretest.Get); n != i+1 {
				t.Errorf("%d reads of the object store in %d readings", n, i+1)
			}
		}
	})
}

func TestAnIndexDamagedOnTheWayIsReadAnew(t *testing.T) {
	m := largeRun(t, datafile.None, 64<<20, 100)
	run := m.runs[0]
	m.f.blocks.zone = damaging(m.f.bucket, func(uuid.UUID) int64 { return run.Position + int64(run.StoredSize) + 30 })
	if got := m.fetch(t, 50, m.end, 30_000); got.err != nil || !bytes.Equal(got.batches, m.want(50, m.end, 30_000)) {
		t.Errorf("%d bytes, error %v", len(got.batches), got.err)
	}
	if n := counted(m.f.metrics.corrupt); n != 0 {
		t.Errorf("damage was counted %v times", n)
	}
}

func TestASearchReadsAnewWhatWasDamagedOnTheWay(t *testing.T) {
	f := newReadFixture(t, memoryBucket(), DefaultBlocksConfig(1<<20))
	batch := makeBatch(t, protocol.CodecNone, recs(10, 300, 1000)...)
	run := f.write(t, datafile.None, map[metadata.PartitionID][]protocol.Batch{1: {batch}})[1]
	f.blocks.zone = damaging(f.bucket, func(uuid.UUID) int64 { return run.Position + 100 })
	found, err := certain(func() (*hit, error) { return f.searchRun(t.Context(), &run, 0, 1005) })
	if err != nil || found == nil || found.timestamp < 1005 {
		t.Errorf("found %+v, error %v", found, err)
	}
	if n := counted(f.metrics.corrupt); n != 0 {
		t.Errorf("damage was counted %v times", n)
	}
}

// TestDoubtOutlivesReadsUnderWay: what an owner sends after its bytes were found damaged is kept from the cache.
func TestDoubtOutlivesReadsUnderWay(t *testing.T) {
	f, o := inZone(t)
	gate, asked := make(chan struct{}), make(chan struct{})
	o.read = func(_ context.Context, _ uuid.UUID, _, length int64) ([]byte, error) {
		close(asked)
		<-gate
		return make([]byte, length), nil
	}
	late := f.load(f.file, 0, 1000, Hot)
	<-asked
	mark := f.mark()
	if !f.doubt(f.file, mark) {
		t.Error("a first doubt is no reason to read again")
	}
	got, err := f.bytesOf(t.Context(), 0, 1000) // doesn't wait for the owner
	if err != nil || !bytes.Equal(got, f.body[:1000]) {
		t.Errorf("wrong bytes, error %v", err)
	}
	close(gate)
	if _, err := late.wait(t.Context()); err != nil {
		t.Error(err)
	}
	if got, err := f.bytesOf(t.Context(), 0, 1000); err != nil || !bytes.Equal(got, f.body[:1000]) {
		t.Errorf("wrong bytes after the owner answered, error %v", err)
	}
	if f.doubt(f.file, f.mark()) {
		t.Error("damage in what the object store has is a reason to read again")
	}
}
