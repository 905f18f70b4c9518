package streams

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/wadi-log/wadi/test/harness"
)

// sampleHistory is a run as it should be: 8 flights in 2 partitions, of which a
// transaction took the first half and another one the rest, at each step.
func sampleHistory(t *testing.T) *History {
	t.Helper()
	h := &History{}
	for n, distance := range []int{100, 200, 200, 100, 300, 400, 100, 200} {
		h.Flights = append(h.Flights, harness.Flight{Number: n, Distance: distance, Delay: 10 * n})
	}
	regrouped := func(n int) Entry {
		f := h.Flights[n]
		return Entry{Key: strconv.Itoa(f.Distance), Value: fmt.Sprint(n, f.Distance, f.Delay)}
	}
	total := func(n int, value string) Entry {
		return Entry{Key: strconv.Itoa(h.Flights[n].Distance), Value: value}
	}
	end := Entry{Marker: Commit}
	log := func(producer int64, entries ...Entry) []Record {
		for i := range entries {
			entries[i].Offset, entries[i].ProducerID = int64(i), producer
		}
		records, aborted, err := committed(entries)
		if err != nil || aborted != 0 {
			t.Fatal(aborted, err)
		}
		return records
	}
	h.Regrouped = [][]Record{
		log(1, regrouped(0), regrouped(3), end, regrouped(4), regrouped(6), end),
		log(1, regrouped(1), regrouped(2), end, regrouped(5), regrouped(7), end),
	}
	totals := func() [][]Record {
		return [][]Record{
			log(2, total(0, "1 0 0"), total(3, "2 30 3"), end, total(4, "1 40 4"), total(6, "3 90 6"), end),
			log(3, total(1, "1 10 1"), total(2, "2 30 2"), end, total(5, "1 50 5"), total(7, "3 100 7"), end),
		}
	}
	h.Totals, h.Changelog = totals(), totals()
	h.Commits = []CommittedOffset{
		{Source: true, Partition: 0, Offset: 2, Stable: []int64{3, 3}},
		{Source: true, Partition: 1, Offset: 2, Stable: []int64{3, 3}},
		{Partition: 0, Offset: 3, Stable: []int64{0}},
		{Partition: 1, Offset: 2, Stable: []int64{3}},
		{Source: true, Partition: 0, Offset: 4, Stable: []int64{6, 6}},
		{Source: true, Partition: 1, Offset: 4, Stable: []int64{6, 6}},
		{Partition: 0, Offset: 6, Stable: []int64{6}},
		{Partition: 1, Offset: 5, Stable: []int64{6}},
	}
	return h
}

// TestVerifyNoticesWhatIsWrong breaks a history in one place at a time.
func TestVerifyNoticesWhatIsWrong(t *testing.T) {
	if err := sampleHistory(t).Verify(); err != nil {
		t.Fatalf("a history as it should be: %v", err)
	}
	for _, test := range []struct {
		name    string
		tamper  func(h *History)
		problem string
	}{
		{"a flight is lost on the way", func(h *History) { h.Regrouped[0] = h.Regrouped[0][:3] }, "flight 6 was not regrouped"},
		{"a flight is regrouped twice", func(h *History) { h.Regrouped[0] = append(h.Regrouped[0], h.Regrouped[0][3]) }, "flight 6 was regrouped twice"},
		{"flights change places", func(h *History) {
			h.Regrouped[0][2].Value, h.Regrouped[0][3].Value = "6 100 60", "4 300 40"
			h.Regrouped[0][2].Key, h.Regrouped[0][3].Key = "100", "300"
		}, "flight 4 was regrouped after flight 6"},
		{"a flight gets another key", func(h *History) { h.Regrouped[0][0].Key = "101" }, "flight 0 has the key 101"},
		{"a total is repeated", func(h *History) {
			h.Totals[0] = slices.Insert(h.Totals[0], 1, h.Totals[0][0])
			h.Changelog[0] = slices.Insert(h.Changelog[0], 1, h.Changelog[0][0])
		}, "flight 0 where 3 was due"},
		{"a total is missing", func(h *History) { h.Totals[0], h.Changelog[0] = h.Totals[0][:3], h.Changelog[0][:3] }, "3 records of 4"},
		{"there is one total more", func(h *History) {
			h.Totals[0], h.Changelog[0] = append(h.Totals[0], h.Totals[0][3]), append(h.Changelog[0], h.Changelog[0][3])
		}, "but only 4 regrouped"},
		{"a count skips a number", func(h *History) { h.Totals[0][1].Value, h.Changelog[0][1].Value = "3 30 3", "3 30 3" }, "want 2 and 30"},
		{"a delay is added twice", func(h *History) { h.Totals[1][1].Value, h.Changelog[1][1].Value = "2 50 2", "2 50 2" }, "want 2 and 30"},
		{"the store says something else", func(h *History) { h.Changelog[1][1].Value = "2 31 2" }, "where the changelog has"},
		{"a change of the store is lost", func(h *History) { h.Changelog[1] = h.Changelog[1][:3] }, "4 totals and 3 changes"},
		{"another producer changed the store", func(h *History) { h.Changelog[1][3].ProducerID = 9 }, "where the changelog has"},
		{"the store commits without the totals", func(h *History) { h.Changelog[1][0].End = 1 }, "transactions end between other totals"},
		{"an offset lies in a transaction", func(h *History) { h.Commits[2].Offset = 1 }, "came with one transaction"},
		{"an offset of flights lies in a transaction", func(h *History) { h.Commits[0].Offset, h.Commits[0].Stable = 3, []int64{3, 3} }, "came with one transaction"},
		{"totals are read before they are committed", func(h *History) { h.Commits[2].Stable[0] = 4 }, "3 totals could be read when 2"},
		{"regrouped flights are read before they are committed", func(h *History) { h.Commits[0].Stable[0] = 4 }, "offset 3 could be read"},
		{"an offset goes back", func(h *History) { h.Commits[6], h.Commits[2] = h.Commits[2], h.Commits[6] }, "went back from 6"},
		{"the last offset is not the end", func(h *History) { h.Commits = h.Commits[:7] }, "2 of 4 regrouped ones"},
		{"the last offset of flights is not the end", func(h *History) { h.Commits = slices.Delete(h.Commits, 4, 5) }, "2 of 4 flights"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := sampleHistory(t)
			test.tamper(h)
			if err := h.Verify(); err == nil || !strings.Contains(err.Error(), test.problem) {
				t.Errorf("got %v, want %q", err, test.problem)
			}
		})
	}
}

func TestMarkersDecideWhatCounts(t *testing.T) {
	got, aborted, err := committed([]Entry{
		{0, 7, NoMarker, "k", "aborted"},
		{1, 8, NoMarker, "k", "committed"},
		{2, 7, NoMarker, "k", "aborted too"},
		{3, 7, Abort, "", ""},
		{4, 7, NoMarker, "k", "committed by the next transaction"},
		{5, 8, Commit, "", ""},
		{6, 7, Commit, "", ""},
	})
	want := []Record{{1, 8, "k", "committed", 5}, {4, 7, "k", "committed by the next transaction", 6}}
	if err != nil || aborted != 2 || !slices.Equal(got, want) {
		t.Errorf("got %v, %d aborted, %v; want %v and 2 aborted", got, aborted, err, want)
	}
	for problem, log := range map[string][]Entry{
		"has no end":         {{0, 7, NoMarker, "k", "v"}, {1, 8, Commit, "", ""}},
		"offset 2 follows 0": {{0, 7, NoMarker, "k", "v"}, {2, 7, Commit, "", ""}},
		"has no producer ID": {{0, -1, NoMarker, "k", "v"}},
	} {
		if _, _, err := committed(log); err == nil || !strings.Contains(err.Error(), problem) {
			t.Errorf("got %v, want %q", err, problem)
		}
	}
}
