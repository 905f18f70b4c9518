package txncheck

import (
	"fmt"
	"strings"
)

// Report counts what a run was about.
type Report struct {
	// Transactions by what is known of them, in the end. Committed and aborted ones were
	// told so or had no choice; of Unknown ones the answer never came, and the log told: UnknownCommitted of
	// them were. Fenced ones were still in use after their producer was replaced, TimedOut ones
	// slept past their timeout and were aborted for it; both are among the others too.
	Committed, Aborted, Unknown, UnknownCommitted, Fenced, TimedOut int
	// Records sent, of them acknowledged, and those in the log.
	Sent, Acknowledged, Logged, Markers int
	// Transformed are output records that count.
	Transformed int
	// Reads are answers with the records of one partition, Given the records they had.
	Reads, Given int
	// Snapshots and Offsets are answers about all partitions.
	Snapshots, Offsets int
	// LostAnswers were sent by a server and not received, LostRequests not sent.
	LostAnswers, LostRequests int64
}

// Report counts what is in a history; see [Run.Lost] for what is not.
func (h *History) Report() Report {
	v := &verifier{History: *h, counts: map[Rule]int{}}
	v.checkLog()
	v.checkFates()
	r := Report{Reads: len(h.Reads), Snapshots: len(h.Snapshots), Offsets: len(h.Offsets)}
	for i := range h.Txns {
		r.add(&h.Txns[i], v.outcome[i])
	}
	for _, log := range h.Log {
		for _, e := range log {
			switch {
			case e.Kind == CommitMarker || e.Kind == AbortMarker:
				r.Markers++
			case e.Kind == Data:
				r.Logged++
				if v.committed(e) && h.Txns[e.Record.Txn].Records[e.Record.Seq].Source != noSource {
					r.Transformed++
				}
			}
		}
	}
	for _, read := range h.Reads {
		for _, span := range read.Got {
			r.Given += int(span.Last - span.First + 1)
		}
	}
	return r
}

func (r *Report) add(t *Txn, outcome Fate) {
	r.Sent += len(t.Records)
	for _, s := range t.Records {
		if s.Acked != Never {
			r.Acknowledged++
		}
	}
	switch {
	case !t.Transactional:
		return
	case t.Fate == Committed:
		r.Committed++
	case !t.mayCommit():
		r.Aborted++
	default:
		r.Unknown++
		if outcome == Committed {
			r.UnknownCommitted++
		}
	}
	if t.Ending > t.Fenced && t.Ending < Never || len(t.Records) > 0 && t.Records[len(t.Records)-1].At > t.Fenced {
		r.Fenced++
	}
	if t.Overslept && outcome == Aborted {
		r.TimedOut++
	}
}

// Lost adds what the connections lost to a report.
func (r *Run) Lost(report *Report) {
	report.LostAnswers, report.LostRequests = r.lost.Answers.Load(), r.lost.Requests.Load()
}

// String is the report in a few lines.
func (r Report) String() string {
	var s strings.Builder
	fmt.Fprintf(&s, "transactions: %d committed, %d aborted, %d unknown (%d of them committed); %d used by a fenced producer, %d timed out\n",
		r.Committed, r.Aborted, r.Unknown, r.UnknownCommitted, r.Fenced, r.TimedOut)
	fmt.Fprintf(&s, "records: %d sent, %d acknowledged, %d in the log with %d markers, %d transformed\n", r.Sent, r.Acknowledged, r.Logged, r.Markers, r.Transformed)
	fmt.Fprintf(&s, "reads: %d of %d records; %d snapshots of all partitions, %d of the group's offsets\n", r.Reads, r.Given, r.Snapshots, r.Offsets)
	fmt.Fprintf(&s, "lost: %d answers, %d requests", r.LostAnswers, r.LostRequests)
	return s.String()
}
