package soak

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

func testSeries() *Series {
	s := &Series{Columns: []string{"rows", "MB"}}
	for i := range 20 {
		s.Samples = append(s.Samples, Sample{At: time.Duration(i) * 1500 * time.Millisecond, Values: []float64{float64(i), 0.5}})
	}
	return s
}

func TestSeriesAsTable(t *testing.T) {
	var out bytes.Buffer
	if err := testSeries().WriteCSV(&out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\n")
	if len(lines) != 22 || lines[0] != "seconds,rows,MB" || lines[1] != "0.0,0,0.5" || lines[20] != "28.5,19,0.5" {
		t.Errorf("%d lines: %q", len(lines), lines)
	}
}

func TestMeansOfParts(t *testing.T) {
	s := testSeries()
	for _, test := range []struct{ from, to, want float64 }{{0, 1, 9.5}, {0, 0.5, 4.5}, {0.5, 1, 14.5}, {0, 0, 0}, {0.99, 1, 19}} {
		if got := s.Between("rows", test.from, test.to); got != test.want {
			t.Errorf("mean from %v to %v is %v, want %v", test.from, test.to, got, test.want)
		}
	}
}

func TestSeriesAsPicture(t *testing.T) {
	var out bytes.Buffer
	if err := testSeries().WriteSVG(&out, []Panel{{"first", []string{"rows"}}, {"second", []string{"rows", "MB"}}}); err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"first", "second", "rows", "MB", "minutes"} {
		if !strings.Contains(out.String(), ">"+word+"</text>") {
			t.Errorf("the picture doesn't show %q", word)
		}
	}
	decoder := xml.NewDecoder(&out)
	for {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
