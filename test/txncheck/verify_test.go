package txncheck

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestRightHistoryHasNoProblems(t *testing.T) {
	for _, strict := range []bool{false, true} {
		for _, problem := range Verify(fixture(strict)) {
			t.Errorf("strict %v: %v", strict, problem)
		}
	}
}

// TestEachFaultIsFound plants one fault in the history at a time.
func TestEachFaultIsFound(t *testing.T) {
	for _, test := range []struct {
		rule  Rule
		name  string
		plant func(h *History)
	}{
		{Gap, "nobody found anything at an offset", func(h *History) { h.Log[orders][4] = Entry{} }},
		{Gap, "a reader went on behind the end", func(h *History) { h.Reads[9].To = 4 }},
		{Gap, "two readers saw different records", func(h *History) { h.Faults = []Problem{{Gap, "different"}} }},
		{Order, "two records of a transaction changed places", func(h *History) {
			h.Log[orders][1], h.Log[orders][2] = h.Log[orders][2], h.Log[orders][1]
		}},
		{Order, "two transactions of a writer changed places", func(h *History) {
			log := h.Log[orders]
			h.Log[orders] = slices.Concat(log[:1], log[4:6], log[1:4], log[6:])
		}},
		{Order, "a record is there twice", func(h *History) { h.Log[orders][2] = h.Log[orders][1] }},
		{Order, "a record without a transaction is there twice", func(h *History) {
			h.Log[orders] = append(h.Log[orders], h.Log[orders][0])
		}},
		{Lost, "an acknowledged record is not there", func(h *History) {
			h.Txns[plainTxn].Records = append(h.Txns[plainTxn].Records, sent(orders, 8, 2))
		}},
		{Lost, "an acknowledged record lies elsewhere", func(h *History) { h.Txns[ghost].Records[0].Offset = 5 }},
		{Lost, "nothing is there of a committed transaction", func(h *History) {
			h.Txns = append(h.Txns, Txn{Writer: "writer-2", Transactional: true, Fate: Committed, SentCommit: true,
				Ending: ms(3), Ended: ms(4), Decidable: ms(3), Fenced: Never, Superseded: Never,
				Records: []Sent{{Partition: orders, Offset: -1, At: ms(1), Acked: Never, Source: noSource}}})
		}},
		{Foreign, "a record that was never sent", func(h *History) { h.Log[orders][0].Record.Seq = 7 }},
		{Foreign, "a record of a transaction that never was", func(h *History) { h.Log[orders][0].Record.Txn = 77 }},
		{Foreign, "a record that was sent to another partition", func(h *History) { h.Txns[plainTxn].Records[0].Partition = output }},
		{Foreign, "a record without the transactional bit", func(h *History) { h.Log[orders][1].Transactional = false }},
		{Foreign, "a record that was sent by a fenced producer", func(h *History) { h.Txns[ghost].Fenced = ms(49) }},
		{Marker, "a marker with an older epoch", func(h *History) { h.Log[orders][3].ProducerEpoch = 0 }},
		{Marker, "a marker without the transactional bit", func(h *History) { h.Log[orders][3].Transactional = false }},
		{Mixed, "a transaction begins before the one before it has ended", func(h *History) { h.Log[orders][3].ProducerID = 99 }},
		{Mixed, "a record comes after its transaction's marker", func(h *History) {
			h.Log[orders][2], h.Log[orders][3] = h.Log[orders][3], h.Log[orders][2]
		}},
		{Undecided, "a marker is missing in the end", func(h *History) { h.Log[orders] = h.Log[orders][:7] }},
		{Undecided, "a marker is another producer's", func(h *History) { h.Log[input][5].ProducerID = 99 }},
		{Torn, "committed in one partition, aborted in the other", func(h *History) { h.Log[input][1].Kind = AbortMarker }},
		{Torn, "aborted in one partition, committed in the other", func(h *History) { h.Log[input][4].Kind = CommitMarker }},
		{Broken, "told committed and aborted", func(h *History) {
			h.Log[orders][3].Kind, h.Log[input][1].Kind = AbortMarker, AbortMarker
		}},
		{Broken, "told aborted and committed", func(h *History) {
			h.Log[orders][5].Kind, h.Log[input][4].Kind = CommitMarker, CommitMarker
		}},
		{Broken, "committed for a fenced producer", func(h *History) { h.Log[orders][7].Kind = CommitMarker }},
		{Broken, "committed without a commit", func(h *History) { h.Txns[unknown].SentCommit = false }},
		{Unfenced, "a fenced producer is told that it committed", func(h *History) { h.Txns[ghost].Fate = Committed }},

		{Leak, "an aborted record is read", func(h *History) { h.Reads[7].Got = []Span{{0, 2}, {4, 4}} }},
		{Leak, "a marker is read", func(h *History) { h.Reads[7].Got = []Span{{0, 3}} }},
		{Leak, "a record is read from behind the last stable offset", func(h *History) { h.Reads[0].StableOffset = 2 }},
		{Leak, "an aborted record is transformed", func(h *History) { h.Txns[transform].Records[1].Source.Offset = 2 }},
		{Leak, "a record that was never there is transformed", func(h *History) { h.Txns[transform].Records[1].Source.Offset = 99 }},
		{Skipped, "a committed record is not read", func(h *History) { h.Reads[8].Got = []Span{{0, 0}} }},
		{Skipped, "a committed transaction is not read at the end", func(h *History) { h.Reads[8].Got = []Span{{3, 3}} }},
		{Skipped, "an undecided record is not read by who reads everything", func(h *History) { h.Reads[4].Got = []Span{{0, 5}, {7, 7}} }},
		{Skipped, "a marker is not read by who reads everything", func(h *History) { h.Reads[4].Got = []Span{{0, 6}} }},
		{Skipped, "a reader jumps", func(h *History) { h.Reads[2].From = 2 }},
		{Skipped, "a record is given that was not asked for", func(h *History) { h.Reads[2].Got = []Span{{0, 0}, {3, 3}} }},
		{Early, "a record is read before its transaction is ended", func(h *History) { h.Reads[0].At = ms(19) }},
		{Early, "offsets are committed before their transaction is ended", func(h *History) { h.Offsets[0].Offsets[input] = 4 }},

		{Backwards, "the last stable offset goes back", func(h *History) { h.Snapshots[5].Stable.Offsets[orders] = 5 }},
		{Backwards, "the high watermark goes back", func(h *History) { h.Snapshots[5].High.Offsets[input] = 4 }},
		{Backwards, "the group's offset goes back", func(h *History) {
			h.Offsets = append(h.Offsets, Offsets{Asked: ms(92), Answered: ms(93), Offsets: []int64{-1, 1, -1}})
		}},
		{Stale, "the high watermark lacks what was acknowledged", func(h *History) { h.Snapshots[1].High.Offsets[orders] = 1 }},
		{Stale, "the last stable offset lacks a record without transaction", func(h *History) { h.Snapshots[0].Stable.Offsets[orders] = 0 }},
		{Stale, "the last stable offset is held by a completed transaction", func(h *History) { h.Snapshots[3].Stable.Offsets[orders] = 1 }},
		{Stale, "the last stable offset is held by nothing", func(h *History) { h.Snapshots[3].Stable.Offsets[orders] = 2 }},
		{Stale, "the group's offset lacks a completed transaction", func(h *History) { h.Offsets[1].Offsets[input] = -1 }},
		{Unstable, "the last stable offset passes an open transaction", func(h *History) { h.Snapshots[1].Stable.Offsets[orders] = 3 }},
		{Unstable, "that of a fetch does", func(h *History) {
			h.Reads = append(h.Reads, Read{Reader: 4, Committed: true, Partition: orders, At: ms(15), StableOffset: 3})
		}},
		{Unstable, "the last stable offset is above the high watermark", func(h *History) { h.Snapshots[2].High.Offsets[orders] = 3 }},
		{Unstable, "what is stable has its marker behind the high watermark", func(h *History) {
			h.Snapshots[2].Stable.Offsets[orders], h.Snapshots[2].High.Offsets[orders] = 3, 3
		}},
		{Partial, "a transaction is open here and decided there", func(h *History) {
			h.Snapshots = append(h.Snapshots, snapshot(20.3, []int64{1, 2, 0}, []int64{4, 2, 0}))
		}},

		{Repeated, "an input record is transformed twice", func(h *History) { h.Txns[transform].Records[1].Source.Offset = 0 }},
		{Missing, "an input record is not transformed", func(h *History) { h.Txns[transform].Records[1].Source = noSource }},
		{Ahead, "output is committed without its offsets", func(h *History) { h.Offsets = h.Offsets[:1] }},
		{Ahead, "offsets are committed that no transaction committed", func(h *History) { h.Offsets[1].Offsets[input] = 6 }},
	} {
		t.Run(fmt.Sprintf("%s/%s", test.rule, test.name), func(t *testing.T) {
			h := fixture(true)
			test.plant(&h)
			problems := Verify(h)
			if !slices.ContainsFunc(problems, func(p Problem) bool { return p.Rule == test.rule }) {
				t.Errorf("no problem of rule %s, only %v", test.rule, problems)
			}
		})
	}
}

// TestKafkaPromisesLess: what Kafka may do while it writes markers is wrong for Wadi only.
func TestKafkaPromisesLess(t *testing.T) {
	for _, test := range []struct {
		rule  Rule
		name  string
		plant func(h *History)
	}{
		{Partial, "markers come one by one", func(h *History) {
			h.Snapshots = append(h.Snapshots, snapshot(20.3, []int64{1, 2, 0}, []int64{4, 2, 0}))
		}},
		{Stale, "markers come after the answer", func(h *History) {
			h.Snapshots[2] = snapshot(22, []int64{1, 0, 0}, []int64{3, 1, 0})
		}},
		{Stale, "markers of records come after those of the group's offsets", func(h *History) {
			h.Offsets = append(h.Offsets, Offsets{Asked: ms(65.2), Answered: ms(65.3), Offsets: []int64{-1, 4, -1}})
			h.Snapshots = append(h.Snapshots, snapshot(65.4, []int64{6, 6, 0}, []int64{7, 6, 2}))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, strict := range []bool{false, true} {
				h := fixture(strict)
				test.plant(&h)
				problems := Verify(h)
				if found := slices.ContainsFunc(problems, func(p Problem) bool { return p.Rule == test.rule }); found != strict || !strict && len(problems) > 0 {
					t.Errorf("strict %v: %v", strict, problems)
				}
			}
		})
	}
}

// TestProblemsOfOneRuleAreBounded: a broken log breaks a rule at each offset.
func TestProblemsOfOneRuleAreBounded(t *testing.T) {
	h := fixture(true)
	h.Log[output] = append(h.Log[output], make([]Entry, 1000)...)
	problems := Verify(h)
	if len(problems) != problemsOfRule+1 || !strings.Contains(problems[problemsOfRule].Text, fmt.Sprint(1000-problemsOfRule)) {
		t.Errorf("%d problems, the last %v", len(problems), problems[len(problems)-1])
	}
}

func TestReportCounts(t *testing.T) {
	h := fixture(true)
	got := h.Report()
	want := Report{Committed: 2, Aborted: 2, Unknown: 1, UnknownCommitted: 1, Fenced: 1,
		Sent: 10, Acknowledged: 10, Logged: 10, Markers: 7, Transformed: 2, Reads: 10, Given: 31, Snapshots: 6, Offsets: 2}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}
