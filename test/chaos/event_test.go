package chaos

import (
	"testing"
	"time"
)

func TestEventsAsLines(t *testing.T) {
	at := time.UnixMicro(1_700_000_000_000_001)
	for _, test := range []struct {
		event Event
		line  string
	}{
		{Event{at, Sent, "p", "", 0, 7, 0, ""}, "1700000000000001\tsent\tp\t7"},
		{Event{at, Acked, "p", "", 2, 7, 9, ""}, "1700000000000001\tacked\tp\t7\t2\t9"},
		{Event{at, Assigned, "m", "t", 2, 0, 0, ""}, "1700000000000001\tassigned\tm\tt\t2"},
		{Event{at, Got, "m", "t", 2, 0, 9, "p 7 a\tb"}, "1700000000000001\tgot\tm\tt\t2\t9\tp 7 a\tb"},
		{Event{at, Committed, "m", "t", 2, 0, 9, ""}, "1700000000000001\tcommitted\tm\tt\t2\t9"},
		{Event{at, Unexpected, "m", "", 0, 0, 0, "Some Error"}, "1700000000000001\tunexpected\tm\tSome Error"},
	} {
		if got := test.event.String(); got != test.line {
			t.Errorf("%+v is %q, want %q", test.event, got, test.line)
		}
		if got, err := ParseEvent(test.line); err != nil || got != test.event {
			t.Errorf("%q is %+v, %v; want %+v", test.line, got, err, test.event)
		}
	}
	for _, line := range []string{"", "x", "1\tslept\tm", "one\tsent\tp\t7", "1\tsent\tp", "1\tsent\tp\tx", "1\tacked\tp\t7\t2", "1\tgot\tm\tt\t3000000000\t1\tv"} {
		if e, err := ParseEvent(line); err == nil {
			t.Errorf("%q is taken for %+v", line, e)
		}
	}
}

// FuzzParseEvent: clients print anything. What parses must be written as it was read, but for the spelling of numbers.
func FuzzParseEvent(f *testing.F) {
	f.Add("1700000000000001\tgot\tm\tt\t2\t9\tp 7 a\tb")
	f.Add("1\tsent\tp\t7")
	f.Fuzz(func(t *testing.T, line string) {
		e, err := ParseEvent(line)
		if err != nil {
			return
		}
		if again, err := ParseEvent(e.String()); err != nil || again != e {
			t.Errorf("%q is %+v, which is written as %q: %+v, %v", line, e, e, again, err)
		}
		if _, n, err := parseValue(e.Text); err == nil && n < 0 {
			t.Errorf("value %q is record %d", e.Text, n)
		}
	})
}
