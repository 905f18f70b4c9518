package consume

import (
	"testing"
	"time"
)

func TestParsePosition(t *testing.T) {
	for text, want := range map[string]position{
		"start":                      {atStart, 0},
		"end":                        {atEnd, 0},
		"0":                          {atOffset, 0},
		"17":                         {atOffset, 17},
		"9223372036854775807":        {atOffset, 1<<63 - 1},
		"-1":                         {beforeEnd, 1},
		"-0":                         {beforeEnd, 0},
		"@0":                         {atTime, 0},
		"@1700000000123":             {atTime, 1700000000123},
		"@1970-01-01T00:00:01Z":      {atTime, 1000},
		"@1970-01-01T01:00:01+01:00": {atTime, 1000},
		"@1970-01-01T00:00:00.0015Z": {atTime, 2},
		"@1970-01-01T00:00:00.001Z":  {atTime, 1},
	} {
		if got, err := parsePosition(text); err != nil || got != want {
			t.Errorf("%s: got %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "begin", "1.5", "--1", "-", "@", "@-1", "@noon", "@2026-11-23", "@1969-12-31T00:00:00Z", "-9223372036854775808", "9223372036854775808"} {
		if got, err := parsePosition(text); err == nil {
			t.Errorf("%q: got %+v, want an error", text, got)
		}
	}
}

func TestResolve(t *testing.T) {
	b := bounds{start: 10, end: 20, atTime: 15}
	tests := []struct {
		p       position
		want    int64
		outside bool
	}{
		{position{kind: atStart}, 10, false},
		{position{kind: atEnd}, 20, false},
		{position{atOffset, 12}, 12, false},
		{position{atOffset, 10}, 10, false},
		{position{atOffset, 20}, 20, false},
		{position{atOffset, 9}, 10, true},
		{position{atOffset, 21}, 20, true},
		{position{beforeEnd, 3}, 17, false},
		{position{beforeEnd, 0}, 20, false},
		{position{beforeEnd, 99}, 10, false},
		{position{beforeEnd, 1<<63 - 1}, 10, false},
		{position{kind: atTime}, 15, false},
	}
	for _, test := range tests {
		if got, outside := test.p.resolve(b); got != test.want || outside != test.outside {
			t.Errorf("%+v: got %d, %v; want %d, %v", test.p, got, outside, test.want, test.outside)
		}
	}
	// The cluster's answers come one after the other; retention may run between them.
	if got, _ := (position{kind: atTime}).resolve(bounds{start: 18, end: 20, atTime: 15}); got != 18 {
		t.Errorf("got %d, want 18", got)
	}
}

func FuzzParsePosition(f *testing.F) {
	for _, seed := range []string{"start", "-5", "@2026-11-23T09:00:00Z", "@1e9", "9223372036854775807"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parsePosition(text)
		if err != nil {
			return
		}
		if p.n < 0 {
			t.Fatalf("%q: %+v", text, p)
		}
		b := bounds{start: 10, end: 20, atTime: time.Now().UnixMilli()}
		if offset, _ := p.resolve(b); offset < b.start || offset > b.end {
			t.Fatalf("%q resolves to %d", text, offset)
		}
	})
}
