package chart

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func testTable() *Table {
	t := &Table{X: "seconds", Columns: []string{"rows", "MB"}}
	for i := range 20 {
		t.Rows = append(t.Rows, Row{X: 1.5 * float64(i), Values: []float64{float64(i), 0.5}})
	}
	return t
}

func TestTableAsCSV(t *testing.T) {
	var out bytes.Buffer
	if err := testTable().WriteCSV(&out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\n")
	if len(lines) != 22 || lines[0] != "seconds,rows,MB" || lines[1] != "0,0,0.5" || lines[20] != "28.5,19,0.5" {
		t.Errorf("%d lines: %q", len(lines), lines)
	}
}

func TestMeansOfParts(t *testing.T) {
	table := testTable()
	for _, test := range []struct{ from, to, want float64 }{{0, 1, 9.5}, {0, 0.5, 4.5}, {0.5, 1, 14.5}, {0, 0, 0}, {0.99, 1, 19}} {
		if got := table.Between("rows", test.from, test.to); got != test.want {
			t.Errorf("mean from %v to %v is %v, want %v", test.from, test.to, got, test.want)
		}
	}
}

func TestTableAsPicture(t *testing.T) {
	for _, test := range []struct {
		name    string
		picture Picture
		words   []string
	}{
		{"axis by itself", Picture{XLabel: "seconds"}, []string{"seconds", "25"}},
		{"other unit", Picture{XLabel: "minutes", XUnit: 60}, []string{"minutes", "0.2"}},
		{"chosen ticks", Picture{XLabel: "seconds", XTicks: []float64{3, 28.5}}, []string{"28.5"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.picture.Panels = []Panel{{"first", []string{"rows"}}, {"second", []string{"rows", "MB"}}}
			var out bytes.Buffer
			if err := testTable().WriteSVG(&out, test.picture); err != nil {
				t.Fatal(err)
			}
			for _, word := range append(test.words, "first", "second", "rows", "MB") {
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
		})
	}
}

func TestTableIsSaved(t *testing.T) {
	folder := t.TempDir()
	if err := testTable().Save(folder, "it", Picture{Panels: []Panel{{"all", []string{"rows"}}}}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"it.csv", "it.svg"} {
		if info, err := os.Stat(filepath.Join(folder, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if err := testTable().Save(filepath.Join(folder, "missing"), "it", Picture{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("into a folder that isn't there: %v", err)
	}
}
