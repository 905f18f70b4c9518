package fetch

import "context"

// load is a range of a file, some blocks of which may still be on their way.
type load struct {
	position, length int64
	blockBytes       int64
	// whole is the file, or blocks cover the range.
	whole  []byte
	first  int64
	blocks []*flight
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
	end := l.position + l.length
	if l.whole != nil {
		if end > int64(len(l.whole)) {
			return nil, errShortFile
		}
		return [][]byte{l.whole[l.position:end]}, nil
	}
	pieces := make([][]byte, 0, len(l.blocks))
	for i, f := range l.blocks {
		if f.done != nil {
			select {
			case <-f.done:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		if f.err != nil {
			return nil, f.err
		}
		begin := (l.first + int64(i)) * l.blockBytes
		from, to := max(l.position-begin, 0), min(end-begin, l.blockBytes)
		if to > int64(len(f.data)) {
			return nil, errShortFile
		}
		pieces = append(pieces, f.data[from:to])
	}
	return pieces, nil
}
