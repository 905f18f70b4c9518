package group

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/wadi-log/wadi/cmd/wadi/internal/bootstrap"
)

// selection is the partitions that --topic names, by topic; nil is all
// partitions of it.
type selection map[string][]int32

// completeTopicFlag completes topics in --topic.
func completeTopicFlag(cmd *cobra.Command, connection *bootstrap.Flags) {
	if err := cmd.RegisterFlagCompletionFunc("topic", connection.CompleteTopics(0)); err != nil {
		panic(err) // the flag is part of the command
	}
}

// parseSelection reads the values of --topic: orders, or orders:0-3,7. A topic
// may come more than once.
func parseSelection(texts []string) (selection, error) {
	s := selection{}
	for _, text := range texts {
		topic, list, some := strings.Cut(text, ":")
		if topic == "" {
			return nil, fmt.Errorf("--topic %q: want a topic, or a topic with partitions, as in orders:0-3,7", text)
		}
		have, named := s[topic]
		if !some || named && have == nil {
			s[topic] = nil
			continue
		}
		for _, piece := range strings.Split(list, ",") {
			numbers, err := parseRange(piece)
			if err != nil {
				return nil, fmt.Errorf("--topic %q: %w", text, err)
			}
			have = append(have, numbers...)
		}
		slices.Sort(have)
		s[topic] = slices.Compact(have)
	}
	return s, nil
}

// maxRange bounds what a typing error in a range can do.
const maxRange = 1_000_000

// parseRange reads 3, or 0-3, which includes both.
func parseRange(text string) ([]int32, error) {
	first, last, isRange := strings.Cut(text, "-")
	if !isRange {
		last = first
	}
	from, err := strconv.ParseInt(first, 10, 32)
	to, err2 := strconv.ParseInt(last, 10, 32)
	if err != nil || err2 != nil || from < 0 || to < from || to-from >= maxRange {
		return nil, fmt.Errorf("%q is no partition; want numbers, as in orders:0-3,7", text)
	}
	var numbers []int32
	for n := from; n <= to; n++ {
		numbers = append(numbers, int32(n))
	}
	return numbers, nil
}

// partitions returns the selected partitions as they exist, by topic and
// number. One that does not exist is an error.
func (s selection) partitions(client *bootstrap.Client, l logs) ([]partition, error) {
	var found []partition
	var missing []error
	for topic, numbers := range s {
		detail, ok := l.topics[topic]
		if !ok {
			missing = append(missing, client.Explain("topic "+topic, kerr.UnknownTopicOrPartition, ""))
			continue
		}
		if numbers == nil {
			numbers = detail.Partitions.Numbers()
		}
		for _, n := range numbers {
			if _, ok := detail.Partitions[n]; !ok {
				missing = append(missing, fmt.Errorf("topic %s has no partition %d; see wadi topic describe %s", topic, n, topic))
				continue
			}
			found = append(found, partition{topic, n})
		}
	}
	slices.SortFunc(found, comparePartitions)
	slices.SortFunc(missing, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return found, errors.Join(missing...)
}

// names returns the topics, sorted.
func (s selection) names() []string {
	set := map[string]bool{}
	for topic := range s {
		set[topic] = true
	}
	return sortedKeys(set)
}
