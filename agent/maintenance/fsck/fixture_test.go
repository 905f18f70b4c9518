package fsck_test

import (
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/time/rate"

	"github.com/wadi-log/wadi/agent/maintenance"
	"github.com/wadi-log/wadi/agent/maintenance/fsck"
	"github.com/wadi-log/wadi/agent/maintenance/merge"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/postgres"
	"github.com/wadi-log/wadi/metadata/sqlite"
	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/objstore/memory"
	"github.com/wadi-log/wadi/objstore/objstoretest"
	"github.com/wadi-log/wadi/protocol"
	"github.com/wadi-log/wadi/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// store is what the tests need of a metadata store.
type store interface {
	metadata.Store
	metadata.Maintenance
	metadata.Inspection
	fsck.Store
	NoteSnapshot(ctx context.Context, at time.Time) error
}

// stores opens each kind of metadata store, fresh for each test.
func stores(t *testing.T, test func(t *testing.T, c *cluster)) {
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, newCluster(t, newSQLite(t)))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, newCluster(t, newPostgres(t)))
	})
}

// database is a metadata store that can be damaged.
type database struct {
	store store
	// exec runs a statement with $1, $2 ... past the store's back. UUIDs and times are converted.
	exec func(t testing.TB, query string, args ...any)
}

func newSQLite(t testing.TB) database {
	path := filepath.Join(t.TempDir(), "metadata.db")
	s, err := sqlite.Open(t.Context(), path)
	must(t, err)
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(10000)")
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()); must(t, s.Close()) })
	return database{s, func(t testing.TB, query string, args ...any) {
		t.Helper()
		for i, arg := range args {
			switch v := arg.(type) {
			case uuid.UUID:
				args[i] = v[:]
			case time.Time:
				args[i] = v.UnixMilli()
			}
		}
		_, err := db.ExecContext(t.Context(), strings.ReplaceAll(query, "$", "?"), args...)
		must(t, err)
	}}
}

var schemas atomic.Int64

func newPostgres(t testing.TB) database {
	url := harness.Postgres(t)
	conn, err := pgx.Connect(t.Context(), url)
	must(t, err)
	schema := fmt.Sprintf("fsck%d", schemas.Add(1))
	_, err = conn.Exec(t.Context(), "CREATE SCHEMA "+schema)
	must(t, err)
	_, err = conn.Exec(t.Context(), "SET search_path = "+schema)
	must(t, err)
	s, err := postgres.Open(t.Context(), url+"&search_path="+schema)
	must(t, err)
	t.Cleanup(func() {
		must(t, s.Close())
		_ = conn.Close(t.Context()) // the context is over
	})
	return database{s, func(t testing.TB, query string, args ...any) {
		t.Helper()
		_, err := conn.Exec(t.Context(), query, args...)
		must(t, err)
	}}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// cluster is both stores, with two topics: a with two partitions and b with one.
type cluster struct {
	database
	objects *objstoretest.Faulty
	a, b    metadata.Topic
	// merged are the files that a merge wrote, fresh those that came after it.
	merged, fresh []uuid.UUID
}

// newCluster has files of all kinds: merged ones, with an aborted transaction in them, and files from producers, framed and
// raw, with a duplicate that splits a run, and another aborted transaction.
func newCluster(t testing.TB, db database) *cluster {
	t.Helper()
	c := &cluster{database: db, objects: objstoretest.NewFaulty(memory.Open())}
	id, err := c.store.ClusterID(t.Context())
	must(t, err)
	must(t, objstore.Claim(t.Context(), c.objects, id))
	c.a, err = c.store.CreateTopic(t.Context(), metadata.NewTopic{Name: "a", Partitions: 2})
	must(t, err)
	c.b, err = c.store.CreateTopic(t.Context(), metadata.NewTopic{Name: "b", Partitions: 1})
	must(t, err)
	c.produce(t, datafile.Auto, part{c.a, 0, []protocol.Batch{makeBatch(t, 3, 2000), makeBatch(t, 2, 100)}}, part{c.a, 1, []protocol.Batch{makeBatch(t, 1, 10)}})
	c.transaction(t, false)
	c.produce(t, datafile.None, part{c.a, 0, []protocol.Batch{makeBatch(t, 4, 50)}}, part{c.b, 0, []protocol.Batch{makeNoise(t, 5, 3000)}})
	c.merge(t)
	for _, f := range c.live(t) {
		c.merged = append(c.merged, f.ID)
	}
	twice := withProducer(makeBatch(t, 2, 500), c.producerID(t), 0, 0, false)
	c.fresh = append(c.fresh,
		c.produce(t, datafile.S2, part{c.a, 0, []protocol.Batch{makeBatch(t, 3, 1000), twice, twice, makeBatch(t, 1, 1000)}}),
		c.produce(t, datafile.None, part{c.a, 1, []protocol.Batch{makeBatch(t, 2, 30)}}, part{c.b, 0, []protocol.Batch{makeBatch(t, 1, 10), makeBatch(t, 1, 20)}}))
	c.fresh = append(c.fresh, c.transaction(t, false))
	return c
}

// part is what a file holds of a partition.
type part struct {
	topic   metadata.Topic
	index   int32
	batches []protocol.Batch
}

func (c *cluster) produce(t testing.TB, compression datafile.Compression, parts ...part) uuid.UUID {
	t.Helper()
	file := encode(t, newID(t, time.Now()), compression, parts...)
	must(t, c.objects.Put(t.Context(), datafile.Key(file.ID), file.Bytes))
	commit := metadata.File{ID: file.ID, Size: int64(len(file.Bytes))}
	for i, s := range file.Sections {
		a := metadata.Append{Partition: parts[i].topic.Partitions[s.Partition], Encoding: metadata.Encoding(s.Encoding), Position: s.Position, StoredSize: s.StoredSize}
		for _, b := range parts[i].batches {
			a.Batches = append(a.Batches, metadata.Batch{Size: int32(len(b)), Records: b.NumRecords(), MaxTimestamp: b.MaxTimestamp(),
				ProducerID: b.ProducerID(), ProducerEpoch: b.ProducerEpoch(), BaseSequence: b.BaseSequence(),
				Transactional: b.IsTransactional(), AddsPartition: b.IsTransactional()})
		}
		commit.Appends = append(commit.Appends, a)
	}
	result, err := c.store.CommitFiles(t.Context(), []metadata.File{commit})
	must(t, err)
	for _, outcomes := range result.Files[0].Outcomes {
		for _, o := range outcomes {
			must(t, o.Err)
		}
	}
	return file.ID
}

// encode encodes a file whose parts are in the order of the format.
func encode(t testing.TB, id uuid.UUID, compression datafile.Compression, parts ...part) datafile.File {
	t.Helper()
	inputs := make([]datafile.Input, len(parts))
	for i, p := range parts {
		inputs[i] = datafile.Input{TopicID: p.topic.ID, Partition: p.index}
		for _, b := range p.batches {
			inputs[i].Batches = append(inputs[i].Batches, datafile.Batch{Bytes: b, Records: b.NumRecords(), MaxTimestamp: b.MaxTimestamp(),
				ProducerID: b.ProducerID(), ProducerEpoch: b.ProducerEpoch(), BaseSequence: b.BaseSequence()})
		}
	}
	for i := 1; i < len(parts); i++ {
		if a, b := parts[i-1], parts[i]; strings.Compare(string(a.topic.ID[:]), string(b.topic.ID[:])) > 0 {
			parts[i-1], parts[i] = b, a
		}
	}
	file, err := datafile.Encode(id, compression, inputs)
	must(t, err)
	return file
}

func newID(t testing.TB, at time.Time) uuid.UUID {
	t.Helper()
	id, err := uuid.NewV7()
	must(t, err)
	for i, ms := 0, at.UnixMilli(); i < 6; i++ {
		id[i] = byte(ms >> (40 - 8*i))
	}
	return id
}

// makeBatch makes a batch as a producer sends it, of values that compress well.
func makeBatch(t testing.TB, records, valueSize int) protocol.Batch {
	t.Helper()
	return makeBatchOf(t, records, func() []byte { return []byte(strings.Repeat("value ", valueSize/6+1)) })
}

// makeNoise is the same with values that don't.
func makeNoise(t testing.TB, records, valueSize int) protocol.Batch {
	t.Helper()
	source := rand.NewChaCha8([32]byte{})
	return makeBatchOf(t, records, func() []byte {
		value := make([]byte, valueSize)
		_, _ = source.Read(value) // never fails
		return value
	})
}

func makeBatchOf(t testing.TB, records int, value func() []byte) protocol.Batch {
	t.Helper()
	b := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, LastOffsetDelta: int32(records - 1), FirstTimestamp: time.Now().UnixMilli(),
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: int32(records),
	}
	b.MaxTimestamp = b.FirstTimestamp
	for i := range records {
		r := kmsg.Record{Key: fmt.Appendf(nil, "key %d", i), Value: value(), OffsetDelta: int32(i)}
		body := r.AppendTo(nil)[1:]
		b.Records = append(binary.AppendVarint(b.Records, int64(len(body))), body...)
	}
	raw := b.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-12))
	return seal(raw)
}

// seal gives a batch the CRC of its content.
func seal(b protocol.Batch) protocol.Batch {
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

func withProducer(b protocol.Batch, id int64, epoch int16, sequence int32, transactional bool) protocol.Batch {
	if transactional {
		binary.BigEndian.PutUint16(b[21:], 0x10)
	}
	binary.BigEndian.PutUint64(b[43:], uint64(id))
	binary.BigEndian.PutUint16(b[51:], uint16(epoch))
	binary.BigEndian.PutUint32(b[53:], uint32(sequence))
	return seal(b)
}

func (c *cluster) producerID(t testing.TB) int64 {
	t.Helper()
	id, err := c.store.AllocateProducerIDs(t.Context(), 1)
	must(t, err)
	return id
}

// transaction writes two records to partition 1 of topic a, and ends the transaction.
func (c *cluster) transaction(t testing.TB, commit bool) uuid.UUID {
	t.Helper()
	change := func(op metadata.TransactionOp) metadata.TransactionResult {
		changed, err := c.store.ChangeTransactions(t.Context(), []metadata.TransactionRequest{{ID: "t", Op: op}})
		must(t, err)
		must(t, changed.Results[0].Err)
		return changed.Results[0]
	}
	p := change(metadata.InitProducer{Timeout: time.Hour, Expected: metadata.NoProducer, NewProducerID: c.producerID(t)}).Producer
	id := c.produce(t, datafile.None, part{c.a, 1, []protocol.Batch{withProducer(makeBatch(t, 2, 10), p.ID, p.Epoch, 0, true)}})
	change(metadata.EndTransaction{Producer: p, Commit: commit, Version: metadata.TransactionV2, NewProducerID: c.producerID(t)})
	return id
}

// merge merges all files from producers.
func (c *cluster) merge(t testing.TB) {
	t.Helper()
	m := merge.New(merge.Config{After: time.Nanosecond, FileBytes: 1 << 20, MemoryBytes: 64 << 20, Compression: datafile.Auto},
		c.objects, c.store, merge.NewMetrics(prometheus.NewRegistry()), slog.New(slog.DiscardHandler))
	progress := maintenance.NewProgress("merge", rate.NewLimiter(rate.Inf, 1<<20), maintenance.NewMetrics(prometheus.NewRegistry()))
	for {
		more, err := m.Round(t.Context(), progress)
		must(t, err)
		if !more {
			return
		}
	}
}

// live lists the files that live.
func (c *cluster) live(t testing.TB) (live []metadata.InspectedFile) {
	t.Helper()
	files, err := c.store.ListFiles(t.Context(), uuid.Nil, 1000)
	must(t, err)
	for _, f := range files {
		if f.State == metadata.FileLive {
			live = append(live, f)
		}
	}
	return live
}

// check runs a check.
func (c *cluster) check(t testing.TB, options fsck.Options) fsck.Report {
	t.Helper()
	options.Parallel, options.Grace = 4, 10*time.Minute
	r, err := fsck.Run(t.Context(), c.store, c.objects, options)
	must(t, err)
	return r
}

// object returns the bytes of a file's object.
func (c *cluster) object(t testing.TB, id uuid.UUID) []byte {
	t.Helper()
	b, err := c.objects.Get(t.Context(), datafile.Key(id), 0, -1)
	must(t, err)
	return b
}

// replace puts another object in place of a file's.
func (c *cluster) replace(t testing.TB, id uuid.UUID, b []byte) {
	t.Helper()
	must(t, c.objects.Delete(t.Context(), datafile.Key(id)))
	must(t, c.objects.Put(t.Context(), datafile.Key(id), b))
}

// brokenStore fails the calls that have an error, after it has told of them.
type brokenStore struct {
	store
	rows, files, list, now error
	before                 func(call string)
	// lost is how many of its commits it doesn't know any more.
	lost int64
}

func (b *brokenStore) LastSeq(ctx context.Context) (int64, error) {
	last, err := b.store.LastSeq(ctx)
	return last - b.lost, err
}

func (b *brokenStore) tell(call string) {
	if b.before != nil {
		b.before(call)
	}
}

func (b *brokenStore) RecountFiles(ctx context.Context, ids []uuid.UUID, repair bool) ([]metadata.FileRecount, error) {
	b.tell("RecountFiles")
	return b.store.RecountFiles(ctx, ids, repair)
}

func (b *brokenStore) InspectRows(ctx context.Context, partition metadata.PartitionID, offset int64, limit int) (metadata.PartitionRows, error) {
	b.tell("InspectRows")
	if b.rows != nil {
		return metadata.PartitionRows{}, b.rows
	}
	return b.store.InspectRows(ctx, partition, offset, limit)
}

func (b *brokenStore) InspectFiles(ctx context.Context, ids []uuid.UUID) ([]metadata.InspectedFile, error) {
	b.tell("InspectFiles")
	if b.files != nil {
		return nil, b.files
	}
	return b.store.InspectFiles(ctx, ids)
}

func (b *brokenStore) ListFiles(ctx context.Context, after uuid.UUID, limit int) ([]metadata.InspectedFile, error) {
	b.tell("ListFiles")
	if b.list != nil {
		return nil, b.list
	}
	return b.store.ListFiles(ctx, after, limit)
}

func (b *brokenStore) Now(ctx context.Context) (time.Time, error) {
	if b.now != nil {
		return time.Time{}, b.now
	}
	return b.store.Now(ctx)
}
