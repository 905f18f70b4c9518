package produce

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/sqlite"
	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/memory"
	"github.com/wadi-log/wadi/objstore/objstoretest"
	"github.com/wadi-log/wadi/protocol"
	"github.com/wadi-log/wadi/protocol/configs"
	"github.com/wadi-log/wadi/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// path is a write path over real stores that can be made to fail.
type path struct {
	t       *testing.T
	bucket  *objstoretest.Faulty
	store   *faultyStore
	acc     *Accumulator
	metrics *Metrics
	topic   metadata.Topic

	mu    sync.Mutex
	runs  []metadata.Run
	order []uuid.UUID // files in the order of their commits
}

func newPath(t *testing.T, change func(*Config)) *path {
	t.Helper()
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "metadata.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	p := &path{t: t, bucket: objstoretest.NewFaulty(memory.Open()), store: &faultyStore{Store: store},
		metrics: NewMetrics(prometheus.NewRegistry())}
	if p.topic, err = store.CreateTopic(t.Context(), metadata.NewTopic{Name: "t", Partitions: 3}); err != nil {
		t.Fatal(err)
	}
	config := Config{FlushInterval: time.Millisecond, FlushBytes: 1 << 20, Uploads: 4, Compression: "none"}
	if change != nil {
		change(&config)
	}
	retried := objstore.Retry(p.bucket, objstore.RetryPolicy{
		Attempts: 3, MinDelay: time.Millisecond, MaxDelay: 2 * time.Millisecond, Total: time.Minute})
	p.acc = NewAccumulator(config, retried, p.store, p.committed, p.metrics, slog.New(slog.DiscardHandler))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := p.acc.Drain(ctx); err != nil {
			t.Errorf("drain: %v", err)
		}
	})
	return p
}

func (p *path) committed(files []metadata.File, _ [][]byte, commits []metadata.Commit) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range files {
		p.order = append(p.order, f.ID)
	}
	for _, c := range commits {
		p.runs = append(p.runs, c.Runs...)
	}
}

// add gives the write path one batch for the partition.
func (p *path) add(partition int, batch protocol.Batch) Ticket {
	p.t.Helper()
	ticket, err := p.acc.Add([]Entry{p.entry(partition, batch)}, func() {})
	if err != nil {
		p.t.Fatal(err)
	}
	return ticket
}

func (p *path) entry(partition int, batch protocol.Batch) Entry {
	return Entry{Topic: p.topic.ID, Index: int32(partition), Partition: p.topic.Partitions[partition], Batch: batch}
}

// result waits for the ticket's only result.
func result(ticket Ticket) Result {
	<-ticket.Done()
	return ticket.Result(0)
}

// nextOffset is the end of the partition as the store has it.
func (p *path) nextOffset(partition int) int64 {
	p.t.Helper()
	bounds, err := p.store.Bounds(p.t.Context(), []metadata.PartitionID{p.topic.Partitions[partition]})
	if err != nil {
		p.t.Fatal(err)
	}
	return bounds[0].NextOffset
}

// stored fails the test unless every run of the index lies in an object.
func (p *path) stored() {
	p.t.Helper()
	objects := map[string]int64{}
	if err := p.bucket.List(p.t.Context(), "data/", func(o objstore.ObjectInfo) error {
		objects[filepath.Base(o.Key)] = o.Size
		return nil
	}); err != nil {
		p.t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.runs {
		if size := objects[r.FileID.String()]; r.Position+int64(r.StoredSize) > size {
			p.t.Errorf("the index refers to %d bytes at %d of file %s, which has %d", r.StoredSize, r.Position, r.FileID, size)
		}
	}
}

// faultyStore fails commits as a test says.
type faultyStore struct {
	*sqlite.Store
	mu    sync.Mutex
	fault func(files []metadata.File) commitFault
	calls int
	old   int // counts down the files to the one that is aged; 0 for none
}

// age makes the n-th file from now on, from 0, look too old to the store when
// it commits, as if its upload had taken a quarter of an hour.
func (s *faultyStore) age(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.old = n + 1
}

// commitFault says what happens to one CommitFiles.
type commitFault struct {
	err       error
	persisted bool
	block     <-chan struct{}
}

func (s *faultyStore) inject(fault func([]metadata.File) commitFault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

// fail makes the next n commits suffer the fault.
func (s *faultyStore) fail(n int, fault commitFault) {
	s.inject(func([]metadata.File) commitFault {
		if n == 0 {
			return commitFault{}
		}
		n--
		return fault
	})
}

func (s *faultyStore) CommitFiles(ctx context.Context, files []metadata.File) (metadata.CommitResult, error) {
	s.mu.Lock()
	s.calls++
	var fault commitFault
	if s.fault != nil {
		fault = s.fault(files)
	}
	s.mu.Unlock()
	if fault.block != nil {
		select {
		case <-fault.block:
		case <-ctx.Done():
			return metadata.CommitResult{}, errors.Join(metadata.ErrUnavailable, ctx.Err())
		}
	}
	if fault.err != nil && !fault.persisted {
		return metadata.CommitResult{}, fault.err
	}
	files = s.aged(files)
	result, err := s.Store.CommitFiles(ctx, files)
	if fault.err != nil {
		return metadata.CommitResult{}, fault.err
	}
	return result, err
}

func (s *faultyStore) aged(files []metadata.File) []metadata.File {
	s.mu.Lock()
	defer s.mu.Unlock()
	files = slices.Clone(files)
	for i := range files {
		if s.old == 0 {
			break
		}
		if s.old--; s.old == 0 {
			binary.BigEndian.PutUint64(files[i].ID[:8], binary.BigEndian.Uint64(files[i].ID[:8])-uint64((15*time.Minute).Milliseconds())<<16)
		}
	}
	return files
}

// newBatch makes an uncompressed batch of one record; sequence -1 is a
// producer without idempotence.
func newBatch(producer int64, sequence int32, key, value string) protocol.Batch {
	b := make([]byte, protocol.BatchHeaderSize, 200)
	b[16] = 2
	now := uint64(time.Now().UnixMilli())
	binary.BigEndian.PutUint64(b[27:], now)
	binary.BigEndian.PutUint64(b[35:], now)
	binary.BigEndian.PutUint64(b[43:], uint64(producer))
	epoch := int16(0)
	if producer < 0 {
		epoch = -1
	}
	binary.BigEndian.PutUint16(b[51:], uint16(epoch))
	binary.BigEndian.PutUint32(b[53:], uint32(sequence))
	binary.BigEndian.PutUint32(b[57:], 1)
	record := []byte{0, 0, 0} // attributes, timestamp delta, offset delta
	if key == "" {
		record = append(record, 1) // null: -1 as a zigzag varint
	} else {
		record = append(binary.AppendVarint(record, int64(len(key))), key...)
	}
	record = append(binary.AppendVarint(record, int64(len(value))), value...)
	record = append(record, 0)
	b = append(binary.AppendVarint(b, int64(len(record))), record...)
	binary.BigEndian.PutUint32(b[8:], uint32(len(b)-12))
	return seal(b)
}

// seal puts the right CRC into the batch.
func seal(b protocol.Batch) protocol.Batch {
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// plain is a batch without idempotence.
func plain(value string) protocol.Batch { return newBatch(-1, -1, "k", value) }

// oneTopic is a catalog of the path's topic.
type oneTopic struct {
	topic  metadata.Topic
	config configs.Topic
}

func (o oneTopic) TopicByName(_ context.Context, name string) (metadata.Topic, error) {
	if name != o.topic.Name {
		return metadata.Topic{}, metadata.ErrUnknownTopic
	}
	return o.topic, nil
}

func (o oneTopic) TopicByID(_ context.Context, id uuid.UUID) (metadata.Topic, error) {
	if id != o.topic.ID {
		return metadata.Topic{}, metadata.ErrUnknownTopic
	}
	return o.topic, nil
}

func (o oneTopic) TopicConfig(metadata.Topic) configs.Topic { return o.config }
