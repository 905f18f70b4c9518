package group

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// someLogs holds t with partitions 0 and 1 at offsets 10 to 20, and 2, whose
// leader is away.
func someLogs() logs {
	listed := func(offset int64) kadm.ListedOffsets {
		return kadm.ListedOffsets{"t": {
			0: {Topic: "t", Partition: 0, Offset: offset},
			1: {Topic: "t", Partition: 1, Offset: offset},
			2: {Topic: "t", Partition: 2, Offset: -1, Err: kerr.LeaderNotAvailable},
		}}
	}
	return logs{starts: listed(10), ends: listed(20)}
}

func TestLag(t *testing.T) {
	number := func(n int64) *int64 { return &n }
	seconds := func(s float64) *float64 { return &s }
	now := time.UnixMilli(100_000)
	for name, test := range map[string]struct {
		row progress
		// probe is where the record is read; -1 is nowhere.
		probe   int64
		outcome probed
		lag     *int64
		seconds *float64
	}{
		"behind":                  {progress{Topic: "t", Committed: number(15)}, 15, probed{written: time.UnixMilli(97_500)}, number(5), seconds(2.5)},
		"at the end":              {progress{Topic: "t", Committed: number(20)}, -1, probed{}, number(0), seconds(0)},
		"ahead of a shorter log":  {progress{Topic: "t", Committed: number(99)}, -1, probed{}, number(0), seconds(0)},
		"behind retention":        {progress{Topic: "t", Committed: number(3)}, 10, probed{written: time.UnixMilli(0)}, number(17), seconds(100)},
		"a clock ahead":           {progress{Topic: "t", Committed: number(15)}, 15, probed{written: time.UnixMilli(200_000)}, number(5), seconds(0)},
		"no timestamp":            {progress{Topic: "t", Committed: number(15)}, 15, probed{written: time.UnixMilli(-1)}, number(5), nil},
		"unreadable":              {progress{Topic: "t", Committed: number(15)}, 15, probed{err: errNoRecord}, number(5), nil},
		"nothing committed":       {progress{Topic: "t"}, -1, probed{}, nil, nil},
		"leader away":             {progress{Topic: "t", Partition: 2, Committed: number(1)}, -1, probed{}, nil, nil},
		"partition that is gone":  {progress{Topic: "t", Partition: 9, Committed: number(1)}, -1, probed{}, nil, nil},
		"topic that is gone":      {progress{Topic: "u", Committed: number(1)}, -1, probed{}, nil, nil},
		"another partition of it": {progress{Topic: "t", Partition: 1, Committed: number(19)}, 19, probed{written: now}, number(1), seconds(0)},
	} {
		p := partition{test.row.Topic, test.row.Partition}
		want := map[partition]int64{}
		if test.probe >= 0 {
			want[p] = test.probe
		}
		rows := []progress{test.row}
		if unread := addLag(rows, someLogs()); !maps.Equal(unread, want) {
			t.Errorf("%s: reads at %v, want %v", name, unread, want)
		}
		addSeconds(rows, map[partition]probed{p: test.outcome}, now)
		if !reflect.DeepEqual(rows[0].Lag, test.lag) || !reflect.DeepEqual(rows[0].LagSeconds, test.seconds) {
			t.Errorf("%s: got %s, %s seconds", name, orUnknown(rows[0].Lag), secondsText(rows[0].LagSeconds))
		}
	}
}

func TestTotalsLeaveOutWhatIsUnknown(t *testing.T) {
	five, seven, short, long := int64(5), int64(7), 1.5, 2.5
	group := described{Offsets: []progress{{Lag: &five, LagSeconds: &short}, {}, {Lag: &seven, LagSeconds: &long}, {Lag: &five}}}
	addTotals(&group)
	if orUnknown(group.Lag) != "17" || secondsText(group.LagSeconds) != "2.5" {
		t.Errorf("got %s, %s", orUnknown(group.Lag), secondsText(group.LagSeconds))
	}
	group = described{Offsets: []progress{{}}}
	addTotals(&group)
	if group.Lag != nil || group.LagSeconds != nil {
		t.Errorf("got a total of nothing: %s, %s", orUnknown(group.Lag), secondsText(group.LagSeconds))
	}
}

func TestUnknownSecondsAreToldOncePerReason(t *testing.T) {
	var told []string
	noteUnknown(map[partition]probed{
		{"t", 0}: {err: errNoRecord}, {"t", 1}: {err: errNoRecord}, {"u", 3}: {err: errNoRecord},
		{"t", 2}: {err: errors.New("gone")}, {"t", 4}: {written: time.Now()},
	}, func(format string, args ...any) { told = append(told, fmt.Sprintf(format, args...)) })
	want := []string{"seconds are unknown for t:2: gone\n", "seconds are unknown for t:0-1 u:3: " + errNoRecord.Error() + "\n"}
	if !reflect.DeepEqual(told, want) {
		t.Errorf("got %q, want %q", told, want)
	}
}

func TestRowsAreThoseOfOffsetsAndOfMembers(t *testing.T) {
	committed := kadm.Offsets{}
	committed.Add(kadm.Offset{Topic: "t", Partition: 1, At: 7, Metadata: "m"})
	committed.Add(kadm.Offset{Topic: "t", Partition: 0, At: 5})
	rows := progressOf([]member{{MemberID: "a", Partitions: []assignment{{"t", []int32{1, 2}}}}}, committed)
	got := ""
	for _, row := range rows {
		owner := "-"
		if row.MemberID != nil {
			owner = *row.MemberID
		}
		got += row.Topic + string('0'+row.Partition) + " " + orUnknown(row.Committed) + " " + owner + " " + cell(row.Metadata) + "\n"
	}
	if want := "t0 5 - -\nt1 7 a m\nt2 - a -\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCellsNeverBreakTheTable(t *testing.T) {
	for text, want := range map[string]string{
		"": "-", "-": `"-"`, "plain": "plain", "two words": `"two words"`, "tab\t": `"tab\t"`, "line\n": `"line\n"`,
		"\x00": `"\x00"`, `"`: `"\""`, "käse": "käse", "\xff": `"\xff"`,
	} {
		if got := cell(text); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}
