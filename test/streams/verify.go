package streams

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/wadi-log/wadi/test/harness"
)

// History is all that was seen of a run that ended. The topics have as many
// partitions each; those of the flights hold flight n at offset n/partitions of partition
// n%partitions.
type History struct {
	Flights []harness.Flight
	// Regrouped, Totals and Changelog are the committed records of the repartition topic, of
	// the result and of the store's changelog, by partition.
	Regrouped, Totals, Changelog [][]Record
	// Commits are the different offsets that the group was seen to have committed.
	Commits []CommittedOffset
}

// CommittedOffset is where the application stood in a partition that it reads, and
// what had been readable of what it writes just before it was asked for that.
type CommittedOffset struct {
	// Source: a partition of the flights; otherwise of the repartition topic.
	Source    bool
	Partition int32
	Offset    int64
	// Stable are the last stable offsets of what is made from the partition: of all
	// partitions of the repartition topic where Source is set, otherwise of the totals' same partition.
	Stable []int64
}

// Verify returns what is wrong. These hold when every flight is processed exactly
// once, whatever dies:
//
//  1. Each flight was regrouped once, in the order of its partition.
//  2. The n-th of the totals of a partition is that of its n-th regrouped flight: the count of its distance grows by
//     one, the sum by its delay. So after n of them the counts of all distances add up to n.
//  3. The changelog has the same records, and its transactions end between the same of them:
//     after each commit, the store is what the totals say.
//  4. Wherever the group's offset in a partition of the repartition topic was seen, it lay after n regrouped flights, and
//     a transaction ended between the n-th of the totals and the next: at each commit the counts add up to
//     what was read. Likewise for the flights and what was regrouped of them.
//  5. What could be read was committed with the offset of what it was made from: the totals below the last
//     stable offset are never more than what an offset asked for later has covered.
//  6. Committed offsets don't go back, and in the end cover everything.
func (h *History) Verify() error {
	return errors.Join(h.regrouped(), h.totals(), h.changelog(), h.commits())
}

// number reads a flight's number from the field of a value.
func (h *History) number(r Record, value string) (int, error) {
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 || n >= len(h.Flights) {
		return 0, fmt.Errorf("offset %d: %q names no flight", r.Offset, r.Value)
	}
	if want := strconv.Itoa(h.Flights[n].Distance); r.Key != want {
		return 0, fmt.Errorf("offset %d: flight %d has the key %s, want %s", r.Offset, n, r.Key, want)
	}
	return n, nil
}

// numbers returns the flights that the records of the repartition topic are.
func (h *History) numbers(partition int) ([]int, error) {
	numbers := make([]int, len(h.Regrouped[partition]))
	for i, r := range h.Regrouped[partition] {
		var n int
		if _, err := fmt.Sscan(r.Value, &n); err != nil {
			return nil, fmt.Errorf("repartition topic, partition %d, offset %d: %q: %w", partition, r.Offset, r.Value, err)
		}
		var err error
		if numbers[i], err = h.number(r, strconv.Itoa(n)); err != nil {
			return nil, fmt.Errorf("repartition topic, partition %d, %w", partition, err)
		}
	}
	return numbers, nil
}

func (h *History) regrouped() error {
	partitions := len(h.Regrouped)
	seen := make([]bool, len(h.Flights))
	for p := range h.Regrouped {
		numbers, err := h.numbers(p)
		if err != nil {
			return err
		}
		last := map[int]int{} // by partition of the flights
		for _, n := range numbers {
			if seen[n] {
				return fmt.Errorf("flight %d was regrouped twice", n)
			}
			seen[n] = true
			if previous, ok := last[n%partitions]; ok && previous > n {
				return fmt.Errorf("flight %d was regrouped after flight %d", n, previous)
			}
			last[n%partitions] = n
		}
	}
	for n := range seen {
		if !seen[n] {
			return fmt.Errorf("flight %d was not regrouped", n)
		}
	}
	return nil
}

func (h *History) totals() error {
	for p := range h.Totals {
		numbers, err := h.numbers(p)
		if err != nil {
			return err
		}
		type total struct{ count, delays int }
		totals := map[string]total{}
		for i, r := range h.Totals[p] {
			if i == len(numbers) {
				return fmt.Errorf("totals, partition %d: %d records, but only %d regrouped", p, len(h.Totals[p]), len(numbers))
			}
			var got total
			var last string
			if _, err := fmt.Sscan(r.Value, &got.count, &got.delays, &last); err != nil {
				return fmt.Errorf("totals, partition %d, offset %d: %q: %w", p, r.Offset, r.Value, err)
			}
			n, err := h.number(r, last)
			if err != nil {
				return fmt.Errorf("totals, partition %d, %w", p, err)
			}
			if n != numbers[i] {
				return fmt.Errorf("totals, partition %d, offset %d: flight %d where %d was due", p, r.Offset, n, numbers[i])
			}
			want := totals[r.Key]
			want.count++
			want.delays += h.Flights[n].Delay
			if got != want {
				return fmt.Errorf("totals, partition %d, offset %d: key %s has %d flights and %d minutes, want %d and %d",
					p, r.Offset, r.Key, got.count, got.delays, want.count, want.delays)
			}
			totals[r.Key] = got
		}
		if len(h.Totals[p]) < len(numbers) {
			return fmt.Errorf("totals, partition %d: %d records of %d", p, len(h.Totals[p]), len(numbers))
		}
	}
	return nil
}

func (h *History) changelog() error {
	for p := range h.Changelog {
		totals, changelog := h.Totals[p], h.Changelog[p]
		if len(totals) != len(changelog) {
			return fmt.Errorf("partition %d: %d totals and %d changes of the store", p, len(totals), len(changelog))
		}
		for i, r := range changelog {
			switch t := totals[i]; {
			case t.Key != r.Key || t.Value != r.Value || t.ProducerID != r.ProducerID:
				return fmt.Errorf("partition %d: the totals have %v where the changelog has %v", p, t, r)
			case i > 0 && (t.End == totals[i-1].End) != (r.End == changelog[i-1].End):
				return fmt.Errorf("partition %d: transactions end between other totals than changes: %v follows %v, and %v %v",
					p, t, totals[i-1], r, changelog[i-1])
			}
		}
	}
	return nil
}

func (h *History) commits() error {
	numbers := make([][]int, len(h.Regrouped))
	for p := range numbers {
		var err error
		if numbers[p], err = h.numbers(p); err != nil {
			return err
		}
	}
	type key struct {
		source    bool
		partition int32
	}
	last := map[key]int64{}
	for _, c := range h.Commits {
		k := key{c.Source, c.Partition}
		if c.Offset < last[k] {
			return fmt.Errorf("%v: the group's offset went back from %d", c, last[k])
		}
		last[k] = c.Offset
		if err := h.commit(c, numbers); err != nil {
			return fmt.Errorf("%v: %w", c, err)
		}
	}
	for p, regrouped := range h.Regrouped {
		source, read := last[key{true, int32(p)}], below(regrouped, last[key{false, int32(p)}])
		if all := (len(h.Flights) - p + len(h.Regrouped) - 1) / len(h.Regrouped); source != int64(all) || read != len(regrouped) {
			return fmt.Errorf("partition %d: in the end %d of %d flights and %d of %d regrouped ones were committed as read",
				p, source, all, read, len(regrouped))
		}
	}
	return nil
}

// commit checks one offset. The numbers are those of the regrouped flights, by partition.
func (h *History) commit(c CommittedOffset, numbers [][]int) error {
	if !c.Source {
		made := h.Totals[c.Partition]
		n := below(h.Regrouped[c.Partition], c.Offset)
		if stable := below(made, c.Stable[0]); stable > n {
			return fmt.Errorf("%d totals could be read when %d flights were committed as read", stable, n)
		}
		return between(made, min(n, len(made))-1, min(n, len(made)))
	}
	partitions := int64(len(h.Regrouped))
	for p, made := range h.Regrouped {
		before, after := -1, len(made) // the last that was made of what lies before the offset, the first after it
		for i, n := range numbers[p] {
			switch {
			case int64(n)%partitions != int64(c.Partition):
			case int64(n)/partitions < c.Offset:
				before = i
			case after == len(made):
				after = i
			}
		}
		if after < len(made) && made[after].Offset < c.Stable[p] {
			return fmt.Errorf("regrouped partition %d: offset %d could be read, and was made from what lies after it", p, made[after].Offset)
		}
		if err := between(made, before, after); err != nil {
			return fmt.Errorf("regrouped partition %d: %w", p, err)
		}
	}
	return nil
}

// between wants a transaction to end between two records, of which the first may be before
// all and the second after all.
func between(records []Record, before, after int) error {
	if before >= 0 && after < len(records) && records[before].End == records[after].End {
		return fmt.Errorf("offsets %d and %d, one made from what lies before it and one from what lies after it, came with one transaction",
			records[before].Offset, records[after].Offset)
	}
	return nil
}
