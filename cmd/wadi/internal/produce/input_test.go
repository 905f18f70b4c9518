package produce

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/twmb/franz-go/pkg/kgo"
)

// readAll returns the records as %q-quoted key=value, nil for null.
func readAll(in *input) ([]string, error) {
	quote := func(b []byte) string {
		if b == nil {
			return "nil"
		}
		return fmt.Sprintf("%q", b)
	}
	var all []string
	for {
		it, err := in.next()
		if err != nil {
			return all, err
		}
		all = append(all, quote(it.record.Key)+"="+quote(it.record.Value))
	}
}

func TestLines(t *testing.T) {
	null := "NULL"
	empty := ""
	tests := []struct {
		name   string
		parser lineParser
		text   string
		want   []string
	}{
		{"nothing", lineParser{}, "", nil},
		{"an empty line", lineParser{}, "\n", []string{`nil=""`}},
		{"values", lineParser{}, "a\nb\n", []string{`nil="a"`, `nil="b"`}},
		{"no end", lineParser{}, "a\nb", []string{`nil="a"`, `nil="b"`}},
		{"bytes are left alone", lineParser{}, "a\r\n\xff\x00\n", []string{`nil="a\r"`, `nil="\xff\x00"`}},
		{"keys", lineParser{separator: "\t"}, "k\tv\tw\n\tv\nk\t\n", []string{`"k"="v\tw"`, `""="v"`, `"k"=""`}},
		{"a long separator", lineParser{separator: "=>"}, "k=>v\n", []string{`"k"="v"`}},
		{"null", lineParser{separator: ":", null: &null}, "NULL:v\nk:NULL\nk:NULLS\n", []string{`nil="v"`, `"k"=nil`, `"k"="NULLS"`}},
		{"null is empty", lineParser{separator: ":", null: &empty}, "k:\n:v\n", []string{`"k"=nil`, `nil="v"`}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, r := range []io.Reader{strings.NewReader(test.text), iotest.OneByteReader(strings.NewReader(test.text))} {
				got, err := readAll(newInput(r, 1000, test.parser.parse))
				if !errors.Is(err, io.EOF) || !slices.Equal(got, test.want) {
					t.Errorf("got %v, %v; want %v", got, err, test.want)
				}
			}
		})
	}
}

func TestLineLimit(t *testing.T) {
	fits, tooLong := strings.Repeat("x", 299_999)+"\n", strings.Repeat("y", 300_000)+"\n"
	got, err := readAll(newInput(strings.NewReader(fits+tooLong), 300_000, lineParser{}.parse))
	if len(got) != 1 || err == nil || !strings.Contains(err.Error(), "line 2: longer than 300000 bytes; raise --batch-bytes") {
		t.Errorf("got %d records, %v", len(got), err)
	}
}

func TestReadErrorNamesTheLine(t *testing.T) {
	broken := io.MultiReader(strings.NewReader("a\nb"), iotest.ErrReader(errors.New("disk on fire")))
	got, err := readAll(newInput(broken, 1000, lineParser{}.parse))
	if len(got) != 1 || err == nil || err.Error() != "line 2: disk on fire" {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestRecordsOwnTheirBytes(t *testing.T) {
	in := newInput(strings.NewReader("first:1\nsecond:2\n"), 1000, lineParser{separator: ":"}.parse)
	var records []*kgo.Record
	for {
		it, err := in.next()
		if err != nil {
			break
		}
		records = append(records, it.record)
	}
	if string(records[0].Key) != "first" || string(records[1].Value) != "2" {
		t.Errorf("got %s, %s", records[0].Key, records[1].Value)
	}
}

func FuzzLines(f *testing.F) {
	for _, seed := range []string{"a:b\nc:d", ":\n", "x", "\n\n", "\xff:\x00\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		in := newInput(bytes.NewReader(text), 1<<20, lineParser{separator: ":"}.parse)
		var back []byte
		for {
			it, err := in.next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return // a line without a separator
			}
			back = append(append(append(append(back, it.record.Key...), ':'), it.record.Value...), '\n')
		}
		if want := bytes.TrimSuffix(text, []byte("\n")); len(text) > 0 && !bytes.Equal(bytes.TrimSuffix(back, []byte("\n")), want) {
			t.Fatalf("%q came back as %q", text, back)
		}
	})
}
