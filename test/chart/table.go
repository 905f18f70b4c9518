// Package chart keeps measurements in tables, writes them as CSV and draws them: what
// `make soak` and `make scale` leave in docs. What was measured it does not know.
package chart

import (
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strconv"
)

// Table are measurements over one thing that varies, such as time.
type Table struct {
	// X names what varies, with its unit where it has one.
	X string
	// Columns name what is measured, likewise.
	Columns []string
	Rows    []Row
}

// Row is what was measured at one X.
type Row struct {
	X float64
	// Values are as many as there are columns.
	Values []float64
}

// Values returns those of a column, and panics if there is no such column.
func (t *Table) Values(column string) []float64 {
	i := slices.Index(t.Columns, column)
	if i < 0 {
		panic(fmt.Sprintf("no column %q in %q", column, t.Columns))
	}
	values := make([]float64, len(t.Rows))
	for k, row := range t.Rows {
		values[k] = row.Values[i]
	}
	return values
}

// Between returns the mean of a column from one part of the rows to another (0 is the start, 1 the end).
func (t *Table) Between(column string, from, to float64) float64 {
	values := t.Values(column)
	some := values[int(from*float64(len(values))):max(int(from*float64(len(values)))+1, int(to*float64(len(values))))]
	sum := 0.0
	for _, v := range some {
		sum += v
	}
	return sum / float64(len(some))
}

// WriteCSV writes a line for each row, its X first, below one with the names.
func (t *Table) WriteCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	line := append([]string{t.X}, t.Columns...)
	if err := out.Write(line); err != nil {
		return err
	}
	for _, row := range t.Rows {
		line[0] = strconv.FormatFloat(row.X, 'f', -1, 64)
		for i, v := range row.Values {
			line[i+1] = strconv.FormatFloat(v, 'f', -1, 64)
		}
		if err := out.Write(line); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}
