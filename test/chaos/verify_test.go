package chaos

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// build makes a history of one world with one partition, in which nothing is wrong: 6 records, copied in two transactions, and read
// by two members of which the second goes on where the first has committed.
func build() *History {
	const producer = "w/producer"
	h := &History{Worlds: []World{{Name: "w", Transforms: true}}, Log: Logs{"w-input": {nil}, "w-output": {nil}}}
	for n := range int64(6) {
		v := value(producer, n, "x")
		h.Log["w-input"][0] = append(h.Log["w-input"][0], Record{n, v})
		// A marker lies behind the third.
		h.Log["w-output"][0] = append(h.Log["w-output"][0], Record{n + n/3, v})
		h.Events = append(h.Events, Event{Kind: Acked, Who: producer, Number: n, Offset: n})
	}
	h.Watched = h.Log
	h.Events = append(h.Events, Event{Kind: Sent, Who: producer, Number: 6}, Event{Kind: Ended, Who: "w/transformer", Text: "commit"})
	for _, topic := range h.Worlds[0].Topics() {
		log := h.Log[topic][0]
		h.add(Event{Kind: Assigned, Who: "w/a", Topic: topic})
		h.get("w/a", topic, 0, 4)
		h.add(Event{Kind: Committed, Who: "w/a", Topic: topic, Offset: log[2].Offset + 1}, Event{Kind: Revoked, Who: "w/a", Topic: topic},
			Event{Kind: Assigned, Who: "w/b", Topic: topic})
		h.get("w/b", topic, 3, 6)
	}
	return h
}

func (h *History) add(events ...Event) {
	for _, e := range events {
		e.At = time.UnixMilli(int64(len(h.Events)))
		h.Events = append(h.Events, e)
	}
}

// get adds that a member got some records.
func (h *History) get(who, topic string, from, to int) {
	for _, r := range h.Log[topic][0][from:to] {
		h.add(Event{Kind: Got, Who: who, Topic: topic, Offset: r.Offset, Text: r.Value})
	}
}

// find returns the number of the n-th event of a kind.
func (h *History) find(kind Kind, n int) int {
	for i, e := range h.Events {
		if e.Kind != kind {
			continue
		}
		if n == 0 {
			return i
		}
		n--
	}
	panic(fmt.Sprintf("no such event of kind %s", kind))
}

func (h *History) drop(i int) { h.Events = append(h.Events[:i:i], h.Events[i+1:]...) }

// cut removes record i of a topic.
func (h *History) cut(topic string, i int) {
	log := h.Log[topic][0]
	h.Log[topic][0] = append(log[:i:i], log[i+1:]...)
}

func TestEachFaultIsFound(t *testing.T) {
	for _, test := range []struct {
		name string
		// Of one of the problems; none for "".
		rule Rule
		says string
		harm func(h *History)
	}{
		{"nothing is wrong", "", "", func(*History) {}},
		{"a record given up is not there", "", "", func(h *History) {
			h.add(Event{Kind: Failed, Who: "w/producer", Number: 6})
			h.Events[h.find(Sent, 0)].Number = 7
		}},
		{"what was not committed is read again", "", "", func(h *History) { h.drop(h.find(Committed, 0)) }},
		{"errors that clients may see", "", "", func(h *History) {
			h.add(Event{Kind: Retriable, Who: "w/a", Text: "timed out"}, Event{Kind: Abortable, Who: "w/transformer", Text: "abort"}, Event{Kind: Told, Who: "w/a"})
		}},
		{"a member that does not tell what it is assigned begins anew", "", "", func(h *History) {
			for i := range h.Events {
				if h.Events[i].Kind == Assigned || h.Events[i].Kind == Revoked {
					h.Events[i].Kind = Told
				}
				h.Events[i].Who = strings.ReplaceAll(h.Events[i].Who, "w/b", "w/a")
			}
		}},

		{"an acknowledged record is gone", Lost, "record 5 of w/producer is not there", func(h *History) { h.cut("w-input", 5) }},
		{"a record lies elsewhere than was acknowledged", Lost, "was acknowledged at partition 0, offset 9", func(h *History) { h.Events[h.find(Acked, 2)].Offset = 9 }},
		{"a record that was never acknowledged is gone", Lost, "record 6 of w/producer is not there", func(h *History) { h.Events[h.find(Sent, 0)].Number = 7 }},
		{"a record twice in the input", Doubled, "record 0 of w/producer lies at partition 0, offset 0 and at partition 0, offset 6", func(h *History) {
			h.Log["w-input"][0] = append(h.Log["w-input"][0], Record{6, h.Log["w-input"][0][0].Value})
		}},
		{"records of a producer in another order", Reordered, "record 1 of w/producer lies behind its record 2", func(h *History) {
			log := h.Log["w-input"][0]
			log[1].Value, log[2].Value = log[2].Value, log[1].Value
		}},
		{"a record that nobody sent", Foreign, "which nobody sent", func(h *History) { h.Log["w-input"][0][1].Value = "w/producer 77 x" }},
		{"a record of another producer", Foreign, "which nobody sent", func(h *History) { h.Log["w-input"][0][1].Value = "v/producer 1 x" }},
		{"a value that is none", Foreign, "which nobody sent", func(h *History) { h.Log["w-input"][0][1].Value = "hello" }},

		{"a record is not copied", Lost, "w-output: the input at partition 0, offset 5 is not in it", func(h *History) { h.cut("w-output", 5) }},
		{"a record is copied twice", Doubled, "the input at offset 2 once more", func(h *History) {
			h.Log["w-output"][0] = append(h.Log["w-output"][0], Record{9, h.Log["w-input"][0][2].Value})
		}},
		{"copies in another order", Reordered, "the input at offset 1, behind that at 2", func(h *History) {
			log := h.Log["w-output"][0]
			log[1].Value, log[2].Value = log[2].Value, log[1].Value
		}},
		{"a copy of nothing", Foreign, "which is not in the input", func(h *History) { h.Log["w-output"][0][3].Value = "w/producer 99 x" }},

		{"the end of a log is gone", Lost, "was read, and is gone", func(h *History) {
			h.Watched = Logs{"w-input": {append(h.Log["w-input"][0][:6:6], Record{6, "w/producer 6 x"})}, "w-output": h.Log["w-output"]}
		}},
		{"the observer misses the end", Skipped, "the observer did not get partition 0, offset 5", func(h *History) {
			h.Watched = Logs{"w-input": {h.Log["w-input"][0][:5]}, "w-output": h.Log["w-output"]}
		}},
		{"the observer read something else", Changed, "the observer read", func(h *History) {
			other := append([]Record(nil), h.Log["w-input"][0]...)
			other[1].Value = "w/producer 1 other"
			h.Watched = Logs{"w-input": {other}, "w-output": h.Log["w-output"]}
		}},

		{"a member skips a record", Skipped, "w/a got partition 0, offset 2, and not offset 1", func(h *History) { h.drop(h.find(Got, 1)) }},
		{"a member begins too late", Skipped, "w/b begins at partition 0, offset 4, and nobody got offset 3", func(h *History) {
			h.drop(h.find(Got, 3))
			h.drop(h.find(Got, 3))
		}},
		{"the group misses the end", Skipped, "the group did not get partition 0, offset 5", func(h *History) { h.drop(h.find(Got, 6)) }},
		{"a member gets a record again", Doubled, "w/a got partition 0, offset 1 again", func(h *History) {
			i := h.find(Got, 1)
			h.Events = append(h.Events[:i:i], append([]Event{h.Events[i]}, h.Events[i:]...)...)
		}},
		{"a member begins before what was committed", Doubled, "w/b begins at partition 0, offset 3, though 4 was committed", func(h *History) {
			h.Events[h.find(Committed, 0)].Offset = 4
		}},
		{"a member gets what it has no part in", Doubled, "w/b got partition 0, offset 3, which it has no part in", func(h *History) {
			i := h.find(Assigned, 1) + 1
			h.Events = append(h.Events[:i:i], append([]Event{{Kind: Revoked, Who: "w/b", Topic: "w-input"}}, h.Events[i:]...)...)
		}},
		{"a member reads something else", Changed, "where", func(h *History) { h.Events[h.find(Got, 2)].Text = "w/producer 2 other" }},
		{"a member reads what is not committed", Changed, "where nothing is committed", func(h *History) { h.Events[h.find(Got, 9)].Offset = 3 }},
		{"an event of a partition that there is not", Foreign, "speaks of partition 7", func(h *History) { h.Events[h.find(Got, 0)].Partition = 7 }},

		{"an error that no client may see", Fatal, "w/transformer: fenced", func(h *History) { h.add(Event{Kind: Unexpected, Who: "w/transformer", Text: "fenced"}) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := build()
			test.harm(h)
			problems := Verify(*h)
			if test.rule == "" {
				for _, p := range problems {
					t.Error(p)
				}
				return
			}
			for _, p := range problems {
				if p.Rule == test.rule && strings.Contains(p.Text, test.says) {
					return
				}
			}
			t.Errorf("no problem %s: %q, but %v", test.rule, test.says, problems)
		})
	}
}

func TestProblemsAreBounded(t *testing.T) {
	h := build()
	for range 100 {
		h.add(Event{Kind: Unexpected, Who: "w/a", Text: "again"})
	}
	problems := Verify(*h)
	if last := problems[len(problems)-1]; len(problems) != problemsOfRule+1 || last.Text != "and 80 more" {
		t.Errorf("%d problems, the last is %v", len(problems), last)
	}
}

func TestUnfinishedUntilAllIsCopiedAndRead(t *testing.T) {
	h := build()
	if err := h.Unfinished(); err != nil {
		t.Errorf("all is there: %v", err)
	}
	h.cut("w-output", 5)
	if err := h.Unfinished(); err == nil || !strings.Contains(err.Error(), "5 of 6 records of partition 0 are copied") {
		t.Errorf("one is not copied: %v", err)
	}
	h = build()
	h.drop(h.find(Got, 6))
	if err := h.Unfinished(); err == nil || !strings.Contains(err.Error(), "has not got offset 5") {
		t.Errorf("one was not read: %v", err)
	}
}

func TestReportCounts(t *testing.T) {
	h := build()
	h.add(Event{Kind: Retriable, Who: "w/a", Text: "timed out"}, Event{Kind: Retriable, Who: "w/b", Text: "timed out"}, Event{Kind: Ended, Who: "w/transformer", Text: "abort"})
	h.Events[h.find(Acked, 0)].At, h.Events[h.find(Acked, 1)].At = time.UnixMilli(0), time.UnixMilli(700)
	for n := 2; n < 6; n++ {
		h.Events[h.find(Acked, n)].At = time.UnixMilli(701)
	}
	r := h.Reports()[0]
	if r.Sent != 6 || r.Acked != 6 || r.Longest != 700*time.Millisecond || r.Copied != 6 || r.CommittedTxns != 1 || r.AbortedTxns != 1 || r.Read != 14 || r.Repeated != 2 || r.Assignments != 4 {
		t.Errorf("%+v", r)
	}
	if !strings.Contains(r.String(), "retriable 2x timed out") {
		t.Errorf("%v", r)
	}
}
