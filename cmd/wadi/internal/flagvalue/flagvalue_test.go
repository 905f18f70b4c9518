package flagvalue

import (
	"maps"
	"math"
	"testing"
	"time"
)

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{
		"0":                   0,
		"1":                   1,
		"65536":               64 << 10,
		"64KiB":               64 << 10,
		"256MiB":              256 << 20,
		"256 MiB":             256 << 20,
		"1.5GiB":              3 << 29,
		"2GB":                 2_000_000_000,
		"9223372036854775807": math.MaxInt64,
	} {
		got, err := ParseSize(text)
		if err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "-1", "MiB", "12 parsecs", "10EiB", "0x10", "9223372036854775808"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("ParseSize(%q) = %d; want an error", text, got)
		}
	}
}

func TestFormatSizeIsReadBackExactly(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0", 1000: "1000", 1024: "1KiB", 1536: "1536", 8 << 20: "8MiB", 3 << 29: "1536MiB", 5 << 40: "5TiB",
		math.MaxInt64: "9223372036854775807",
	} {
		text := FormatSize(n)
		if text != want {
			t.Errorf("FormatSize(%d) = %q; want %q", n, text, want)
		}
		if back, err := ParseSize(text); err != nil || back != n {
			t.Errorf("ParseSize(FormatSize(%d)) = %d, %v", n, back, err)
		}
	}
}

func FuzzParseSize(f *testing.F) {
	for _, seed := range []string{"1", "64KiB", "1.5 GiB", "-3", "999999999999EiB", "\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := ParseSize(text)
		if err == nil && n < 0 {
			t.Fatalf("ParseSize(%q) = %d", text, n)
		}
	})
}

func TestParseKeyValues(t *testing.T) {
	tests := []struct {
		text string
		want map[string]string // nil: an error
	}{
		{"a=b", map[string]string{"a": "b"}},
		{"a=b,c=d", map[string]string{"a": "b", "c": "d"}},
		{"a=b, c=d", map[string]string{"a": "b", "c": "d"}},
		{"log.cleanup.policy=compact,delete,num.partitions=3", map[string]string{"log.cleanup.policy": "compact,delete", "num.partitions": "3"}},
		{"a=b=c", map[string]string{"a": "b=c"}},
		{"a=", map[string]string{"a": ""}},
		{"", nil},
		{"a", nil},
		{"=b", nil},
		{"a=b,=c", nil},
		{"a=1,a=2", nil},
	}
	for _, test := range tests {
		got, err := ParseKeyValues(test.text)
		if test.want == nil {
			if err == nil {
				t.Errorf("ParseKeyValues(%q) = %v; want an error", test.text, got)
			}
			continue
		}
		if err != nil || !maps.Equal(got, test.want) {
			t.Errorf("ParseKeyValues(%q) = %v, %v; want %v", test.text, got, err, test.want)
		}
	}
}

func TestKeyValuesGrowWithEachSet(t *testing.T) {
	original := map[string]string{"a": "1"}
	pairs := original
	value := KeyValues(&pairs)
	for _, text := range []string{"b=2,c=3", "a=4"} {
		if err := value.Set(text); err != nil {
			t.Fatal(err)
		}
	}
	if got := value.String(); got != "a=4,b=2,c=3" {
		t.Errorf("got %s", got)
	}
	if original["a"] != "1" || len(original) != 1 {
		t.Errorf("the default map was changed: %v", original)
	}
}

func TestRefusedTextLeavesTheTarget(t *testing.T) {
	n, n32, f, d, s := 7, int32(7), 7.5, 7*time.Second, int64(7)
	values := []interface {
		Set(string) error
		String() string
	}{Int(&n), Int32(&n32), Float(&f), Duration(&d), Size(&s)}
	for _, value := range values {
		before := value.String()
		for _, text := range []string{"", "x", "NaN", "1e999"} {
			if err := value.Set(text); err == nil {
				t.Errorf("%T took %q", value, text)
			}
		}
		if value.String() != before {
			t.Errorf("%T changed from %s to %s", value, before, value)
		}
	}
}

func TestDurationText(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 250 * time.Millisecond: "250ms", 30 * time.Second: "30s", time.Minute: "1m",
		10 * time.Minute: "10m", 90 * time.Second: "1m30s", time.Hour: "1h", 90 * time.Minute: "1h30m",
	} {
		if got := Duration(&d).String(); got != want {
			t.Errorf("%d: got %s, want %s", d, got, want)
		}
	}
}

func TestOneOfTakesItsWordsOnly(t *testing.T) {
	word := "table"
	value := OneOf(&word, "table", "json", "name")
	if err := value.Set("json"); err != nil || word != "json" {
		t.Errorf("got %q, %v", word, err)
	}
	if err := value.Set("JSON"); err == nil || err.Error() != "want table, json or name" || word != "json" {
		t.Errorf("got %q, %v", word, err)
	}
}

func TestTimeRoundsUpToMilliseconds(t *testing.T) {
	for text, want := range map[string]int64{
		"0":                          0,
		"1700000000123":              1700000000123,
		"1970-01-01T00:00:01Z":       1000,
		"1970-01-01T01:00:01+01:00":  1000,
		"1970-01-01T00:00:00.0015Z":  2,
		"1970-01-01T00:00:00.001Z":   1,
		"1970-01-01T00:00:01.000Z":   1000,
		"2026-11-23T09:00:00.00001Z": 1795424400001,
	} {
		var ms int64
		value := Time(&ms)
		if err := value.Set(text); err != nil || ms != want {
			t.Errorf("%s: got %d, %v; want %d", text, ms, err, want)
		}
		if again, err := ParseTime(value.String()); err != nil || again != want {
			t.Errorf("%s: printed as %s, which reads as %d, %v", text, value, again, err)
		}
	}
	for _, text := range []string{"", "noon", "-1", "2026-11-23", "1969-12-31T00:00:00Z"} {
		if ms, err := ParseTime(text); err == nil {
			t.Errorf("%q: got %d, want an error", text, ms)
		}
	}
}
