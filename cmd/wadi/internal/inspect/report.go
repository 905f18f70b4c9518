package inspect

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/agent/maintenance/verify"
	"github.com/wadi-log/wadi/objstore/datafile"
	"github.com/wadi-log/wadi/protocol"
)

// report is what is known of a file. Times are ms since the epoch.
type report struct {
	ID      uuid.UUID `json:"id"`
	Version uint16    `json:"version"`
	Size    int64     `json:"size"`
	// Created is the time in the ID.
	Created int64 `json:"created"`
	// Key is where the object belongs, below the store's prefix.
	Key      string    `json:"key"`
	Sections []section `json:"sections"`
	// Sources are what a merged file was made from.
	Sources []source `json:"sources,omitempty"`
}

// source is a file that a merged file was made from.
type source struct {
	ID uuid.UUID `json:"id"`
	// Commit is the number of the commit that brought the file, 0 where unknown.
	Commit int64 `json:"commit"`
}

// merged reports whether the file was written by a merge; then all its sections were.
func (r report) merged() bool { return r.Sections[0].Merged != nil }

// damaged counts the sections with errors.
func (r report) damaged() int {
	n := 0
	for _, s := range r.Sections {
		if len(s.Errors) > 0 {
			n++
		}
	}
	return n
}

// section is what the file holds of one partition.
type section struct {
	// TopicID is as Kafka's tools print it: URL-safe base64.
	TopicID    string `json:"topic_id"`
	Partition  int32  `json:"partition"`
	Position   int64  `json:"position"`
	StoredSize int32  `json:"stored_size"`
	Size       int32  `json:"size"`
	Encoding   string `json:"encoding"`
	// Frames counts those of a framed section by codec.
	Frames       map[string]int `json:"frames,omitempty"`
	Batches      int32          `json:"batches"`
	Records      int32          `json:"records"`
	MaxTimestamp int64          `json:"max_timestamp"`
	Producers    []producer     `json:"producers,omitempty"`
	// Merged is what only sections of merged files have.
	Merged *merged `json:"merged,omitempty"`
	// List holds the batches; JSON has it only on demand.
	List   []batch  `json:"batch_list,omitempty"`
	Errors []string `json:"errors,omitempty"`
}

// merged is what a merged section tells of offsets. Records of the section counts those that its
// batches take, of which compaction may have left fewer records.
type merged struct {
	BaseOffset int64 `json:"base_offset"`
	NextOffset int64 `json:"next_offset"`
	// Kept is the number of records that there are.
	Kept      int64 `json:"records_kept"`
	IndexSize int32 `json:"index_size"`
	// Index is in JSON with the batches.
	Index []indexEntry `json:"index,omitempty"`
}

type indexEntry struct {
	Offset       int64 `json:"offset"`
	Position     int32 `json:"position"`
	Stored       int32 `json:"stored"`
	MaxTimestamp int64 `json:"max_timestamp"`
}

type producer struct {
	ID            int64 `json:"id"`
	Epoch         int16 `json:"epoch"`
	FirstSequence int32 `json:"first_sequence"`
	LastSequence  int32 `json:"last_sequence"`
	Batches       int32 `json:"batches"`
}

// batch is one record batch, from its header.
type batch struct {
	// Position is in the decoded section.
	Position      int    `json:"position"`
	Size          int    `json:"size"`
	Records       int32  `json:"records"`
	Codec         string `json:"codec"`
	BaseTimestamp int64  `json:"base_timestamp"`
	MaxTimestamp  int64  `json:"max_timestamp"`
	LogAppendTime bool   `json:"log_append_time,omitempty"`
	Transactional bool   `json:"transactional,omitempty"`
	ProducerID    int64  `json:"producer_id"`
	ProducerEpoch int16  `json:"producer_epoch"`
	BaseSequence  int32  `json:"base_sequence"`
	CRC           string `json:"crc"`
	// In merged files. LastOffset is inclusive.
	BaseOffset *int64 `json:"base_offset,omitempty"`
	LastOffset *int64 `json:"last_offset,omitempty"`
	// Control is commit or abort: the batch ends a transaction.
	Control string `json:"control,omitempty"`
	// DeleteHorizon is when compaction may drop its tombstones, or the end of the transaction.
	DeleteHorizon *int64 `json:"delete_horizon,omitempty"`
}

// inspect reads all sections of the file.
func inspect(footer datafile.Footer, file []byte) report {
	r := report{
		ID: footer.ID, Version: footer.Version, Size: footer.Size,
		Created: datafile.IDTime(footer.ID).UnixMilli(), Key: datafile.Key(footer.ID),
	}
	for content, err := range footer.Contents(file) {
		s := newSection(content)
		if err != nil {
			s.fail(err)
		}
		if content.Bytes != nil {
			for _, problem := range verify.Section(content, s.add) {
				s.fail(problem)
			}
		}
		r.Sections = append(r.Sections, s)
	}
	for _, from := range footer.Sources {
		r.Sources = append(r.Sources, source{from.FileID, from.Seq})
	}
	return r
}

func newSection(c datafile.Content) section {
	s := section{
		TopicID: base64.RawURLEncoding.EncodeToString(c.TopicID[:]), Partition: c.Partition,
		Position: c.Position, StoredSize: c.StoredSize, Size: c.Size, Encoding: c.Encoding.String(),
		Batches: c.Batches, Records: c.Records, MaxTimestamp: c.MaxTimestamp,
	}
	for _, frame := range c.Frames {
		if s.Frames == nil {
			s.Frames = map[string]int{}
		}
		s.Frames[frame.Codec.String()]++
	}
	for _, p := range c.Producers {
		s.Producers = append(s.Producers, producer{p.ProducerID, p.ProducerEpoch, p.FirstSequence, p.LastSequence, p.Batches})
	}
	if !c.Merged {
		return s
	}
	s.Merged = &merged{BaseOffset: c.BaseOffset, NextOffset: c.NextOffset, IndexSize: c.IndexSize}
	for _, e := range c.Index.Entries {
		s.Merged.Index = append(s.Merged.Index, indexEntry{e.Offset, e.Position, e.Stored, e.MaxTimestamp})
	}
	return s
}

func (s *section) fail(err error) { s.Errors = append(s.Errors, err.Error()) }

// add adds a batch of the section.
func (s *section) add(at int, b protocol.Batch) {
	line := batch{
		Position: at, Size: b.Size(), Records: b.NumRecords(), Codec: b.Codec().String(),
		BaseTimestamp: b.BaseTimestamp(), MaxTimestamp: b.MaxTimestamp(),
		LogAppendTime: b.LogAppendTime(), Transactional: b.IsTransactional(),
		ProducerID: b.ProducerID(), ProducerEpoch: b.ProducerEpoch(), BaseSequence: b.BaseSequence(),
		CRC: fmt.Sprintf("%08x", b.CRC()),
	}
	if s.Merged != nil {
		first, last := b.BaseOffset(), b.BaseOffset()+int64(b.LastOffsetDelta())
		line.BaseOffset, line.LastOffset = &first, &last
		line.Control = control(b)
		if ms, ok := b.DeleteHorizon(); ok {
			line.DeleteHorizon = &ms
		}
		s.Merged.Kept += int64(b.NumRecords())
	}
	s.List = append(s.List, line)
}

// control returns how the batch ends a transaction; "" for data, "control" for what Wadi doesn't write.
func control(b protocol.Batch) string {
	if !b.IsControl() {
		return ""
	}
	for record, err := range b.Records(len(b)) {
		if err != nil || len(record.Key) < 4 {
			break
		}
		switch binary.BigEndian.Uint16(record.Key[2:]) {
		case 0:
			return "abort"
		case 1:
			return "commit"
		}
	}
	return "control"
}

// timeText is the time in UTC, or "none" for -1.
func timeText(ms int64) string {
	if ms < 0 {
		return "none"
	}
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z")
}
