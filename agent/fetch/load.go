package fetch

import (
	"context"
	"errors"
)

// load is a range of a file, some blocks of which may still be on their way.
type load struct {
	position, length int64
	blockBytes       int64
	// whole is the file, or blocks cover the range.
	whole  []byte
	first  int64
	blocks []*flight
	// mark is the doubts there were when it began.
	mark int64
	// missing is the number of bytes to read that nobody was reading yet.
	missing int64
}

// landed is a flight that needs no waiting: its block was in the cache.
func landed(data []byte) *flight { return &flight{data: data} }

// landed reports whether nothing of it is on its way any more.
func (l *load) landed() bool {
	for _, f := range l.blocks {
		if f.done == nil {
			continue
		}
		select {
		case <-f.done:
		default:
			return false
		}
	}
	return true
}

// wait returns the range's bytes in pieces, each from one block.
func (l *load) wait(ctx context.Context) ([][]byte, error) {
	pieces, err := l.available(ctx)
	if err != nil {
		return nil, err
	}
	left := l.length
	for _, piece := range pieces {
		left -= int64(len(piece))
	}
	if left > 0 {
		return nil, errShortFile
	}
	return pieces, nil
}

// available is wait, but for what the file has of the range, which is errShortFile only
// when that is nothing.
func (l *load) available(ctx context.Context) (pieces [][]byte, err error) {
	end := l.position + l.length
	if l.whole != nil {
		if l.position >= int64(len(l.whole)) {
			return nil, errShortFile
		}
		return [][]byte{l.whole[l.position:min(end, int64(len(l.whole)))]}, nil
	}
	pieces = make([][]byte, 0, len(l.blocks))
	for i, f := range l.blocks {
		if f.done != nil {
			select {
			case <-f.done:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		if errors.Is(f.err, errShortFile) && len(pieces) > 0 {
			break
		}
		if f.err != nil {
			return nil, f.err
		}
		begin := (l.first + int64(i)) * l.blockBytes
		from, to := max(l.position-begin, 0), min(end-begin, l.blockBytes)
		if from < int64(len(f.data)) {
			pieces = append(pieces, f.data[from:min(to, int64(len(f.data)))])
		}
		if to > int64(len(f.data)) {
			break // the file ends here
		}
	}
	if len(pieces) == 0 {
		return nil, errShortFile
	}
	return pieces, nil
}
