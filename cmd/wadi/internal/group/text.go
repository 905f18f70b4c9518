package group

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kadm"
)

// orDash is what stands in a table where there is nothing.
func orDash(text string) string { return cmp.Or(text, "-") }

// orUnknown returns the number, or a dash.
func orUnknown[T int32 | int64](n *T) string {
	if n == nil {
		return "-"
	}
	return strconv.FormatInt(int64(*n), 10)
}

// secondsText returns 0, 0.3, 12.3 or -.
func secondsText(seconds *float64) string {
	switch {
	case seconds == nil:
		return "-"
	case *seconds == 0:
		return "0"
	}
	return strconv.FormatFloat(*seconds, 'f', 1, 64)
}

// cell returns text that others chose as one cell of a table: as it is, or
// quoted where it would break the table.
func cell(text string) string {
	if text == "" {
		return "-"
	}
	if text == "-" || !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) || r == '"' }) {
		return strconv.Quote(text)
	}
	return text
}

// assignments returns the set by topic, sorted.
func assignments(set kadm.TopicsSet) []assignment {
	out := []assignment{} // [] in JSON, not null
	for _, topic := range slices.Sorted(maps.Keys(set)) {
		out = append(out, assignment{topic, slices.Sorted(maps.Keys(set[topic]))})
	}
	return out
}

// assignmentText returns "orders:0-3,7 payments:1".
func assignmentText(assigned []assignment) string {
	var texts []string
	for _, a := range assigned {
		texts = append(texts, a.Topic+":"+ranges(a.Partitions))
	}
	return orDash(strings.Join(texts, " "))
}

// partitionsText returns the partitions as assignmentText does.
func partitionsText(partitions []partition) string {
	set := kadm.TopicsSet{}
	for _, p := range partitions {
		set.Add(p.topic, p.partition)
	}
	return assignmentText(assignments(set))
}

// ranges returns sorted numbers as "0-3,7".
func ranges(numbers []int32) string {
	var texts []string
	for i := 0; i < len(numbers); {
		last := i
		for last+1 < len(numbers) && numbers[last+1] == numbers[last]+1 {
			last++
		}
		text := strconv.Itoa(int(numbers[i]))
		if last > i {
			text += "-" + strconv.Itoa(int(numbers[last]))
		}
		texts = append(texts, text)
		i = last + 1
	}
	return strings.Join(texts, ",")
}

func comparePartitions(a, b partition) int {
	return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.partition, b.partition))
}

func sortedPartitions[V any](m map[partition]V) []partition {
	return slices.SortedFunc(maps.Keys(m), comparePartitions)
}

func mark(set map[string]bool, names []string) {
	for _, name := range names {
		set[name] = true
	}
}

func sortedKeys(set map[string]bool) []string { return slices.Sorted(maps.Keys(set)) }
