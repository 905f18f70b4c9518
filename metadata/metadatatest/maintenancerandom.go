package metadatatest

import (
	"bytes"
	"cmp"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
)

var randomMaintenanceTests = seeded("EverythingMixed", everythingMixed)

// logModel is the index as one would keep it without thinking of cost: of each partition,
// which row each offset belongs to.
type logModel struct {
	*fixture
	rng *rand.Rand
	// topics are alive; rows are of their partitions.
	topics []metadata.Topic
	rows   map[metadata.PartitionID]map[int64]metadata.Run
	starts map[metadata.PartitionID]int64
	next   map[metadata.PartitionID]int64
	// files are all that ever came, with what they are of without the runs that they lost.
	files map[uuid.UUID]*modelFile
	// seen are rows that stood next to each other once: what a merge that is late replaces.
	seen  [][]metadata.Run
	taken int
	left  int
}

type modelFile struct {
	FileRow
	claimedBy uuid.UUID
}

// everythingMixed: commits, transactions, deletions of records and topics, trims, claims and
// replacements that are right, late or overlap, one after the other. After each the store
// has what the model has.
func everythingMixed(f *fixture, seed uint64) {
	m := &logModel{
		fixture: f, rng: rand.New(rand.NewPCG(seed, 7)), rows: map[metadata.PartitionID]map[int64]metadata.Run{},
		starts: map[metadata.PartitionID]int64{}, next: map[metadata.PartitionID]int64{}, files: map[uuid.UUID]*modelFile{},
	}
	steps := []struct {
		name   string
		weight int
		run    func()
	}{
		{"commit", 12, m.stepCommit},
		{"transaction", 3, m.stepTransaction},
		{"replace", 12, m.stepReplace},
		{"replace late", 6, m.stepReplaceLate},
		{"claim", 3, m.stepClaim},
		{"delete records", 2, m.stepDeleteRecords},
		{"move a log start", 2, m.stepMoveLogStart},
		{"trim", 2, m.stepTrim},
		{"create a topic", 1, m.stepCreateTopic},
		{"delete a topic", 1, m.stepDeleteTopic},
	}
	var names []int
	for i, s := range steps {
		names = append(names, slices.Repeat([]int{i}, s.weight)...)
	}
	m.stepCreateTopic()
	for n := range 80 {
		s := steps[names[m.rng.IntN(len(names))]]
		s.run()
		if m.check(); f.Failed() {
			f.Fatalf("seed %d, after step %d: %s", seed, n, s.name)
		}
	}
	if m.taken == 0 || m.left == 0 {
		f.Errorf("%d runs taken, %d left: both should happen", m.taken, m.left)
	}
	for n := 1; n > 0; {
		var err error
		n, err = f.store.TrimRuns(f.ctx, 100)
		f.must(err)
	}
}

func (m *logModel) stepCreateTopic() {
	t := m.topic(uuid.NewString(), 1+m.rng.Int32N(2))
	m.topics = append(m.topics, t)
	for _, id := range t.Partitions {
		m.rows[id] = map[int64]metadata.Run{}
		m.starts[id], m.next[id] = 0, 0
	}
}

func (m *logModel) stepDeleteTopic() {
	if len(m.topics) < 2 {
		return
	}
	i := m.rng.IntN(len(m.topics))
	m.must(m.store.DeleteTopic(m.ctx, m.topics[i].ID))
	for _, id := range m.topics[i].Partitions {
		m.lose(slices.Collect(maps.Values(m.rows[id]))...)
		delete(m.rows, id)
		delete(m.starts, id)
	}
	m.topics = slices.Delete(m.topics, i, i+1)
}

// partitions are those that exist, ascending.
func (m *logModel) partitions() []metadata.PartitionID { return slices.Sorted(maps.Keys(m.rows)) }

func (m *logModel) somePartition() metadata.PartitionID {
	ids := m.partitions()
	return ids[m.rng.IntN(len(ids))]
}

func (m *logModel) stepCommit() {
	var appends []metadata.Append
	for _, id := range m.partitions() {
		if m.rng.IntN(3) > 0 {
			appends = append(appends, appendTo(id, plain(1+m.rng.Int32N(5), m.rng.Int64N(100))))
		}
	}
	file := newFile(m, appends...)
	file.Size = 10_000
	commit := m.commit(file).Commits[0]
	m.files[file.ID] = &modelFile{FileRow: FileRow{ID: file.ID, Size: file.Size, Seq: commit.Seq, LiveBytes: file.Size, Keys: len(commit.Runs)}}
	m.add(commit.Runs...)
}

func (m *logModel) stepTransaction() {
	p := m.producer(uuid.NewString())
	id := m.somePartition()
	file := newFile(m, appendTo(id, p.batch(id, 1+m.rng.Int32N(3))))
	commit := m.commit(file).Commits[0]
	m.files[file.ID] = &modelFile{FileRow: FileRow{ID: file.ID, Size: file.Size, Seq: commit.Seq, LiveBytes: file.Size, Keys: 1}}
	m.add(commit.Runs...)
	m.add(p.end(m.rng.IntN(2) == 0)[0].Runs...)
}

// add appends rows where the log ends.
func (m *logModel) add(runs ...metadata.Run) {
	for _, r := range runs {
		if r.BaseOffset != m.next[r.Partition] {
			m.Fatalf("%+v comes where offset %d is next", r, m.next[r.Partition])
		}
		m.next[r.Partition] = r.NextOffset()
		m.enter(r)
	}
}

func (m *logModel) enter(r metadata.Run) {
	for o := r.BaseOffset; o < r.NextOffset(); o++ {
		m.rows[r.Partition][o] = r
	}
	if r.Encoding != metadata.EncodingMarker {
		m.files[r.FileID].LiveRuns++
	}
}

// lose removes the rows, which may be named more than once.
func (m *logModel) lose(runs ...metadata.Run) {
	for _, r := range runs {
		if m.rows[r.Partition][r.BaseOffset] != r {
			continue
		}
		for o := r.BaseOffset; o < r.NextOffset(); o++ {
			delete(m.rows[r.Partition], o)
		}
		if r.Encoding != metadata.EncodingMarker {
			m.files[r.FileID].LiveRuns--
			m.files[r.FileID].LiveBytes -= int64(r.StoredSize)
		}
	}
}

// standing are the rows of the partition, in order.
func (m *logModel) standing(id metadata.PartitionID) (rows []metadata.Run) {
	for _, o := range slices.Sorted(maps.Keys(m.rows[id])) {
		if r := m.rows[id][o]; r.BaseOffset == o {
			rows = append(rows, r)
		}
	}
	return rows
}

func (m *logModel) stepReplace() {
	var groups [][]metadata.Run
	for _, id := range m.partitions() {
		rows := m.standing(id)
		for len(rows) > 0 && m.rng.IntN(3) > 0 {
			from := m.rng.IntN(len(rows))
			to := from + 1 + m.rng.IntN(min(5, len(rows)-from))
			groups = append(groups, rows[from:to:to])
			rows = rows[to:]
		}
	}
	m.seen = append(m.seen, groups...)
	m.replaceGroups(groups)
}

// stepReplaceLate replaces what stood once, perhaps of a topic that is gone.
func (m *logModel) stepReplaceLate() {
	var groups [][]metadata.Run
	for range 4 {
		if len(m.seen) == 0 {
			break
		}
		group := m.seen[m.rng.IntN(len(m.seen))]
		overlaps := func(other []metadata.Run) bool {
			return other[0].Partition == group[0].Partition && other[0].BaseOffset < group[len(group)-1].NextOffset() && group[0].BaseOffset < other[len(other)-1].NextOffset()
		}
		if !slices.ContainsFunc(groups, overlaps) {
			groups = append(groups, group)
		}
	}
	slices.SortFunc(groups, func(a, b []metadata.Run) int {
		return cmp.Or(cmp.Compare(a[0].Partition, b[0].Partition), cmp.Compare(a[0].BaseOffset, b[0].BaseOffset))
	})
	m.replaceGroups(groups)
}

func (m *logModel) replaceGroups(groups [][]metadata.Run) {
	if len(groups) == 0 {
		return
	}
	r := replacement(m, groups...)
	r.Size += 100 // an index, a footer
	r.Level, r.Seq = []int16{1, 2, metadata.LevelSettled}[m.rng.IntN(3)], m.rng.Int64N(100)
	file := &modelFile{FileRow: FileRow{ID: r.FileID, Size: r.Size, Level: r.Level, Seq: r.Seq, LiveBytes: r.Size}}
	m.files[r.FileID] = file
	var want []bool
	for i, n := range r.Runs {
		takes := m.takes(n, groups[i])
		want = append(want, takes)
		if !takes {
			file.LiveBytes -= int64(n.StoredSize)
			m.left++
			continue
		}
		m.lose(groups[i]...)
		file.Keys++
		m.enter(n.Run)
		m.taken++
	}
	m.replace(r, want...)
	if m.rng.IntN(4) == 0 {
		m.replace(r, want...) // the reply was lost
	}
}

// takes is the rule, offset by offset: each belongs to the row that is replaced, or
// came before the log start with all of its row, and is gone.
func (m *logModel) takes(n metadata.NewRun, replaced []metadata.Run) bool {
	start, exists := m.starts[n.Partition]
	stands := 0
	for _, r := range replaced {
		gone := 0
		for o := r.BaseOffset; o < r.NextOffset(); o++ {
			row, ok := m.rows[n.Partition][o]
			switch {
			case ok && row == r:
				stands++
			case ok:
				return false
			default:
				gone++
			}
		}
		if gone > 0 && (r.NextOffset() > start || gone != int(r.Records)) {
			return false
		}
	}
	return exists && stands > 0
}

func (m *logModel) stepClaim() {
	claim := claimAll(int16(m.rng.IntN(metadata.MaxFileLevel)))
	claim.MaxFiles = 1 + m.rng.IntN(10)
	files, err := m.store.ClaimFiles(m.ctx, claim)
	m.must(err)
	for i, got := range files {
		file := m.files[got.ID]
		if file == nil || file.LiveRuns == 0 || file.claimedBy != (uuid.UUID{}) || file.Level != claim.Level || got.Level != file.Level || got.Seq != file.Seq || got.Size != file.Size {
			m.Fatalf("claimed %+v, known as %+v", got, file)
		}
		file.claimedBy = claim.Holder
		if i > 0 && got.Seq < files[i-1].Seq {
			m.Fatalf("claimed %d after %d", got.Seq, files[i-1].Seq)
		}
		var want []metadata.Run
		for _, id := range m.partitions() {
			for _, r := range m.standing(id) {
				if r.FileID == got.ID && r.NextOffset() > m.starts[id] && r.Encoding != metadata.EncodingMarker {
					want = append(want, r)
				}
			}
		}
		if !slices.Equal(got.Runs, want) {
			m.Fatalf("file %s:\ngot  %+v\nwant %+v", got.ID, got.Runs, want)
		}
	}
	if len(files) > 0 && m.rng.IntN(2) == 0 {
		m.must(m.store.ReleaseFiles(m.ctx, claim.Holder, fileIDs(files), false))
		for _, file := range files {
			m.files[file.ID].claimedBy = uuid.UUID{}
		}
	}
	if m.rng.IntN(4) == 0 {
		m.db.Age(m, time.Hour)
		for _, file := range m.files {
			file.claimedBy = uuid.UUID{}
		}
	}
}

func (m *logModel) stepDeleteRecords() {
	id := m.somePartition()
	before := m.starts[id] + m.rng.Int64N(min(20, m.next[id]-m.starts[id])+1)
	_, err := m.store.DeleteRecords(m.ctx, []metadata.RecordsDeletion{{Partition: id, Before: before}})
	m.must(err)
	if before == m.starts[id] {
		return // and trims nothing that is left from before
	}
	m.starts[id] = before
	for _, r := range m.standing(id) {
		if r.NextOffset() <= before {
			m.lose(r)
		}
	}
}

// stepMoveLogStart leaves the rows before it.
func (m *logModel) stepMoveLogStart() {
	id := m.somePartition()
	m.starts[id] += m.rng.Int64N(min(10, m.next[id]-m.starts[id]) + 1)
	m.db.SetLogStart(m, id, m.starts[id])
}

func (m *logModel) stepTrim() {
	before := m.count()
	n, err := m.store.TrimRuns(m.ctx, 1+m.rng.IntN(5))
	m.must(err)
	m.syncTrimmed()
	if gone := before - m.count(); gone != n {
		m.Errorf("trimmed %d rows, but %d are gone", n, gone)
	}
}

func (m *logModel) count() (rows int) {
	for _, id := range m.partitions() {
		rows += len(m.standing(id))
	}
	return rows
}

// syncTrimmed takes over which rows a trim removed, or left, of those before the log start.
func (m *logModel) syncTrimmed() {
	for _, id := range m.partitions() {
		rows := m.fixture.rows(id)
		for _, r := range m.standing(id) {
			if r.NextOffset() <= m.starts[id] && !slices.Contains(rows, r) {
				m.lose(r)
			}
		}
	}
}

// check compares everything that the database has.
func (m *logModel) check() {
	m.Helper()
	var want []metadata.Run
	for _, id := range m.partitions() {
		want = append(want, m.standing(id)...)
	}
	if got := m.db.Runs(m); !slices.Equal(got, want) {
		m.Errorf("rows:\ngot  %+v\nwant %+v", got, want)
		return
	}
	var files []FileRow
	for _, file := range m.files {
		if file.LiveRuns == 0 {
			files = append(files, FileRow{ID: file.ID, Size: file.Size, Dead: true})
		} else {
			files = append(files, file.FileRow)
		}
	}
	byID := func(a, b FileRow) int { return bytes.Compare(a.ID[:], b.ID[:]) }
	slices.SortFunc(files, byID)
	got := m.db.Files(m)
	if slices.SortFunc(got, byID); !slices.Equal(got, files) {
		m.Errorf("files:\ngot  %+v\nwant %+v", got, files)
	}
	for _, id := range m.partitions() {
		b := m.bounds(id)
		if b.LogStartOffset != m.starts[id] || b.NextOffset != m.next[id] {
			m.Errorf("partition %d: %+v, want %d to %d", id, b, m.starts[id], m.next[id])
		}
		// What readers find covers every offset, once.
		if b.LogStartOffset < b.NextOffset {
			runs := m.runsFrom(id, b.LogStartOffset)
			checkContiguousFrom(m, runs, runs[0].BaseOffset, b.NextOffset)
			if runs[0].BaseOffset > b.LogStartOffset {
				m.Errorf("partition %d is read from %d, not %d", id, runs[0].BaseOffset, b.LogStartOffset)
			}
		}
	}
}
