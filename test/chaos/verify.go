package chaos

import "fmt"

// Rule names what a history must keep to; the package comment explains each.
type Rule string

// The rules.
const (
	Lost      Rule = "lost"
	Doubled   Rule = "doubled"
	Reordered Rule = "reordered"
	Foreign   Rule = "foreign"
	Skipped   Rule = "skipped"
	Changed   Rule = "changed"
	Fatal     Rule = "fatal"
)

// Problem is a rule that was broken.
type Problem struct {
	Rule Rule
	Text string
}

func (p Problem) String() string { return string(p.Rule) + ": " + p.Text }

// problemsOfRule bounds how many problems of one rule are described: a lost partition breaks it a thousand times.
const problemsOfRule = 20

// Verify returns what is wrong with a history, nothing if it is right. Of the problems of one rule it describes the first few.
func Verify(h History) []Problem {
	v := &verifier{History: h, counts: map[Rule]int{}}
	for _, world := range h.Worlds {
		v.checkInput(world)
		if world.Transforms {
			v.checkOutput(world)
		}
		for _, topic := range world.Topics() {
			v.checkWatched(topic)
			v.checkReaders(world, topic)
		}
	}
	for _, e := range h.Events {
		if e.Kind == Unexpected {
			v.report(Fatal, "%s: %s", e.Who, e.Text)
		}
	}
	for _, rule := range []Rule{Lost, Doubled, Reordered, Foreign, Skipped, Changed, Fatal} {
		if n := v.counts[rule]; n > problemsOfRule {
			v.problems = append(v.problems, Problem{rule, fmt.Sprintf("and %d more", n-problemsOfRule)})
		}
	}
	return v.problems
}

type verifier struct {
	History
	problems []Problem
	counts   map[Rule]int
}

func (v *verifier) report(rule Rule, format string, args ...any) {
	v.counts[rule]++
	if v.counts[rule] <= problemsOfRule {
		v.problems = append(v.problems, Problem{rule, fmt.Sprintf(format, args...)})
	}
}

// place is where a record lies.
type place struct {
	partition int32
	offset    int64
}

func (p place) String() string { return fmt.Sprintf("partition %d, offset %d", p.partition, p.offset) }

// numbered is a record of a producer.
type numbered struct {
	producer string
	number   int64
}

// checkInput compares what producers said with what lies in the input.
func (v *verifier) checkInput(world World) {
	sent, failed := map[string]int64{}, map[numbered]bool{}
	for _, e := range v.Events {
		switch {
		case !world.has(e.Who):
		case e.Kind == Sent:
			sent[e.Who] = e.Number
		case e.Kind == Failed:
			failed[numbered{e.Who, e.Number}] = true
		}
	}
	lies := map[numbered]place{}
	for p, log := range v.Log[world.Input()] {
		last := map[string]int64{}
		for _, r := range log {
			at := place{int32(p), r.Offset}
			producer, n, err := parseValue(r.Value)
			if err != nil || n >= sent[producer] {
				v.report(Foreign, "%s, %v: %.60q, which nobody sent", world.Input(), at, r.Value)
				continue
			}
			id := numbered{producer, n}
			if before, twice := lies[id]; twice {
				v.report(Doubled, "%s: record %d of %s lies at %v and at %v", world.Input(), n, producer, before, at)
				continue
			}
			lies[id] = at
			if before, ok := last[producer]; ok && before > n {
				v.report(Reordered, "%s, %v: record %d of %s lies behind its record %d", world.Input(), at, n, producer, before)
			}
			last[producer] = max(n, last[producer])
		}
	}
	for _, e := range v.Events {
		if !world.has(e.Who) || e.Kind != Acked {
			continue
		}
		at, ok := lies[numbered{e.Who, e.Number}]
		if want := (place{e.Partition, e.Offset}); ok && at != want {
			v.report(Lost, "%s: record %d of %s was acknowledged at %v, and lies at %v", world.Input(), e.Number, e.Who, want, at)
		}
	}
	for producer, count := range sent {
		for n := range count {
			id := numbered{producer, n}
			if _, ok := lies[id]; !ok && !failed[id] {
				v.report(Lost, "%s: record %d of %s is not there", world.Input(), n, producer)
			}
		}
	}
}

// checkOutput compares the committed output with the input that it was made of.
func (v *verifier) checkOutput(world World) {
	for p, log := range v.Log[world.Output()] {
		input := v.Log[world.Input()][p]
		where := make(map[string]int, len(input))
		for i, r := range input {
			where[r.Value] = i
		}
		copies, last := make([]int, len(input)), -1
		for _, r := range log {
			at := place{int32(p), r.Offset}
			i, ok := where[r.Value]
			switch {
			case !ok:
				v.report(Foreign, "%s, %v: %.60q, which is not in the input", world.Output(), at, r.Value)
				continue
			case copies[i] > 0:
				v.report(Doubled, "%s, %v: the input at offset %d once more", world.Output(), at, input[i].Offset)
			case i < last:
				v.report(Reordered, "%s, %v: the input at offset %d, behind that at %d", world.Output(), at, input[i].Offset, input[last].Offset)
			}
			copies[i]++
			last = max(i, last)
		}
		for i, n := range copies {
			if n == 0 {
				v.report(Lost, "%s: the input at %v is not in it", world.Output(), place{int32(p), input[i].Offset})
			}
		}
	}
}

// checkWatched compares what the observer read with what lies there in the end.
func (v *verifier) checkWatched(topic string) {
	for p, log := range v.Log[topic] {
		var watched []Record
		if p < len(v.Watched[topic]) {
			watched = v.Watched[topic][p]
		}
		for i := range max(len(log), len(watched)) {
			switch {
			case i >= len(log):
				v.report(Lost, "%s: %v was read, and is gone", topic, place{int32(p), watched[i].Offset})
			case i >= len(watched):
				v.report(Skipped, "%s: the observer did not get %v", topic, place{int32(p), log[i].Offset})
			case log[i] != watched[i]:
				v.report(Changed, "%s, %v: the observer read %.60q at offset %d, where %.60q is", topic, place{int32(p), log[i].Offset},
					watched[i].Value, watched[i].Offset, log[i].Value)
			default:
				continue
			}
			break // what comes behind it is moved
		}
	}
}
