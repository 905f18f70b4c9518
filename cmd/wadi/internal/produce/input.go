package produce

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/wadi-log/wadi/cmd/wadi/internal/record"
)

// item is one record of the input.
type item struct {
	record *kgo.Record
	// line counts from 1.
	line int64
	// size is the length of the line in bytes, with its end.
	size int
}

// input reads one record a line.
type input struct {
	r *bufio.Reader
	// max is the most bytes that a line may have.
	max   int
	parse func(line []byte) (*kgo.Record, error)
	line  int64
}

func newInput(r io.Reader, maxLine int, parse func([]byte) (*kgo.Record, error)) *input {
	return &input{r: bufio.NewReaderSize(r, 256<<10), max: maxLine, parse: parse}
}

// result is an item, or the error that ended the input (io.EOF at its end).
type result struct {
	item item
	err  error
}

// stream sends what next returns, up to and with the first error, so that a
// signal is heard while standard input has nothing to say. Close stop when done; a
// read that hangs then keeps the goroutine until the process ends, which is at once.
func (in *input) stream(stop <-chan struct{}) <-chan result {
	results := make(chan result, 256)
	go func() {
		for {
			it, err := in.next()
			select {
			case results <- result{it, err}:
			case <-stop:
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return results
}

// next returns the next record; its bytes are its own. io.EOF after the last;
// other errors name the line.
func (in *input) next() (item, error) {
	line, err := in.readLine()
	size := len(line)
	if errors.Is(err, io.EOF) && size == 0 {
		return item{}, io.EOF
	}
	in.line++
	if err != nil && !errors.Is(err, io.EOF) { // a last line without an end is a line too
		return item{}, fmt.Errorf("line %d: %w", in.line, err)
	}
	r, err := in.parse(bytes.TrimSuffix(line, []byte("\n")))
	if err != nil {
		return item{}, fmt.Errorf("line %d: %w", in.line, err)
	}
	return item{record: r, line: in.line, size: size}, nil
}

// readLine returns a fresh copy of the next line, with its end where it has one.
func (in *input) readLine() ([]byte, error) {
	var line []byte
	for {
		part, err := in.r.ReadSlice('\n')
		if len(line)+len(part) > in.max {
			return nil, fmt.Errorf("longer than %d bytes; raise --batch-bytes (and the topic's max.message.bytes)", in.max)
		}
		line = append(line, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

// lineParser makes a record of a line: a value, or a key and a value.
type lineParser struct {
	// separator stands between key and value; "" means lines have no key.
	separator string
	// null is the text that stands for null; nil means nothing does.
	null *string
}

func (p lineParser) parse(line []byte) (*kgo.Record, error) {
	if p.separator == "" {
		return &kgo.Record{Value: p.field(line)}, nil
	}
	key, value, found := bytes.Cut(line, []byte(p.separator))
	if !found {
		return nil, fmt.Errorf("has no key separator %q", p.separator)
	}
	return &kgo.Record{Key: p.field(key), Value: p.field(value)}, nil
}

func (p lineParser) field(b []byte) []byte {
	if p.null != nil && string(b) == *p.null {
		return nil
	}
	if b == nil {
		return []byte{} // empty is not null
	}
	return b
}

// jsonParser reads what `wadi consume --format json` writes.
func jsonParser(line []byte) (*kgo.Record, error) { return record.ParseJSON(line) }
