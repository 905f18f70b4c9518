package soak

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"time"
)

// Series are measurements over time.
type Series struct {
	// Columns name what is measured, with its unit where it has one.
	Columns []string
	Samples []Sample
}

// Sample is what was measured at one time.
type Sample struct {
	At time.Duration // since the start
	// Values are as many as there are columns.
	Values []float64
}

// Values returns those of a column, and panics if there is no such column.
func (s *Series) Values(column string) []float64 {
	values := make([]float64, len(s.Samples))
	for i, sample := range s.Samples {
		values[i] = sample.Values[s.column(column)]
	}
	return values
}

func (s *Series) column(name string) int {
	for i, column := range s.Columns {
		if column == name {
			return i
		}
	}
	panic(fmt.Sprintf("no column %q in %q", name, s.Columns))
}

// Between returns the mean of a column from one part of the time to another (0 is the start, 1 the end).
func (s *Series) Between(column string, from, to float64) float64 {
	values := s.Values(column)
	some := values[int(from*float64(len(values))):max(int(from*float64(len(values)))+1, int(to*float64(len(values))))]
	sum := 0.0
	for _, v := range some {
		sum += v
	}
	return sum / float64(len(some))
}

// WriteCSV writes a line for each sample, with the seconds since the start first.
func (s *Series) WriteCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	line := append([]string{"seconds"}, s.Columns...)
	if err := out.Write(line); err != nil {
		return err
	}
	for _, sample := range s.Samples {
		line[0] = strconv.FormatFloat(sample.At.Seconds(), 'f', 1, 64)
		for i, v := range sample.Values {
			line[i+1] = strconv.FormatFloat(v, 'f', -1, 64)
		}
		if err := out.Write(line); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}
