package metadatatest

import (
	"bytes"
	"encoding/json"
	"errors"
	"iter"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/rowcodec"
	"github.com/wadi-log/wadi/metadata/sequence"
)

var snapshotTests = []test{
	{"EveryRowSurvives", everyRowSurvives},
	{"StoreGoesOnFromSnapshot", storeGoesOnFromSnapshot},
	{"OnlyAnEmptyStoreIsFilled", onlyAnEmptyStoreIsFilled},
	{"DiedImportLeavesAnEmptyStore", diedImportLeavesAnEmptyStore},
	{"RowsInTheWrongOrderAreRefused", rowsInTheWrongOrderAreRefused},
	{"ExportIsOneMoment", exportIsOneMoment},
	{"ExportEndsWithVisit", exportEndsWithVisit},
	{"StateTellsChanges", stateTellsChanges},
	{"LastSnapshotIsNoted", lastSnapshotIsNoted},
}

// MoveSnapshot moves a store with everything in it to one of another kind. from and to make a fresh
// database, and return what opens it.
func MoveSnapshot(t *testing.T, from, to func(t testing.TB) func(t testing.TB) metadata.Store) {
	for _, test := range []test{{"EveryRowSurvives", everyRowSurvives}, {"StoreGoesOnFromSnapshot", storeGoesOnFromSnapshot}} {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t, bare{open: from(t)})
			f.create = func(t testing.TB) Database { return bare{open: to(t)} }
			test.run(f)
		})
	}
}

// bare is a database that can only be opened, and whose invariants can't be checked.
type bare struct {
	Database
	open func(testing.TB) metadata.Store
}

func (b bare) Open(t testing.TB) metadata.Store { return b.open(t) }

// empty is a fresh database.
func (f *fixture) empty() *fixture {
	f.Helper()
	other := newFixture(f, f.create(f))
	other.create = f.create
	return other
}

// export collects a snapshot.
func (f *fixture) export() (rows []metadata.SnapshotRow) {
	f.Helper()
	f.must(f.store.ExportSnapshot(f.ctx, func(row metadata.SnapshotRow) error {
		rows = append(rows, row)
		return nil
	}))
	return rows
}

func (f *fixture) load(rows []metadata.SnapshotRow) error {
	return f.store.ImportSnapshot(f.ctx, listed(rows))
}

func listed(rows []metadata.SnapshotRow) iter.Seq2[metadata.SnapshotRow, error] {
	return func(yield func(metadata.SnapshotRow, error) bool) {
		for _, row := range rows {
			if !yield(row, nil) {
				return
			}
		}
	}
}

// finerThanMs is what some stores don't keep of some times.
var finerThanMs = regexp.MustCompile(`\.\d{3}\d*Z`)

// wantRows compares the rows, in any order, by their JSON, but for what is the store's own.
func (f *fixture) wantRows(got, want []metadata.SnapshotRow) {
	f.Helper()
	lines := func(rows []metadata.SnapshotRow) (lines []string) {
		for _, row := range rows {
			if row.Head != nil {
				head := *row.Head
				head.At, head.State = time.Time{}, ""
				row.Head = &head
			}
			b, err := json.Marshal(row)
			f.must(err)
			if _, another := f.db.(bare); another {
				b = finerThanMs.ReplaceAllFunc(b, func(fraction []byte) []byte {
					ms := bytes.TrimRight(fraction[:len(".000")], "0") // as JSON has it
					return slices.Concat(bytes.TrimRight(ms, "."), []byte("Z"))
				})
			}
			lines = append(lines, string(b))
		}
		slices.Sort(lines)
		return lines
	}
	g, w := lines(got), lines(want)
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			f.Fatalf("got\n%s\nwant\n%s", g[i], w[i])
		}
	}
	if len(g) != len(w) {
		f.Fatalf("%d rows, want %d", len(g), len(w))
	}
}

// everyRow is a snapshot with rows of every kind, of full and of empty fields. Times are to the
// millisecond, which all stores keep.
func everyRow() []metadata.SnapshotRow {
	at := time.UnixMilli(1_700_000_000_123).UTC()
	const base = int64(1) << 40
	odd := []byte("\x00\xff no text")
	u := func(n byte) uuid.UUID { return uuid.UUID{0: n, 6: 0x70, 8: 0x80} }
	return []metadata.SnapshotRow{
		{Head: &metadata.SnapshotHead{ClusterID: "AAAAAAAAAAAAAAAAAAAAAA", At: at, LastSeq: 1 << 40, NextPartitionID: 77, NextProducerID: 1 << 41, GroupVersion: 1 << 42}},
		{Topic: &metadata.SnapshotTopic{ID: u(1), Name: "a.b", Internal: true, Partitions: []metadata.PartitionID{3, 2}, Configs: map[string]string{"a": `"é`}, CreatedAt: at}},
		{Topic: &metadata.SnapshotTopic{ID: u(2), Name: "c", Partitions: []metadata.PartitionID{5}, Configs: map[string]string{}, CreatedAt: at}},
		{Partition: &metadata.SnapshotPartition{ID: 2, LogStartOffset: base, NextOffset: base + 4, MaxTimestamp: 1 << 40, FirstUnstable: base + 2, LastAborted: base}},
		{Partition: &metadata.SnapshotPartition{ID: 3, MaxTimestamp: -1, FirstUnstable: -1, LastAborted: -1}},
		{Partition: &metadata.SnapshotPartition{ID: 5, NextOffset: 1, MaxTimestamp: -1, FirstUnstable: 0, LastAborted: 0}},
		{DeletedPartition: &metadata.SnapshotDeletedPartition{ID: 1}},
		{Configs: &metadata.SnapshotConfigs{Kind: metadata.GroupConfig, Name: odd, Configs: map[string]string{"x": ""}}},
		{Configs: &metadata.SnapshotConfigs{Kind: metadata.BrokerConfig, Name: []byte{}, Configs: map[string]string{"y": "1"}}},
		{Group: &metadata.SnapshotGroup{Key: u(3), Name: odd, Version: 9, Type: "classic", ProtocolType: odd, Phase: "Stable", Due: at.Add(time.Microsecond)}},
		{Group: &metadata.SnapshotGroup{Key: u(4), Name: []byte{}, Version: 8, ProtocolType: []byte{}}},
		{GroupState: &metadata.SnapshotGroupState{Key: u(3), Version: 9, State: odd}},
		{GroupState: &metadata.SnapshotGroupState{Key: u(4), Version: 8, State: []byte{}}},
		{GroupOffset: &metadata.SnapshotGroupOffset{Group: u(3), Partition: 2, Offset: 1 << 40, LeaderEpoch: 3, CommittedAt: at.Add(time.Microsecond), ExpireAt: at, Metadata: odd}},
		{GroupOffset: &metadata.SnapshotGroupOffset{Group: u(3), Partition: 3, LeaderEpoch: -1, CommittedAt: at}},
		{Transaction: &metadata.SnapshotTransaction{Key: u(5), Name: odd, ProducerID: 1 << 40, Epoch: 5, LastProducerID: 4, LastEpoch: 3, State: metadata.TransactionOngoing,
			Version: metadata.TransactionV2, TimeoutMs: 60_001, StartedAt: at.Add(time.Microsecond), UpdatedAt: at}},
		{Transaction: &metadata.SnapshotTransaction{Key: u(6), Name: []byte("t"), ProducerID: 6, LastProducerID: -1, LastEpoch: -1, Version: metadata.TransactionV1, UpdatedAt: at}},
		{TransactionPartition: &metadata.SnapshotTransactionPartition{ProducerID: 1 << 40, Partition: 2, FirstOffset: base + 2}},
		{TransactionPartition: &metadata.SnapshotTransactionPartition{ProducerID: 1 << 40, Partition: 3, FirstOffset: -1}},
		{TransactionPartition: &metadata.SnapshotTransactionPartition{ProducerID: 1 << 40, Partition: 5, FirstOffset: 0}},
		{TransactionGroup: &metadata.SnapshotTransactionGroup{ProducerID: 1 << 40, Group: u(3), Name: odd}},
		{TransactionOffset: &metadata.SnapshotTransactionOffset{ProducerID: 1 << 40, Group: u(3), Partition: 2, Offset: 9, LeaderEpoch: 8, PutAt: at.Add(time.Microsecond), Metadata: odd}},
		{TransactionOffset: &metadata.SnapshotTransactionOffset{ProducerID: 1 << 40, Group: u(4), Partition: 2, LeaderEpoch: -1, PutAt: at}},
		{Aborted: &metadata.SnapshotAborted{Partition: 2, ProducerID: 4, FirstOffset: base - 1, LastOffset: base, StableOffset: base + 2}},
		{Compaction: &metadata.SnapshotCompaction{Partition: 2, CleanUntil: 6, CleanedAt: at, SettledUntil: 5, SettledAt: at}},
		{Producer: &metadata.SnapshotProducer{Partition: 2, ProducerID: 4, Epoch: 3, SeenAt: at,
			Batches: rowcodec.EncodeProducerBatches([]sequence.ProducerBatch{{FirstSequence: 1, LastSequence: 2, BaseOffset: 3}})}},
		{DeadFile: &metadata.SnapshotDeadFile{ID: u(9), Size: 1 << 40, DiedAt: at}},
		{File: &metadata.SnapshotFile{ID: u(7), Size: 1 << 40, Level: -1, Seq: 1 << 40, CommittedAt: at, LiveRuns: 2, LiveBytes: 1 << 40,
			Partitions: []metadata.PartitionID{2, 5}, Offsets: []int64{base + 2, 0}}},
		{File: &metadata.SnapshotFile{ID: u(8), Level: 3, CommittedAt: at, LiveRuns: 1, Partitions: []metadata.PartitionID{2}, Offsets: []int64{base + 1}}},
		{Run: &metadata.SnapshotRun{Partition: 2, BaseOffset: base + 2, Records: 2, File: u(7), Encoding: metadata.EncodingFramed, Position: 1 << 40,
			StoredSize: 3, Skip: 4, Size: 5, MaxTimestamp: 1 << 40, Merged: true}},
		{Run: &metadata.SnapshotRun{Partition: 5, File: u(7), Records: 1, MaxTimestamp: -1}},
		{Run: &metadata.SnapshotRun{Partition: 2, BaseOffset: base + 1, File: u(8), Records: 1, MaxTimestamp: -1}},
		{Run: &metadata.SnapshotRun{Partition: 2, BaseOffset: base, Records: 1, Encoding: metadata.EncodingMarker, Position: 4, Size: metadata.MarkerSize, MaxTimestamp: -1}},
	}
}

func everyRowSurvives(f *fixture) {
	rows := everyRow()
	fields := reflect.TypeFor[metadata.SnapshotRow]()
	for i := range fields.NumField() {
		if !slices.ContainsFunc(rows, func(r metadata.SnapshotRow) bool { return !reflect.ValueOf(r).Field(i).IsNil() }) {
			f.Fatalf("no row of the kind %s", fields.Field(i).Name)
		}
	}
	f.must(f.load(rows))
	exported := f.export()
	f.wantRows(exported, rows)
	last := 0
	for _, row := range exported {
		for i := range fields.NumField() {
			if !reflect.ValueOf(row).Field(i).IsNil() {
				if i < last {
					f.Fatalf("a row of the kind %s comes after one of %s", fields.Field(i).Name, fields.Field(last).Name)
				}
				last = i
			}
		}
	}
	moved := f.empty()
	f.must(moved.load(exported))
	f.wantRows(moved.export(), rows)
	for _, g := range []*fixture{moved, moved.other()} {
		if id, err := g.store.ClusterID(f.ctx); err != nil || id != rows[0].Head.ClusterID {
			f.Errorf("the cluster's ID is %q, %v", id, err)
		}
	}
}

// storeGoesOnFromSnapshot: what clients were told stays true, and what they do next works.
func storeGoesOnFromSnapshot(f *fixture) {
	topic := f.topic("t", 2)
	doomed := f.topic("doomed", 1)
	p0, p1 := topic.Partitions[0], topic.Partitions[1]
	f.commitOne(p0, idempotent(7, 0, 0, 5))
	f.commitOne(doomed.Partitions[0], plain(1, 1))
	f.must(f.store.DeleteTopic(f.ctx, doomed.ID))
	f.alterConfigs(metadata.ConfigResource{Kind: metadata.GroupConfig, Name: "\xff"}, map[string]string{"a": "1"})
	version := f.storeGroup("g\xff", 0, dueGroup("state", soon(time.Hour)))
	f.putOffsets(metadata.Offset{GroupID: "g\xff", Partition: p0, Offset: 3, Metadata: "\x00\xff"})
	tx := f.producer("tx")
	tx.write(2, p0, p1)
	tx.putAside("g\xff", version, nil, metadata.Offset{GroupID: "g\xff", Partition: p1, Offset: 1})
	aborted := f.producer("aborted")
	aborted.write(1, p1)
	aborted.end(false)
	f.commitOne(p1, plain(3, 50))
	_, err := f.store.DeleteRecords(f.ctx, []metadata.RecordsDeletion{{Partition: p0, Before: 4}})
	f.must(err)
	last, err := f.store.LastSeq(f.ctx)
	f.must(err)
	before := f.see("tx", "g\xff", p0, p1)
	before.Feed = nil
	clusterID, err := f.store.ClusterID(f.ctx)
	f.must(err)
	rows := f.export()

	g := f.empty()
	f.must(g.load(rows))
	f.wantRows(g.export(), rows)
	g.checkInvariants()
	after := g.see("tx", "g\xff", p0, p1)
	after.Feed = nil
	if !reflect.DeepEqual(after, before) {
		f.Fatalf("got\n%+v\nwant\n%+v", after, before)
	}
	if id, err := g.store.ClusterID(f.ctx); err != nil || id != clusterID {
		f.Errorf("cluster ID %q, %v; want %q", id, err, clusterID)
	}
	if feed := g.feed(0); len(feed) != 1 || feed[0].Seq != last || !reflect.DeepEqual(feed[0], metadata.Commit{Seq: last}) {
		f.Errorf("the feed is %+v; want one empty entry of number %d", feed, last)
	}
	// Retries are recognised, the next batch follows.
	g.wantOutcome(g.commitOne(p0, idempotent(7, 0, 0, 5)), duplicate(0))
	g.wantOutcome(g.commitOne(p0, idempotent(7, 0, 5, 1)), accepted(g.bounds(p0).NextOffset-1))
	// The transaction goes on, and ends.
	moved := *tx
	moved.fixture = g
	moved.write(1, p1)
	moved.end(true)
	if b := g.bounds(p1); b.StableOffset != b.NextOffset {
		f.Errorf("bounds after the end: %+v", b)
	}
	if got := g.offsetsOf("g\xff"); len(got) != 2 || got[1].Offset != 1 {
		f.Errorf("offsets after the end: %+v", got)
	}
	// Nothing is handed out twice.
	if next := g.storeGroup("g\xff", version, plainGroup("next")); next <= version {
		f.Errorf("version %d after %d", next, version)
	}
	if id := g.newProducerID(); id <= aborted.ID {
		f.Errorf("producer ID %d again", id)
	}
	if again := g.topic("doomed", 1); again.Partitions[0] <= doomed.Partitions[0] || again.ID == doomed.ID {
		f.Errorf("partition %d again", again.Partitions[0])
	}
	g.checkInvariants()
}

func onlyAnEmptyStoreIsFilled(f *fixture) {
	rows := everyRow()
	for name, use := range map[string]func(g *fixture) error{
		"a topic": func(g *fixture) error { g.topic("t", 1); return nil },
		"a group": func(g *fixture) error { g.storeGroup("g", 0, plainGroup("")); return nil },
		"configs": func(g *fixture) error {
			g.alterConfigs(metadata.ConfigResource{Kind: metadata.BrokerConfig}, map[string]string{"a": "1"})
			return nil
		},
		"a producer ID": func(g *fixture) error { g.newProducerID(); return nil },
		"an agent":      func(g *fixture) error { _, err := g.store.RegisterAgent(g.ctx, newAgent(0, 1)); return err },
		"a snapshot":    func(g *fixture) error { return g.load(rows) },
	} {
		g := f.empty()
		f.must(use(g))
		before := g.export()
		if err := g.load(rows); !errors.Is(err, metadata.ErrStoreNotEmpty) {
			f.Errorf("with %s in it: %v", name, err)
		}
		g.wantRows(g.export(), before)
	}
	// What an agent leaves that ran once and wrote nothing is no obstacle.
	g := f.empty()
	_, err := g.store.RegisterAgent(f.ctx, newAgent(0, 1))
	f.must(err)
	g.db.Age(f, metadata.AgentTimeout)
	f.must(g.load(rows))
}

func diedImportLeavesAnEmptyStore(f *fixture) {
	rows, died := everyRow(), errors.New("died")
	before := f.export()
	for n := range rows {
		err := f.store.ImportSnapshot(f.ctx, func(yield func(metadata.SnapshotRow, error) bool) {
			for _, row := range rows[:n] {
				if !yield(row, nil) {
					return
				}
			}
			yield(metadata.SnapshotRow{}, died)
		})
		if !errors.Is(err, died) {
			f.Fatalf("after %d rows: %v", n, err)
		}
	}
	after := f.export()
	// A version that was never given out may be skipped.
	after[0].Head.GroupVersion = before[0].Head.GroupVersion
	f.wantRows(after, before)
	f.must(f.empty().load(rows))
}

func rowsInTheWrongOrderAreRefused(f *fixture) {
	rows := everyRow()
	for name, wrong := range map[string][]metadata.SnapshotRow{
		"no rows":        nil,
		"no head":        rows[1:],
		"two heads":      slices.Concat(rows[:1], rows),
		"an empty row":   slices.Concat(rows, []metadata.SnapshotRow{{}}),
		"a late topic":   slices.Concat(rows, []metadata.SnapshotRow{{Topic: &metadata.SnapshotTopic{ID: uuid.UUID{1: 1}, Name: "late"}}}),
		"the same twice": slices.Concat(rows, rows[len(rows)-1:]),
	} {
		if err := f.load(wrong); err == nil {
			f.Errorf("%s: no error", name)
		}
	}
	f.must(f.load(rows[:1]))
}

// exportIsOneMoment: what is committed while an export runs is in none of its rows.
func exportIsOneMoment(f *fixture) {
	p := f.topic("t", 1).Partitions[0]
	f.commitOne(p, plain(1, 1))
	other := f.other()
	var rows []metadata.SnapshotRow
	f.must(f.store.ExportSnapshot(f.ctx, func(row metadata.SnapshotRow) error {
		if row.Head != nil {
			other.commitOne(p, plain(1, 1))
			other.topic("later", 1)
		}
		rows = append(rows, row)
		return nil
	}))
	count := map[string]int{}
	for _, row := range rows {
		switch {
		case row.Topic != nil:
			count["topics"]++
		case row.Run != nil:
			count["runs"]++
		case row.File != nil:
			count["files"]++
		case row.Partition != nil && row.Partition.NextOffset != 1:
			f.Errorf("the partition ends at %d", row.Partition.NextOffset)
		}
	}
	if want := map[string]int{"topics": 1, "runs": 1, "files": 1}; !maps.Equal(count, want) {
		f.Errorf("got %v, want %v", count, want)
	}
}

func exportEndsWithVisit(f *fixture) {
	p := f.topic("t", 1).Partitions[0]
	for range 3 {
		f.commitOne(p, plain(1, 1))
	}
	enough := errors.New("enough")
	n := len(f.export())
	for stop := range n {
		visited := 0
		err := f.store.ExportSnapshot(f.ctx, func(metadata.SnapshotRow) error {
			if visited++; visited > stop {
				return enough
			}
			return nil
		})
		if !errors.Is(err, enough) || visited != stop+1 {
			f.Errorf("stopped after %d rows: visited %d, %v", stop, visited, err)
		}
	}
	if got := len(f.export()); got != n {
		f.Errorf("%d rows, then %d", n, got)
	}
}

func stateTellsChanges(f *fixture) {
	p := f.topic("t", 1).Partitions[0]
	tx := f.producer("tx")
	version := int64(0)
	offset := func(n int64) metadata.Offset { return metadata.Offset{GroupID: "g", Partition: p, Offset: n} }
	state := func() string {
		f.Helper()
		state, err := f.store.SnapshotState(f.ctx)
		f.must(err)
		if exported := f.export()[0].Head.State; exported != state {
			f.Fatalf("an export has state %q, the store %q", exported, state)
		}
		return state
	}
	seen := map[string]string{state(): "nothing"}
	for _, step := range []struct {
		name   string
		change func()
	}{
		{"a commit", func() { f.commitOne(p, plain(1, 1)) }},
		{"a producer ID", func() { f.newProducerID() }},
		{"a group", func() { version = f.storeGroup("g", 0, plainGroup("")) }},
		{"a committed offset", func() { f.putOffsets(offset(1)) }},
		{"another one", func() { f.putOffsets(offset(2)) }},
		{"a partition of a transaction", func() { tx.add(p) }},
		{"an offset of a transaction", func() { tx.putAside("g", version, nil, offset(3)) }},
		{"its end", func() { tx.end(true) }},
		{"a replacement", func() {
			f.commitOne(p, plain(1, 1))
			state()
			f.replace(replacement(f, f.rows(p)[:1]), true)
		}},
		{"a forgotten file", func() {
			dead, err := f.store.DeadFiles(f.ctx, time.Now().Add(time.Hour), 1)
			f.must(err)
			f.must(f.store.ForgetFiles(f.ctx, []uuid.UUID{dead[0].ID}))
		}},
		{"a compaction", func() { f.finishCompaction(p, 1) }},
		{"a deleted offset", func() { f.deleteOffsets(metadata.OffsetKey{GroupID: "g", Partition: p}) }},
	} {
		step.change()
		if before, same := seen[state()]; same {
			f.Errorf("the state after %s is that after %s", step.name, before)
		}
		seen[state()] = step.name
	}
	before := state()
	f.must(f.store.BeatMembers(f.ctx, uuid.New(), []metadata.GroupBeats{{GroupID: "g", Members: map[string]time.Time{"m": time.Now()}}}))
	_, err := f.store.RegisterAgent(f.ctx, newAgent(0, 1))
	f.must(err)
	f.must(f.store.NoteSnapshot(f.ctx, time.Now()))
	if state() != before {
		f.Error("beats, agents and snapshots change the state")
	}
}

func lastSnapshotIsNoted(f *fixture) {
	if at, ok, err := f.store.LastSnapshot(f.ctx); err != nil || ok {
		f.Fatalf("at first: %v, %v, %v", at, ok, err)
	}
	now := time.Now().UTC().Truncate(time.Microsecond)
	for _, note := range []struct{ at, want time.Duration }{
		{-time.Minute, -time.Minute},
		{-time.Second, -time.Second},
		{-time.Minute, -time.Second},
		{2 * time.Hour, 2 * time.Hour},
		{-time.Minute, -time.Minute}, // the clock was two hours ahead
	} {
		f.must(f.store.NoteSnapshot(f.ctx, now.Add(note.at)))
		if at, ok, err := f.other().store.LastSnapshot(f.ctx); err != nil || !ok || !at.Equal(now.Add(note.want)) {
			f.Errorf("noted %v, got %v, %v, %v", note.at, at.Sub(now), ok, err)
		}
	}
}
