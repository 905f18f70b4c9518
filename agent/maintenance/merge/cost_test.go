package merge

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/protocol"
)

// meter measures what a merge asks of the object store.
type meter struct {
	objstore.Bucket
	mu                  sync.Mutex
	gets, puts          int
	read, largestPut    int64
	inFlight, mostBytes int64
}

func (m *meter) Get(ctx context.Context, key string, offset, length int64) ([]byte, error) {
	m.mu.Lock()
	m.gets++
	m.read += length
	m.inFlight += length
	m.mostBytes = max(m.mostBytes, m.inFlight)
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		m.inFlight -= length
		m.mu.Unlock()
	}()
	return m.Bucket.Get(ctx, key, offset, length)
}

func (m *meter) Put(ctx context.Context, key string, body []byte) error {
	m.mu.Lock()
	m.puts++
	m.largestPut = max(m.largestPut, int64(len(body)))
	m.mu.Unlock()
	return m.Bucket.Put(ctx, key, body)
}

// Requests grow with bytes, not with partitions; so does memory, which they bound.
func TestMergeCostsTheSameWithManyPartitions(t *testing.T) {
	const files, bytes = 8, 300 << 10
	for _, partitions := range []int32{3, 1500} {
		c := newCluster(t, partitions)
		random := seeded(t)
		for range files {
			batches := map[at][]protocol.Batch{}
			for p := range partitions {
				batches[at{0, p}] = []protocol.Batch{makeBatch(t, random, 1, max(1, bytes/int(partitions)-100))}
			}
			c.produce(t, datafile.None, batches)
		}
		meter := &meter{Bucket: c.bucket}
		m := c.merger(Config{FileBytes: 1 << 20, MemoryBytes: 16 << 20})
		m.bucket, m.claims[0].MaxFiles = meter, files
		if more, err := m.Round(t.Context(), progress()); !more || err != nil {
			t.Fatalf("merged %v, %v", more, err)
		}
		// 2.4 MB of inputs in windows of 2 MiB.
		if meter.gets > 3*files {
			t.Errorf("%d partitions: %d GETs for %d files of %d bytes", partitions, meter.gets, files, bytes)
		}
		if meter.puts > 4 || meter.largestPut > 3<<19 {
			t.Errorf("%d partitions: %d PUTs, the largest of %d bytes", partitions, meter.puts, meter.largestPut)
		}
		if window := m.config.window(); meter.mostBytes > window || meter.read > c.produced*3/2 {
			t.Errorf("%d partitions: read %d of %d bytes, %d at a time", partitions, meter.read, c.produced, meter.mostBytes)
		}
		c.check(t)
	}
}

// What is dead in files that topics with different retention share is given back.
func TestMergeWritesSparseFilesAnew(t *testing.T) {
	c := newCluster(t, 2, 2)
	random := seeded(t)
	for range 4 {
		batches := map[at][]protocol.Batch{}
		for topic, size := range []int{20_000, 1000} {
			for p := range int32(2) {
				batches[at{topic, p}] = []protocol.Batch{makeBatch(t, random, 2, size)}
			}
		}
		c.produce(t, datafile.Auto, batches)
	}
	m := c.merger(Config{})
	drain(t, m)
	before := c.files(t)
	if len(before) != 1 {
		t.Fatalf("%d files", len(before))
	}
	// The topic that has nearly all bytes loses them.
	var deletions []metadata.RecordsDeletion
	for _, partition := range c.topics[0].Partitions {
		deletions = append(deletions, metadata.RecordsDeletion{Partition: partition, Before: c.next[partition]})
		c.start[partition] = c.next[partition]
	}
	if _, err := c.store.Store.DeleteRecords(t.Context(), deletions); err != nil {
		t.Fatal(err)
	}
	if rounds := drain(t, m); rounds != 1 {
		t.Errorf("%d rounds for a sparse file", rounds)
	}
	c.check(t)
	after := c.files(t)
	if len(after) != 1 {
		t.Fatalf("%d files", len(after))
	}
	for id := range after {
		if before[id] {
			t.Error("the sparse file is still there")
		}
	}
	levels, err := c.store.Store.MergeBacklog(t.Context())
	if err != nil || levels[1].Files != 1 {
		t.Errorf("it left its level: %+v, %v", levels, err)
	}
}

// countsSparse counts the looks for sparse files.
type countsSparse struct {
	*faultyStore
	looks int
}

func (s *countsSparse) ClaimFiles(ctx context.Context, claim metadata.FileClaim) ([]metadata.ClaimedFile, error) {
	if claim.Sparse {
		s.looks++
	}
	return s.faultyStore.ClaimFiles(ctx, claim)
}

// To find sparse files costs more the more files there are, so it is rare while there are none.
func TestMergeLooksForSparseFilesNowAndThen(t *testing.T) {
	c := newCluster(t, 1, 1)
	m := c.merger(Config{})
	store := &countsSparse{faultyStore: c.store}
	m.store, m.sparseEvery = store, time.Hour
	random := seeded(t)
	for range 4 {
		c.produce(t, datafile.Auto, map[at][]protocol.Batch{{0, 0}: {makeBatch(t, random, 2, 20_000)}, {1, 0}: {makeBatch(t, random, 2, 100)}})
		if drain(t, m); store.looks != 1 {
			t.Fatalf("%d looks for sparse files", store.looks)
		}
	}
	large := c.topics[0].Partitions[0]
	if _, err := c.store.Store.DeleteRecords(t.Context(), []metadata.RecordsDeletion{{Partition: large, Before: c.next[large]}}); err != nil {
		t.Fatal(err)
	}
	c.start[large] = c.next[large]
	if rounds := drain(t, m); rounds != 0 || store.looks != 1 {
		t.Errorf("%d rounds, %d looks before it is time", rounds, store.looks)
	}
	// Where there was one there may be more.
	m.sparseAt = time.Time{}
	if rounds := drain(t, m); rounds != 1 || store.looks != 3 {
		t.Errorf("%d rounds, %d looks", rounds, store.looks)
	}
	c.check(t)
}

// A merge that takes minutes lets new files through in between.
func TestMergeOfHighLevelsLetsNewFilesThrough(t *testing.T) {
	c := newCluster(t, 30)
	m := c.merger(Config{FileBytes: 16 << 10})
	m.interleaveEvery = 0
	m.claims[0].MaxBytes, m.claims[1].MaxFiles = 1<<30, 1000 // or they would be settled
	c.produceSome(t, seeded(t), 16)
	// All files of level 0 first.
	for {
		more, err := m.merge(t.Context(), progress(), outputsOf(t, m), m.claims[0])
		if err != nil {
			t.Fatal(err)
		}
		if !more {
			break
		}
	}
	m.claims[1].MaxFiles = 16
	produced := false
	c.store.inject(func(method string) fault {
		if method == "ReplaceRuns" && !produced {
			produced = true
			c.produceSome(t, seeded(t), 4)
		}
		return fault{}
	})
	if more, err := m.merge(t.Context(), progress(), outputsOf(t, m), m.claims[1]); !more || err != nil {
		t.Fatalf("merged %v, %v", more, err)
	}
	backlog, err := c.store.Store.MergeBacklog(t.Context())
	if err != nil || backlog[0].Files != 0 || !produced {
		t.Errorf("new files waited for the end of the merge: %+v, %v", backlog, err)
	}
	c.check(t)
}

// farBehind is a store in which many files are due, or so it says, and which notes the levels of what is claimed.
type farBehind struct {
	*faultyStore
	files  int64
	levels []int16
}

func (s *farBehind) MergeBacklog(context.Context) ([]metadata.LevelBacklog, error) {
	return []metadata.LevelBacklog{{Level: 0, Files: s.files, OldestAt: time.Now()}}, nil
}

func (s *farBehind) ClaimFiles(ctx context.Context, claim metadata.FileClaim) ([]metadata.ClaimedFile, error) {
	files, err := s.faultyStore.ClaimFiles(ctx, claim)
	if len(files) > 0 {
		s.levels = append(s.levels, claim.Level)
	}
	return files, err
}

// Where merges are behind, new files come first, and the others still have their turn. Others are told of it.
func TestMergesThatAreBehindBeginWithNewFiles(t *testing.T) {
	for _, test := range []struct {
		name  string
		files int64
		// want are the levels of the rounds where enough files of levels 0 and 1 wait for each.
		want []int16
	}{
		{"behind", behind + 1, []int16{0, 0, 0, 1, 0, 0, 0}},
		{"on time", behind, []int16{1, 0, 1, 0, 1, 0, 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newCluster(t, 1)
			told := false
			m := c.merger(Config{Behind: func(behind bool) { told = behind }})
			m.sparseEvery, m.sparseAt = time.Hour, time.Now().Add(time.Hour)
			m.claims[1].MaxFiles, m.claims[2].MaxFiles = 2, 1000
			random := seeded(t)
			c.produceSome(t, random, 8*m.claims[0].MaxFiles)
			for range 8 {
				if merged, err := m.merge(t.Context(), progress(), outputsOf(t, m), m.claims[0]); !merged || err != nil {
					t.Fatal(merged, err)
				}
			}
			c.produceSome(t, random, 7*m.claims[0].MaxFiles)
			store := &farBehind{faultyStore: c.store, files: test.files}
			m.store, m.next = store, 1
			for range test.want {
				if more, err := m.Round(t.Context(), progress()); !more || err != nil {
					t.Fatal(more, err)
				}
			}
			if !slices.Equal(store.levels, test.want) {
				t.Errorf("levels %v, want %v", store.levels, test.want)
			}
			if told != (test.files > behind) {
				t.Errorf("told of merges that are behind: %v", told)
			}
			c.check(t)
		})
	}
}
