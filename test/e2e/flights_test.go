package e2e

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/wadi-log/wadi/test/harness"
)

// flight is one record of the data set, numbered in the order it is produced.
type flight struct {
	Number   int     `json:"number"`
	Delay    float64 `json:"delay"`
	Distance int     `json:"distance"`
	Time     float64 `json:"time"`
}

// key groups the flights: some 1,400 distances over 12 partitions.
func (f flight) key() string { return strconv.Itoa(f.Distance) }

var loadFlights = sync.OnceValues(func() ([]flight, error) {
	archive, err := harness.Dataset("vega-datasets-3.2.1.tgz")
	if err != nil {
		return nil, err
	}
	file, err := os.Open(archive)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // nothing was written to it
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		return nil, err
	}
	for members := tar.NewReader(unzipped); ; {
		header, err := members.Next()
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%s holds no flights-200k.json", archive)
		}
		if err != nil {
			return nil, err
		}
		if filepath.Base(header.Name) != "flights-200k.json" {
			continue
		}
		var flights []flight
		if err := json.NewDecoder(members).Decode(&flights); err != nil {
			return nil, err
		}
		for i := range flights {
			flights[i].Number = i
		}
		return flights, nil
	}
})

// flights returns all flights of the data set.
func flights(t testing.TB) []flight {
	t.Helper()
	all, err := loadFlights()
	if err != nil {
		harness.Missing(t, "the flights data set", err)
	}
	if len(all) < 200_000 {
		t.Fatalf("the data set has %d flights, want at least 200,000", len(all))
	}
	return all
}

// flightsFile writes the flights as "key<TAB>json" lines, for command-line producers.
func flightsFile(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "flights.tsv")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriter(file)
	for _, f := range flights(t) {
		value, err := json.Marshal(f)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintf(w, "%s\t%s\n", f.key(), value); err != nil {
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
	want := flights(t)
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
		var f flight
		if err := json.Unmarshal([]byte(r.value), &f); err != nil {
			t.Fatalf("partition %d offset %d: value %q: %v", r.partition, r.offset, r.value, err)
		}
		switch previous, known := lastOfKey[r.key]; {
		case f.Number >= len(want) || f != want[f.Number] || r.key != f.key():
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
