package consume

import (
	"errors"
	"math"
	"strconv"
	"strings"

	"github.com/wadi-log/wadi/cmd/wadi/internal/flagvalue"
)

// position is a place in a partition as the user names it, before anything is
// known of the partition.
type position struct {
	kind positionKind
	// n is an offset, a number of records back from the end, or ms since the epoch.
	n int64
}

type positionKind int

const (
	atStart positionKind = iota
	atEnd
	atOffset
	beforeEnd
	atTime
)

var errPosition = errors.New("want start, end, an offset, -N for the last N records of each partition, or @time in RFC 3339 or ms, as in @2026-11-23T09:00:00Z")

// parsePosition reads start, end, N, -N or @time.
func parsePosition(text string) (position, error) {
	switch {
	case text == "start":
		return position{kind: atStart}, nil
	case text == "end":
		return position{kind: atEnd}, nil
	case strings.HasPrefix(text, "@"):
		ms, err := flagvalue.ParseTime(text[1:])
		if err != nil {
			return position{}, errPosition
		}
		return position{kind: atTime, n: ms}, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	switch {
	case err != nil || n == math.MinInt64:
		return position{}, errPosition
	case strings.HasPrefix(text, "-"):
		return position{kind: beforeEnd, n: -n}, nil // -0 is the end
	}
	return position{kind: atOffset, n: n}, nil
}

// bounds are what a partition holds when the command starts. atTime is the
// first offset at or after the position's time, where it has one.
type bounds struct{ start, end, atTime int64 }

// resolve returns the offset of the position within the bounds, and whether an
// offset that was asked for lies outside of them.
func (p position) resolve(b bounds) (offset int64, outside bool) {
	switch p.kind {
	case atStart:
		return b.start, false
	case atEnd:
		return b.end, false
	case beforeEnd:
		return max(b.start, b.end-p.n), false
	case atTime:
		return min(max(b.start, b.atTime), b.end), false
	}
	offset = min(max(b.start, p.n), b.end)
	return offset, offset != p.n
}
