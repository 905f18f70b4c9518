// Package record is the JSON form of a Kafka record, which `wadi consume`
// writes and `wadi produce` reads: one object a line.
//
//	{"topic":"t","partition":0,"offset":7,"timestamp":1700000000000,"key":"k","value":"v","headers":[{"key":"h","value":"x"}]}
//
// A key or value that is no UTF-8 text stands under key_base64 or value_base64
// instead, so that what was written reads back byte for byte. The package
// knows nothing of connections.
package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"
)

// object is a record as JSON.
type object struct {
	Topic     string `json:"topic,omitempty"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	// Timestamp is in ms since the epoch; nil on input is now.
	Timestamp *int64 `json:"timestamp"`
	// Key and Value are JSON strings or null; on input a value may be any JSON.
	Key         json.RawMessage `json:"key,omitempty"`
	KeyBase64   []byte          `json:"key_base64,omitempty"`
	Value       json.RawMessage `json:"value,omitempty"`
	ValueBase64 []byte          `json:"value_base64,omitempty"`
	Headers     []header        `json:"headers,omitempty"`
}

type header struct {
	Key         string          `json:"key"`
	Value       json.RawMessage `json:"value,omitempty"`
	ValueBase64 []byte          `json:"value_base64,omitempty"`
}

// AppendJSON appends the record as one line without its end.
func AppendJSON(dst []byte, r *kgo.Record) ([]byte, error) {
	timestamp := r.Timestamp.UnixMilli()
	o := object{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Timestamp: &timestamp}
	var err error
	if o.Key, o.KeyBase64, err = encode(r.Key); err != nil {
		return dst, err
	}
	if o.Value, o.ValueBase64, err = encode(r.Value); err != nil {
		return dst, err
	}
	for _, h := range r.Headers {
		out := header{Key: h.Key}
		if out.Value, out.ValueBase64, err = encode(h.Value); err != nil {
			return dst, err
		}
		o.Headers = append(o.Headers, out)
	}
	line, err := marshal(o)
	if err != nil {
		return dst, fmt.Errorf("writing %s partition %d offset %d as JSON: %w", r.Topic, r.Partition, r.Offset, err)
	}
	return append(dst, line...), nil
}

// encode returns the bytes as JSON text, or as they are for base64.
func encode(b []byte) (text json.RawMessage, binary []byte, err error) {
	switch {
	case b == nil:
		return json.RawMessage("null"), nil, nil
	case !utf8.Valid(b):
		return nil, b, nil
	}
	text, err = marshal(string(b))
	return text, nil, err
}

// marshal is json.Marshal without escapes for HTML.
func marshal(v any) ([]byte, error) {
	var buf bytes.Buffer
	encoder := json.NewEncoder(&buf)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(v)
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), err
}

// ParseJSON reads a record from one line. Where a record came from (topic,
// partition and offset) is read over: it says nothing on where it goes. A value that is
// no string is kept as its JSON text. Fields that are not those of AppendJSON are errors.
func ParseJSON(line []byte) (*kgo.Record, error) {
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	var o object
	if err := decoder.Decode(&o); err != nil {
		return nil, fmt.Errorf("no JSON record: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one JSON value in the line")
	}
	r := &kgo.Record{}
	if o.Timestamp != nil {
		r.Timestamp = time.UnixMilli(*o.Timestamp)
	}
	var err error
	if r.Key, err = decode("key", o.Key, o.KeyBase64); err != nil {
		return nil, err
	}
	if r.Value, err = decode("value", o.Value, o.ValueBase64); err != nil {
		return nil, err
	}
	for _, h := range o.Headers {
		value, err := decode("header "+h.Key, h.Value, h.ValueBase64)
		if err != nil {
			return nil, err
		}
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: value})
	}
	return r, nil
}

// decode is the reverse of encode; a field that is missing is null.
func decode(what string, text json.RawMessage, binary []byte) ([]byte, error) {
	switch {
	case binary != nil && text != nil:
		return nil, fmt.Errorf("%s is there twice, as text and as base64", what)
	case binary != nil:
		return binary, nil
	case text == nil || string(text) == "null":
		return nil, nil
	case text[0] != '"':
		return text, nil
	}
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return []byte(s), nil
}
