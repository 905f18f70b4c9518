package chaos

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Kind is what an event is of.
type Kind string

// The kinds, with the fields that they use.
const (
	// Sent: Who, a producer, has given the numbers below Number to its records, and ends.
	Sent Kind = "sent"
	// Acked: record Number of producer Who was acknowledged at Partition and Offset of the input.
	Acked Kind = "acked"
	// Failed: producer Who gave up on record Number, of which nobody knows whether it was written.
	Failed Kind = "failed"
	// Assigned, Revoked: member Who has a Partition of Topic from now on, or no more. It is assigned before it asks
	// for the offset to begin at.
	Assigned Kind = "assigned"
	Revoked  Kind = "revoked"
	// Got: member Who got a record with the Text as its value.
	Got Kind = "got"
	// Committed: member Who was told that the Offset, of the next record to read, is committed.
	Committed Kind = "committed"
	// Ended: transformer Who has ended a transaction; Text is commit or abort.
	Ended Kind = "ended"
	// Retriable, Abortable, Unexpected: Who met an error, and Text is its name. After a retriable one the client tries again, or its user
	// may; an abortable one asks for the transaction to be aborted and tried again. Others there must not be.
	Retriable  Kind = "retriable"
	Abortable  Kind = "abortable"
	Unexpected Kind = "unexpected"
	// Told: a client told what it works on by itself; Text is its name.
	Told Kind = "told"
)

// Event is what a client did, or was told. As a line it is the time in microseconds since 1970, then kind and fields, with
// tabs between them.
type Event struct {
	At        time.Time
	Kind      Kind
	Who       string
	Topic     string
	Partition int32
	Number    int64
	Offset    int64
	Text      string
}

// layouts are the fields of each kind in the order of the line: who, topic, partition, number, offset and text (the rest of the line).
var layouts = map[Kind]string{
	Sent: "wn", Acked: "wnpo", Failed: "wn",
	Assigned: "wtp", Revoked: "wtp", Got: "wtpox", Committed: "wtpo",
	Ended: "wx", Retriable: "wx", Abortable: "wx", Unexpected: "wx", Told: "wx",
}

// String is the line, without its end.
func (e Event) String() string {
	fields := []string{strconv.FormatInt(e.At.UnixMicro(), 10), string(e.Kind)}
	for _, field := range layouts[e.Kind] {
		switch field {
		case 'w':
			fields = append(fields, e.Who)
		case 't':
			fields = append(fields, e.Topic)
		case 'p':
			fields = append(fields, strconv.Itoa(int(e.Partition)))
		case 'n':
			fields = append(fields, strconv.FormatInt(e.Number, 10))
		case 'o':
			fields = append(fields, strconv.FormatInt(e.Offset, 10))
		case 'x':
			fields = append(fields, e.Text)
		}
	}
	return strings.Join(fields, "\t")
}

// ParseEvent reads a line.
func ParseEvent(line string) (e Event, err error) {
	at, rest, _ := strings.Cut(line, "\t")
	kind, rest, _ := strings.Cut(rest, "\t")
	layout, known := layouts[Kind(kind)]
	micros, err := strconv.ParseInt(at, 10, 64)
	if err != nil || !known {
		return e, fmt.Errorf("event %q begins with no time and kind", line)
	}
	fields := strings.SplitN(rest, "\t", len(layout))
	if len(fields) != len(layout) {
		return e, fmt.Errorf("event %q has %d fields, want %d", line, len(fields), len(layout))
	}
	e.At, e.Kind = time.UnixMicro(micros), Kind(kind)
	for i, field := range layout {
		switch field {
		case 'w':
			e.Who = fields[i]
		case 't':
			e.Topic = fields[i]
		case 'p':
			var n int64
			n, err = strconv.ParseInt(fields[i], 10, 32)
			e.Partition = int32(n)
		case 'n':
			e.Number, err = strconv.ParseInt(fields[i], 10, 64)
		case 'o':
			e.Offset, err = strconv.ParseInt(fields[i], 10, 64)
		case 'x':
			e.Text = fields[i]
		}
		if err != nil {
			return e, fmt.Errorf("event %q: %w", line, err)
		}
	}
	return e, nil
}

// value is record n of a producer.
func value(producer string, n int64, filler string) string {
	return producer + " " + strconv.FormatInt(n, 10) + " " + filler
}

// parseValue says which record of which producer a value is.
func parseValue(value string) (producer string, n int64, err error) {
	producer, rest, _ := strings.Cut(value, " ")
	number, _, ok := strings.Cut(rest, " ")
	n, err = strconv.ParseInt(number, 10, 64)
	if !ok || err != nil || n < 0 {
		return "", 0, fmt.Errorf("value %.40q is none of ours", value)
	}
	return producer, n, nil
}
