package txncheck

import "fmt"

// Rule names what a history must keep to; the package comment explains each.
type Rule string

// The rules.
const (
	Gap       Rule = "gap"
	Order     Rule = "order"
	Lost      Rule = "lost"
	Foreign   Rule = "foreign"
	Marker    Rule = "marker"
	Mixed     Rule = "mixed"
	Undecided Rule = "undecided"
	Torn      Rule = "torn"
	Broken    Rule = "broken"
	Unfenced  Rule = "unfenced"

	Leak    Rule = "leak"
	Skipped Rule = "skipped"
	Early   Rule = "early"

	Backwards Rule = "backwards"
	Stale     Rule = "stale"
	Unstable  Rule = "unstable"
	Partial   Rule = "partial"

	Repeated Rule = "repeated"
	Missing  Rule = "missing"
	Ahead    Rule = "ahead"
)

// Problem is a rule that was broken.
type Problem struct {
	Rule Rule
	Text string
}

func (p Problem) String() string { return string(p.Rule) + ": " + p.Text }

// String is the partition in problems.
func (p Partition) String() string { return fmt.Sprintf("%s-%d", p.Topic, p.Number) }

// problemsOfRule bounds how many problems of one rule are described: a broken log breaks it a million times.
const problemsOfRule = 20

// Verify returns what is wrong with a history, nothing if it is right. Of the problems
// of one rule it describes the first few.
func Verify(h History) []Problem {
	v := &verifier{History: h, counts: map[Rule]int{}}
	for _, fault := range h.Faults {
		v.report(fault.Rule, "%s", fault.Text)
	}
	v.checkLog()
	v.checkFates()
	v.checkReads()
	v.checkWatermarks()
	v.checkGroup()
	for rule, n := range v.counts {
		if n > problemsOfRule {
			v.problems = append(v.problems, Problem{rule, fmt.Sprintf("and %d more", n-problemsOfRule)})
		}
	}
	return v.problems
}

// verifier is a history with what the log says of it.
type verifier struct {
	History
	problems []Problem
	counts   map[Rule]int
	// spots[p] are the transactions in partition p, by the first offset of each.
	spots [][]spot
	// outcome[t] is what the first marker of transaction t says: Unknown for none.
	outcome []Fate
}

// spot is a transaction in a partition.
type spot struct {
	txn         int32
	first, last int64 // of its records
	marker      int64 // offset of its marker, noMarker for none
	outcome     Fate
}

// noMarker is beyond any offset.
const noMarker = int64(Never)

func (v *verifier) report(rule Rule, format string, args ...any) {
	v.counts[rule]++
	if v.counts[rule] <= problemsOfRule {
		v.problems = append(v.problems, Problem{rule, fmt.Sprintf(format, args...)})
	}
}

// describe is a transaction in problems.
func (v *verifier) describe(txn int32) string {
	t := &v.Txns[txn]
	return fmt.Sprintf("transaction %d of %s (told %v)", txn, t.Writer, t.Fate)
}

// describeEntry is what lies at an offset in problems.
func (v *verifier) describeEntry(e Entry) string {
	if e.Kind != Data || !v.known(e.Record) {
		return fmt.Sprintf("%+v", e)
	}
	return fmt.Sprintf("record %v of %s, outcome %v", e.Record, v.describe(e.Record.Txn), v.outcome[e.Record.Txn])
}

// mayCommit is false for transactions that surely were not committed: no commit was
// sent, or only by a producer that had been fenced.
func (t *Txn) mayCommit() bool { return t.SentCommit && t.Fenced >= t.Ending }

// completed is a moment at which the transaction had surely ended, also for who asks elsewhere.
func (v *verifier) completed(txn int32) Moment {
	t := &v.Txns[txn]
	if v.Strict {
		return min(t.Ended, t.Superseded)
	}
	return t.Superseded
}

// committed tells whether what lies at an offset is part of the committed records.
func (v *verifier) committed(e Entry) bool {
	return e.Kind == Data && v.known(e.Record) && (!v.Txns[e.Record.Txn].Transactional || v.outcome[e.Record.Txn] == Committed)
}

// known tells whether there was such a record.
func (v *verifier) known(id RecordID) bool {
	return id.Txn >= 0 && int(id.Txn) < len(v.Txns) && id.Seq >= 0 && int(id.Seq) < len(v.Txns[id.Txn].Records)
}
