package chaos

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Report counts what happened in a world.
type Report struct {
	World string
	// Sent records, of them Acked and Failed; kcat does not tell which were acknowledged.
	Sent, Acked, Failed int64
	// Longest is the longest time between two acknowledgements.
	Longest time.Duration
	// CommittedTxns and AbortedTxns are transactions of transformers, Copied their records that count.
	CommittedTxns, AbortedTxns, Copied int
	// Read are records that the readers' group got, and Repeated those of them that it had got before.
	Read, Repeated int
	// Assignments of partitions to readers.
	Assignments int
	// Errors are numbers of events, by their kind and text.
	Errors map[Kind]map[string]int
}

// Reports counts what is in a history, by world.
func (h *History) Reports() []Report {
	v := &verifier{History: *h, counts: map[Rule]int{}}
	var reports []Report
	for _, world := range h.Worlds {
		r := Report{World: world.Name, Errors: map[Kind]map[string]int{}}
		var last time.Time
		for _, e := range h.Events {
			if !world.has(e.Who) {
				continue
			}
			r.count(e)
			if e.Kind == Acked {
				if !last.IsZero() {
					r.Longest = max(r.Longest, e.At.Sub(last))
				}
				last = e.At
			}
		}
		for _, log := range h.Log[world.Output()] {
			r.Copied += len(log)
		}
		for _, topic := range world.Topics() {
			for _, p := range v.follow(world, topic) {
				r.Repeated += p.repeats
			}
		}
		reports = append(reports, r)
	}
	return reports
}

func (r *Report) count(e Event) {
	switch e.Kind {
	case Sent:
		r.Sent += e.Number
	case Acked:
		r.Acked++
	case Failed:
		r.Failed++
	case Got:
		r.Read++
	case Assigned:
		r.Assignments++
	case Ended:
		if e.Text == "commit" {
			r.CommittedTxns++
		} else {
			r.AbortedTxns++
		}
	case Retriable, Abortable, Unexpected, Told:
		if r.Errors[e.Kind] == nil {
			r.Errors[e.Kind] = map[string]int{}
		}
		r.Errors[e.Kind][e.Text]++
	}
}

// String is the report in a few lines.
func (r Report) String() string {
	var s strings.Builder
	fmt.Fprintf(&s, "%s: %d records sent, %d acknowledged (with a pause of %v at most), %d given up; %d transactions committed and %d aborted, %d records copied; %d read, %d of them again; %d assignments",
		r.World, r.Sent, r.Acked, r.Longest.Round(time.Millisecond), r.Failed, r.CommittedTxns, r.AbortedTxns, r.Copied, r.Read, r.Repeated, r.Assignments)
	for _, kind := range []Kind{Retriable, Abortable, Unexpected, Told} {
		for _, text := range slices.Sorted(maps.Keys(r.Errors[kind])) {
			fmt.Fprintf(&s, "\n  %s %dx %s", kind, r.Errors[kind][text], text)
		}
	}
	return s.String()
}
