package recovery

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/sequence"
)

// leap is by how much numbers that must never be handed out twice are raised: what the lost store
// handed out after the snapshot is not known, but it is less.
const leap = 1 << 32

// leftOverAge is how long before the snapshot a file was made that is rather a leftover: commits follow at once.
const leftOverAge = time.Minute

// replay puts files into a state, one after the other.
type replay struct {
	state *state
	order ordering
	// names are those that the operator gave to topics.
	names  map[uuid.UUID]string
	report *Report
	topics map[uuid.UUID]*TopicReport
	// places are those of partitions: their topic and index.
	places map[metadata.PartitionID]place
	// before are the producers as the snapshot has them, of those that wrote since; restored where batches went.
	before   map[sequence.ProducerKey]producer
	restored map[restoredBatch]int64
	// last is, of each partition, the file that was restored into it last.
	last map[metadata.PartitionID]lastFile
	open map[int64]*transaction
	// What the replay adds to the store.
	files []metadata.SnapshotFile
	runs  []metadata.Run
	dead  []metadata.SnapshotDeadFile
	// maxProducer is the largest producer ID that was seen; raised is true once none up to it is handed out again.
	maxProducer int64
	raised      bool
}

type place struct {
	topic *metadata.SnapshotTopic
	index int32
}

// restoredBatch names a batch by its producer's sequence.
type restoredBatch struct {
	sequence.ProducerKey
	epoch       int16
	first, last int32
}

type lastFile struct {
	file *file
	from int64
	// inRange: it is in the last of the topic's ranges.
	inRange bool
}

func newReplay(s *state, o ordering, names map[uuid.UUID]string, report *Report) *replay {
	r := &replay{
		state: s, order: o, names: names, report: report,
		topics:   map[uuid.UUID]*TopicReport{},
		places:   map[metadata.PartitionID]place{},
		before:   map[sequence.ProducerKey]producer{},
		restored: map[restoredBatch]int64{},
		last:     map[metadata.PartitionID]lastFile{},
		open:     map[int64]*transaction{},
	}
	for _, t := range s.topics {
		r.enter(t)
	}
	report.Files.Contradictions = o.contradictions
	return r
}

// enter begins the report of a topic.
func (r *replay) enter(t *metadata.SnapshotTopic) *TopicReport {
	report := &TopicReport{ID: t.ID, Name: t.Name}
	for i, id := range t.Partitions {
		r.places[id] = place{t, int32(i)}
		p := r.state.partitions[id]
		report.SnapshotRecords += p.NextOffset - p.LogStartOffset
	}
	r.topics[t.ID] = report
	r.report.Topics = append(r.report.Topics, report)
	return report
}

// run replays all files.
func (r *replay) run() error {
	r.openBefore()
	for _, f := range r.order.files {
		if err := r.restore(f); err != nil {
			return fmt.Errorf("data file %s: %w", f.id, err)
		}
	}
	slices.SortFunc(r.report.Topics, func(a, b *TopicReport) int { return strings.Compare(a.Name, b.Name) })
	r.reportTransactions()
	return nil
}

// restore replays one file.
func (r *replay) restore(f *file) error {
	commit := metadata.File{ID: f.id, Size: f.size}
	for _, s := range f.sections {
		s.Partition = r.partition(s.topic, s.index)
		commit.Appends = append(commit.Appends, s.Append)
	}
	if err := sequence.Validate([]metadata.File{commit}); err != nil {
		return err
	}
	decision, err := sequence.Restore(r.view(commit), commit, r.settled)
	if err != nil {
		return err
	}
	for _, p := range decision.Partitions {
		r.state.setPartition(p)
	}
	for _, p := range decision.Producers {
		r.state.producers[p.ProducerKey] = producer{p.Producer, f.at()}
	}
	outcome := decision.Files[0]
	for i, s := range f.sections {
		r.note(f, s, commit.Appends[i].Partition, outcome.Result.Outcomes[i])
	}
	r.add(f, outcome.Runs)
	return nil
}

// view is the part of the state that the file needs.
func (r *replay) view(f metadata.File) sequence.State {
	view := sequence.State{Partitions: map[metadata.PartitionID]sequence.Partition{}, Producers: map[sequence.ProducerKey]sequence.Producer{}}
	partitions, producers, _ := sequence.Keys([]metadata.File{f})
	for _, id := range partitions {
		view.Partitions[id] = r.state.partitionState(id)
	}
	for _, key := range producers {
		r.maxProducer = max(r.maxProducer, key.ProducerID)
		p, known := r.state.producers[key]
		if _, seen := r.before[key]; !seen {
			r.before[key] = p
		}
		if known {
			view.Producers[key] = p.Producer
		}
	}
	return view
}

// settled tells of a batch that is not among its producer's last ones whether its records are there already: where it was
// restored, or -1 if it is from before what the snapshot has. Had it come after, the store would have refused it.
func (r *replay) settled(key sequence.ProducerKey, b metadata.Batch) (int64, bool) {
	if offset, ok := r.restored[batchKey(key, b)]; ok {
		return offset, true
	}
	before := r.before[key]
	return -1, len(before.Last) > 0 && before.Precedes(b)
}

func batchKey(key sequence.ProducerKey, b metadata.Batch) restoredBatch {
	last := int32((int64(b.BaseSequence) + int64(b.Records) - 1) & math.MaxInt32)
	return restoredBatch{key, b.ProducerEpoch, b.BaseSequence, last}
}

// partition returns the ID of a topic's partition, and makes what is not there: both were created after the snapshot.
func (r *replay) partition(id uuid.UUID, index int32) metadata.PartitionID {
	topic, known := r.state.topics[id]
	if !known {
		topic = &metadata.SnapshotTopic{ID: id, Name: r.names[id], Configs: map[string]string{}, CreatedAt: r.state.head.At}
		if topic.Name == "" {
			topic.Name = GeneratedName(id)
		}
		r.state.topics[id] = topic
		r.enter(topic).Created = true
	}
	for int32(len(topic.Partitions)) <= index {
		p := &metadata.SnapshotPartition{ID: r.state.head.NextPartitionID, MaxTimestamp: -1, FirstUnstable: -1, LastAborted: -1}
		r.state.head.NextPartitionID++
		r.state.partitions[p.ID] = p
		r.places[p.ID] = place{topic, int32(len(topic.Partitions))}
		topic.Partitions = append(topic.Partitions, p.ID)
		r.topics[id].AddedPartitions++
	}
	return topic.Partitions[index]
}

// GeneratedName is the name of a topic of which only its ID is known.
func GeneratedName(topic uuid.UUID) string {
	return "recovered-" + base64.RawURLEncoding.EncodeToString(topic[:])
}

// note reports what became of the file's batches in a partition, and remembers what later ones need.
func (r *replay) note(f *file, s section, partition metadata.PartitionID, outcomes []metadata.Outcome) {
	report := r.topics[s.topic]
	from, to := int64(-1), int64(0)
	for i, o := range outcomes {
		b := s.Batches[i]
		if o.Duplicate {
			report.Duplicates++
			continue
		}
		if from < 0 {
			from = o.BaseOffset
		}
		to = o.BaseOffset + int64(b.Records)
		if o.Err != nil {
			report.Forced = append(report.Forced, Forced{s.index, o.BaseOffset, b.Records, f.id, b.ProducerID, o.Err.Error()})
		}
		if b.ProducerID >= 0 {
			r.restored[batchKey(sequence.ProducerKey{Partition: partition, ProducerID: b.ProducerID}, b)] = o.BaseOffset
		}
		if b.Transactional {
			r.inTransaction(b, partition, o.BaseOffset)
		}
	}
	if from < 0 {
		return
	}
	report.RestoredRecords += to - from
	if !f.proven {
		report.Unproven += to - from
		if r.state.head.At.Sub(f.at()) > leftOverAge {
			report.LeftOver += to - from
		}
	}
	r.noteOrder(f, s, partition, report, from, to)
}

// noteOrder reports the offsets of files that lie side by side in a partition, and of which the clocks alone say which
// one comes first.
func (r *replay) noteOrder(f *file, s section, partition metadata.PartitionID, report *TopicReport, from, to int64) {
	before, found := r.last[partition]
	now := lastFile{file: f, from: from}
	if found && !r.order.certain(before.file, f) {
		now.inRange = true
		if before.inRange {
			last := &report.Ranges[len(report.Ranges)-1]
			report.ByClock += to - last.To
			last.To, last.Files = to, append(last.Files, f.id)
		} else {
			report.ByClock += to - before.from
			report.Ranges = append(report.Ranges, Range{s.index, before.from, to, []uuid.UUID{before.file.id, f.id}})
		}
	}
	r.last[partition] = now
}

// add keeps the file's rows.
func (r *replay) add(f *file, runs []metadata.Run) {
	if len(runs) == 0 {
		r.dead = append(r.dead, metadata.SnapshotDeadFile{ID: f.id, Size: f.size, DiedAt: r.state.head.At})
		return
	}
	runs = slices.Clone(runs)
	slices.SortFunc(runs, func(a, b metadata.Run) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.BaseOffset, b.BaseOffset))
	})
	r.state.head.LastSeq++
	row := metadata.SnapshotFile{ID: f.id, Size: f.size, Seq: r.state.head.LastSeq, CommittedAt: f.at(), LiveRuns: int32(len(runs)), LiveBytes: f.size}
	for _, run := range runs {
		row.Partitions, row.Offsets = append(row.Partitions, run.Partition), append(row.Offsets, run.BaseOffset)
	}
	r.files = append(r.files, row)
	r.runs = append(r.runs, runs...)
}
