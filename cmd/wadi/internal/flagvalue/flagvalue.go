// Package flagvalue holds the kinds of values that wadi reads from the command
// line, the environment and the YAML file: each is one pflag.Value, so that all
// three are parsed by the same code and refused with the same words.
//
// Errors say what was wanted, never what was given: the caller knows the
// setting and whether its value may be shown.
package flagvalue

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

// Value is a pflag.Value of type T.
type Value[T any] struct {
	target *T
	kind   string
	parse  func(text string, old T) (T, error)
	format func(T) string
}

// Set parses text into the target.
func (v *Value[T]) Set(text string) error {
	parsed, err := v.parse(text, *v.target)
	if err != nil {
		return err
	}
	*v.target = parsed
	return nil
}

// String returns the target as Set would read it.
func (v *Value[T]) String() string {
	if v == nil || v.target == nil {
		return "" // pflag asks a zero Value for its text
	}
	return v.format(*v.target)
}

// Type is the word that help prints behind the flag's name.
func (v *Value[T]) Type() string { return v.kind }

// Text is any text.
func Text(target *string, kind string) *Value[string] {
	return &Value[string]{
		target: target, kind: kind,
		parse:  func(text string, _ string) (string, error) { return text, nil },
		format: func(s string) string { return s },
	}
}

// List is text that grows with each Set: items, separated by commas.
func List(target *string, kind string) *Value[string] {
	return &Value[string]{
		target: target, kind: kind,
		parse: func(text string, old string) (string, error) {
			if old == "" {
				return text, nil
			}
			return old + "," + text, nil
		},
		format: func(s string) string { return s },
	}
}

// Int is a whole number that fits 32 bits.
func Int(target *int) *Value[int] {
	return &Value[int]{
		target: target, kind: "number",
		parse: func(text string, _ int) (int, error) {
			n, err := strconv.ParseInt(text, 10, 32)
			if err != nil {
				return 0, errors.New("want a whole number")
			}
			return int(n), nil
		},
		format: strconv.Itoa,
	}
}

// Int32 is a whole number that fits 32 bits.
func Int32(target *int32) *Value[int32] {
	return &Value[int32]{
		target: target, kind: "number",
		parse: func(text string, _ int32) (int32, error) {
			n, err := strconv.ParseInt(text, 10, 32)
			if err != nil {
				return 0, errors.New("want a whole number")
			}
			return int32(n), nil
		},
		format: func(n int32) string { return strconv.FormatInt(int64(n), 10) },
	}
}

// Int64 is a whole number that fits 64 bits.
func Int64(target *int64) *Value[int64] {
	return &Value[int64]{
		target: target, kind: "number",
		parse: func(text string, _ int64) (int64, error) {
			n, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				return 0, errors.New("want a whole number")
			}
			return n, nil
		},
		format: func(n int64) string { return strconv.FormatInt(n, 10) },
	}
}

// Float is a finite number.
func Float(target *float64) *Value[float64] {
	return &Value[float64]{
		target: target, kind: "number",
		parse: func(text string, _ float64) (float64, error) {
			f, err := strconv.ParseFloat(text, 64)
			if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
				return 0, errors.New("want a number")
			}
			return f, nil
		},
		format: func(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) },
	}
}

// Duration is a time span with its unit.
func Duration(target *time.Duration) *Value[time.Duration] {
	return &Value[time.Duration]{
		target: target, kind: "duration",
		parse: func(text string, _ time.Duration) (time.Duration, error) {
			d, err := time.ParseDuration(text)
			if err != nil {
				return 0, errors.New("want a duration with its unit, as in 250ms or 30s")
			}
			return d, nil
		},
		format: formatDuration,
	}
}

// formatDuration drops the zero units that time.Duration prints: 1m, not 1m0s.
func formatDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// Time is a point in time, in ms since the epoch.
func Time(target *int64) *Value[int64] {
	return &Value[int64]{
		target: target, kind: "time",
		parse:  func(text string, _ int64) (int64, error) { return ParseTime(text) },
		format: func(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339Nano) },
	}
}

// ParseTime reads a time in RFC 3339, or ms since the epoch, and returns ms.
// It rounds up: "from 09:00:00.0005 on" must not include what came before.
func ParseTime(text string) (int64, error) {
	if ms, err := strconv.ParseInt(text, 10, 64); err == nil && ms >= 0 {
		return ms, nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || t.UnixMilli() < 0 {
		return 0, errors.New("want a time in RFC 3339, as in 2026-11-23T09:00:00Z, or ms since 1970")
	}
	return t.Add(time.Millisecond - 1).UnixMilli(), nil
}

// Size is a number of bytes: plain, or with a unit (KiB, MiB, GiB; KB, MB, GB
// are powers of ten).
func Size(target *int64) *Value[int64] {
	return &Value[int64]{
		target: target, kind: "size",
		parse:  func(text string, _ int64) (int64, error) { return ParseSize(text) },
		format: FormatSize,
	}
}

// ParseSize parses a number of bytes as Size does.
func ParseSize(text string) (int64, error) {
	// Plain numbers go their own way: humanize counts in floats, which are
	// exact only up to 2^53.
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && n >= 0 {
		return n, nil
	}
	n, err := humanize.ParseBytes(text)
	if err != nil || n > math.MaxInt64 {
		return 0, errors.New("want a size in bytes or with a unit, as in 64MiB")
	}
	return int64(n), nil
}

// FormatSize returns the size in the largest binary unit that loses nothing.
func FormatSize(n int64) string {
	units := []string{"", "KiB", "MiB", "GiB", "TiB"}
	i := 0
	for n != 0 && n%1024 == 0 && i < len(units)-1 {
		n /= 1024
		i++
	}
	return strconv.FormatInt(n, 10) + units[i]
}

// KeyValues is a map that grows with each Set. One text holds one pair or
// several, separated by commas; a piece without "=" belongs to the value before it, so
// that cleanup.policy=compact,delete is one pair.
func KeyValues(target *map[string]string) *Value[map[string]string] {
	return &Value[map[string]string]{
		target: target, kind: "key=value",
		parse: func(text string, old map[string]string) (map[string]string, error) {
			pairs, err := ParseKeyValues(text)
			if err != nil {
				return nil, err
			}
			merged := maps.Clone(old)
			if merged == nil {
				merged = map[string]string{}
			}
			maps.Copy(merged, pairs)
			return merged, nil
		},
		format: formatKeyValues,
	}
}

// ParseKeyValues parses a text as KeyValues does.
func ParseKeyValues(text string) (map[string]string, error) {
	pairs := map[string]string{}
	var last string
	for i, piece := range strings.Split(text, ",") {
		key, value, ok := strings.Cut(piece, "=")
		key = strings.TrimSpace(key)
		switch {
		case !ok && i == 0, ok && key == "":
			return nil, errors.New("want key=value, as in num.partitions=3")
		case !ok:
			pairs[last] += "," + piece
		default:
			if _, twice := pairs[key]; twice {
				return nil, fmt.Errorf("%s is named twice", key)
			}
			pairs[key], last = value, key
		}
	}
	return pairs, nil
}

func formatKeyValues(pairs map[string]string) string {
	texts := make([]string, 0, len(pairs))
	for _, key := range slices.Sorted(maps.Keys(pairs)) {
		texts = append(texts, key+"="+pairs[key])
	}
	return strings.Join(texts, ",")
}

// OneOf is one of the words; help shows them all.
func OneOf(target *string, words ...string) *Value[string] {
	return &Value[string]{
		target: target, kind: strings.Join(words, "|"),
		parse: func(text string, _ string) (string, error) {
			if !slices.Contains(words, text) {
				return "", errors.New("want " + strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1])
			}
			return text, nil
		},
		format: func(s string) string { return s },
	}
}
