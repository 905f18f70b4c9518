package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/wadi-log/wadi/test/harness"
)

// key groups the flights: some 1,100 distances over 12 partitions.
func key(f harness.Flight) string { return strconv.Itoa(f.Distance) }

// flightsFile writes the flights as "key<TAB>json" lines, for command-line producers.
func flightsFile(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "flights.tsv")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriter(file)
	for _, f := range harness.Flights(t) {
		value, err := json.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintf(w, "%s\t%s\n", key(f), value); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Flush(), file.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// received is one record as a consumer reported it.
type received struct {
	partition int32
	offset    int64
	key       string
	value     string
}

// parseReceived reads "partition<TAB>offset<TAB>key<TAB>value" lines.
func parseReceived(t testing.TB, output []byte) []received {
	t.Helper()
	var all []received
	for line := range strings.Lines(string(output)) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), "\t", 4)
		if len(fields) != 4 {
			t.Fatalf("consumer printed %q, want four fields", line)
		}
		partition, err1 := strconv.ParseInt(fields[0], 10, 32)
		offset, err2 := strconv.ParseInt(fields[1], 10, 64)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		all = append(all, received{int32(partition), offset, fields[2], fields[3]})
	}
	return all
}

// checkFlights fails the test unless the records are all flights, each once,
// with gapless offsets per partition from 0 and the flights of one key in the order
// they were produced, in one partition.
func checkFlights(t testing.TB, got []received) {
	t.Helper()
	want := harness.Flights(t)
	if len(got) != len(want) {
		t.Errorf("read %d records, produced %d", len(got), len(want))
	}
	type last struct {
		partition int32
		number    int
	}
	seen := make([]bool, len(want))
	lastOfKey := map[string]last{}
	nextOffset := map[int32]int64{}
	for _, r := range got {
		var f harness.Flight
		if err := json.Unmarshal([]byte(r.value), &f); err != nil {
			t.Fatalf("partition %d offset %d: value %q: %v", r.partition, r.offset, r.value, err)
		}
		switch previous, known := lastOfKey[r.key]; {
		case f.Number >= len(want) || f != want[f.Number] || r.key != key(f):
			t.Fatalf("partition %d offset %d holds key %q, %+v: not what was produced", r.partition, r.offset, r.key, f)
		case seen[f.Number]:
			t.Fatalf("flight %d was read twice, again at partition %d offset %d", f.Number, r.partition, r.offset)
		case r.offset != nextOffset[r.partition]:
			t.Fatalf("partition %d: offset %d follows %d", r.partition, r.offset, nextOffset[r.partition]-1)
		case known && previous.partition != r.partition:
			t.Fatalf("key %s lies in partitions %d and %d", r.key, previous.partition, r.partition)
		case known && previous.number > f.Number:
			t.Fatalf("key %s: flight %d was read after flight %d", r.key, f.Number, previous.number)
		}
		seen[f.Number] = true
		lastOfKey[r.key] = last{r.partition, f.Number}
		nextOffset[r.partition] = r.offset + 1
	}
}
