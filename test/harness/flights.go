package harness

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// Flight is a record of the data set that our tests take for real input,
// numbered in its order.
type Flight struct {
	Number   int     `json:"number"`
	Delay    int     `json:"delay"`    // in minutes
	Distance int     `json:"distance"` // in miles; there are some 1,100
	Time     float64 `json:"time"`     // hour of the day
}

// Flights returns the flights of the npm package vega-datasets, at least
// 200,000. They are shared: don't change them.
func Flights(t testing.TB) []Flight {
	t.Helper()
	all, err := loadFlights()
	if err != nil {
		Missing(t, "the flights data set", err)
	}
	if len(all) < 200_000 {
		t.Fatalf("the data set has %d flights, want at least 200,000", len(all))
	}
	return all
}

var loadFlights = sync.OnceValues(func() ([]Flight, error) {
	archive, err := Dataset("vega-datasets-3.2.1.tgz")
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
		var flights []Flight
		if err := json.NewDecoder(members).Decode(&flights); err != nil {
			return nil, err
		}
		for i := range flights {
			flights[i].Number = i
		}
		return flights, nil
	}
})
