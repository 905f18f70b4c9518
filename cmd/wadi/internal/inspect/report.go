package inspect

import (
	"encoding/base64"
	"fmt"
	"math"
	"time"

	"github.com/google/uuid"

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
}

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
	// List holds the batches; JSON has it only on demand.
	List   []batch  `json:"batch_list,omitempty"`
	Errors []string `json:"errors,omitempty"`
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
		} else {
			s.readBatches(content.Bytes)
		}
		r.Sections = append(r.Sections, s)
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
	return s
}

func (s *section) fail(err error) { s.Errors = append(s.Errors, err.Error()) }

// readBatches checks the batches one by one, and their sums against the footer.
func (s *section) readBatches(batches []byte) {
	var records int32
	newest := int64(math.MinInt64)
	for rest := batches; len(rest) > 0; {
		at := len(batches) - len(rest)
		b, next, err := protocol.NextBatch(rest)
		if err != nil {
			s.fail(fmt.Errorf("batch %d at byte %d of the decoded section: %w", len(s.List), at, err))
			return // where the next one begins is unknown
		}
		if err := b.Validate(); err != nil {
			s.fail(fmt.Errorf("batch %d at byte %d of the decoded section: %w", len(s.List), at, err))
		}
		s.List = append(s.List, newBatch(b, at))
		records += b.NumRecords()
		newest = max(newest, b.MaxTimestamp())
		rest = next
	}
	if int32(len(s.List)) != s.Batches || records != s.Records || newest != s.MaxTimestamp {
		s.fail(fmt.Errorf("the footer states %d batches, %d records, newest %s; there are %d, %d and %s",
			s.Batches, s.Records, timeText(s.MaxTimestamp), len(s.List), records, timeText(newest)))
	}
}

func newBatch(b protocol.Batch, at int) batch {
	return batch{
		Position: at, Size: b.Size(), Records: b.NumRecords(), Codec: b.Codec().String(),
		BaseTimestamp: b.BaseTimestamp(), MaxTimestamp: b.MaxTimestamp(),
		LogAppendTime: b.LogAppendTime(), Transactional: b.IsTransactional(),
		ProducerID: b.ProducerID(), ProducerEpoch: b.ProducerEpoch(), BaseSequence: b.BaseSequence(),
		CRC: fmt.Sprintf("%08x", b.CRC()),
	}
}

// timeText is the time in UTC, or "none" for -1.
func timeText(ms int64) string {
	if ms < 0 {
		return "none"
	}
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z")
}
