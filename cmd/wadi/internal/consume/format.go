package consume

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/wadi-log/wadi/cmd/wadi/internal/escape"
	"github.com/wadi-log/wadi/cmd/wadi/internal/record"
)

// formatter appends a record as the user wants to see it.
type formatter func(dst []byte, r *kgo.Record) ([]byte, error)

// named are the formats with a name; all but raw and json are templates.
var named = map[string]string{"value": "%v", "key-value": `%k\t%v`}

// parseFormat makes a formatter of a name or a template. null is what stands
// for a null key or value outside JSON.
func parseFormat(text, null string) (formatter, error) {
	switch text {
	case "json":
		return func(dst []byte, r *kgo.Record) ([]byte, error) {
			dst, err := record.AppendJSON(dst, r)
			return append(dst, '\n'), err
		}, nil
	case "raw":
		return func(dst []byte, r *kgo.Record) ([]byte, error) { return append(dst, r.Value...), nil }, nil
	}
	template, ok := named[text]
	if !ok {
		if !strings.ContainsAny(text, `%\`) {
			return nil, fmt.Errorf("%q is unknown; want value, key-value, json, raw, or a template such as '%%k %%v'", text)
		}
		template = text
	}
	return parseTemplate(template, null)
}

// part appends one piece of a template.
type part func(dst []byte, r *kgo.Record) []byte

func parseTemplate(template, null string) (formatter, error) {
	var parts []part
	ended := false // by a control byte such as \n or \0, so that no newline is added
	for template != "" {
		literal, after, found := strings.Cut(template, "%")
		text, err := escape.Unescape(literal)
		if err != nil {
			return nil, err
		}
		if text != "" {
			parts = append(parts, func(dst []byte, _ *kgo.Record) []byte { return append(dst, text...) })
			ended = text[len(text)-1] < ' '
		}
		if !found {
			break
		}
		if after == "" {
			return nil, errors.New("% at the end; write %% for a percent sign")
		}
		piece, ok := placeholder(after[0], null)
		if !ok {
			return nil, fmt.Errorf("%%%c is unknown; there are %%k %%v %%t %%p %%o %%T %%h %%K %%V and %%%%", []rune(after)[0])
		}
		parts, template, ended = append(parts, piece), after[1:], false
	}
	return func(dst []byte, r *kgo.Record) ([]byte, error) {
		for _, p := range parts {
			dst = p(dst, r)
		}
		if !ended {
			dst = append(dst, '\n')
		}
		return dst, nil
	}, nil
}

// placeholder returns what the letter after a percent sign stands for.
func placeholder(letter byte, null string) (part, bool) {
	bytesOr := func(dst, b []byte) []byte {
		if b == nil {
			return append(dst, null...)
		}
		return append(dst, b...)
	}
	switch letter {
	case 'k':
		return func(dst []byte, r *kgo.Record) []byte { return bytesOr(dst, r.Key) }, true
	case 'v':
		return func(dst []byte, r *kgo.Record) []byte { return bytesOr(dst, r.Value) }, true
	case 't':
		return func(dst []byte, r *kgo.Record) []byte { return append(dst, r.Topic...) }, true
	case 'p':
		return number(func(r *kgo.Record) int64 { return int64(r.Partition) }), true
	case 'o':
		return number(func(r *kgo.Record) int64 { return r.Offset }), true
	case 'T':
		return number(func(r *kgo.Record) int64 { return r.Timestamp.UnixMilli() }), true
	case 'K':
		return number(func(r *kgo.Record) int64 { return length(r.Key) }), true
	case 'V':
		return number(func(r *kgo.Record) int64 { return length(r.Value) }), true
	case 'h':
		return func(dst []byte, r *kgo.Record) []byte {
			for i, h := range r.Headers {
				if i > 0 {
					dst = append(dst, ',')
				}
				dst = append(append(dst, h.Key...), '=')
				dst = bytesOr(dst, h.Value)
			}
			return dst
		}, true
	case '%':
		return func(dst []byte, _ *kgo.Record) []byte { return append(dst, '%') }, true
	}
	return nil, false
}

func number(of func(*kgo.Record) int64) part {
	return func(dst []byte, r *kgo.Record) []byte { return strconv.AppendInt(dst, of(r), 10) }
}

// length is -1 for null, as on the wire.
func length(b []byte) int64 {
	if b == nil {
		return -1
	}
	return int64(len(b))
}
