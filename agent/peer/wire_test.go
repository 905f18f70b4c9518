package peer

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/objstore"
)

func hexOf(b []byte) string { return hex.EncodeToString(b) }

// TestMessagesArePinned: agents of two releases must understand each other.
func TestMessagesArePinned(t *testing.T) {
	request := appendRequest(nil, []span{{uuid.Max, 0x0102030405060708, MaxSpanBytes, true}, {uuid.Nil, 0, 1, false}})
	const wantRequest = "01" + "0002" +
		"ffffffffffffffffffffffffffffffff" + "0102030405060708" + "01000000" + "01" +
		"00000000000000000000000000000000" + "0000000000000000" + "00000001" + "00"
	if got := hexOf(request); got != wantRequest {
		t.Errorf("request is %s\nwant       %s", got, wantRequest)
	}
	var answer bytes.Buffer
	for _, err := range []error{
		writeFrame(&answer, kindBeat, 0), writeFrame(&answer, kindBytes, 1, []byte("ab"), nil, []byte("c")),
		writeFrame(&answer, kindNotFound, 2), writeFrame(&answer, kindRange, 3), writeFrame(&answer, kindFailed, 4),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	const wantAnswer = "00000000000000" + "01000100000003616263" + "02000200000000" + "03000300000000" + "04000400000000"
	if got := hexOf(answer.Bytes()); got != wantAnswer {
		t.Errorf("answer is %s\nwant      %s", got, wantAnswer)
	}
}

func TestRequestsAreBounded(t *testing.T) {
	ok := span{uuid.Max, 5, 10, true}
	large := span{uuid.Max, 0, MaxSpanBytes, false}
	for name, c := range map[string]struct {
		body []byte
		good bool
	}{
		"no spans":           {appendRequest(nil, nil), true},
		"most spans":         {appendRequest(nil, slices.Repeat([]span{ok}, maxSpans)), true},
		"most bytes":         {appendRequest(nil, []span{large, large}), true},
		"too many spans":     {appendRequest(nil, slices.Repeat([]span{ok}, maxSpans+1)), false},
		"too many bytes":     {appendRequest(nil, []span{large, large, ok}), false},
		"a span too large":   {appendRequest(nil, []span{{uuid.Max, 0, MaxSpanBytes + 1, true}}), false},
		"an empty span":      {appendRequest(nil, []span{{uuid.Max, 0, 0, true}}), false},
		"a negative place":   {appendRequest(nil, []span{{uuid.Max, -1, 1, true}}), false},
		"nothing":            {nil, false},
		"another version":    {append([]byte{2}, appendRequest(nil, nil)[1:]...), false},
		"a span cut off":     {appendRequest(nil, []span{ok})[:headerSize+spanSize-1], false},
		"something after it": {append(appendRequest(nil, []span{ok}), 0), false},
		"unknown flags":      {append(appendRequest(nil, []span{ok})[:headerSize+spanSize-1], 2), false},
	} {
		spans, err := parseRequest(c.body)
		if (err == nil) != c.good || err != nil && !errors.Is(err, errWire) {
			t.Errorf("%s: %d spans, error %v", name, len(spans), err)
		}
		if len(c.body) > maxRequest && err == nil {
			t.Errorf("%s: %d bytes are taken, want up to %d", name, len(c.body), maxRequest)
		}
	}
}

// said is what an answer says of a span.
type said struct {
	data []byte
	err  error
}

func readSaid(answer []byte, spans []span) (map[int]said, error) {
	got := map[int]said{}
	err := readAnswer(bytes.NewReader(answer), spans, func(number int, data []byte, err error) { got[number] = said{data, err} })
	return got, err
}

func TestAnswersAreBounded(t *testing.T) {
	spans := []span{{uuid.Max, 0, 3, true}, {uuid.Max, 0, 2, true}}
	frame := func(k kind, number int, data string) []byte {
		var b bytes.Buffer
		if err := writeFrame(&b, k, number, []byte(data)); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	beat, first, second := frame(kindBeat, 0, ""), frame(kindBytes, 0, "abc"), frame(kindRange, 1, "")
	for name, c := range map[string]struct {
		frames [][]byte
		want   error
	}{
		"all":              {[][]byte{beat, second, beat, first, beat}, nil},
		"one is missing":   {[][]byte{first}, errWire},
		"one comes twice":  {[][]byte{first, first, second}, errWire},
		"more than asked":  {[][]byte{first, frame(kindBytes, 1, "xyz")}, errWire},
		"nobody asked":     {[][]byte{first, frame(kindBytes, 2, "x")}, errWire},
		"unknown kind":     {[][]byte{first, frame(9, 1, "")}, errWire},
		"a beat with more": {[][]byte{frame(kindBeat, 0, "x"), first, second}, errWire},
		"cut in a frame":   {[][]byte{first, second[:3]}, io.ErrUnexpectedEOF},
		"cut in bytes":     {[][]byte{second, first[:frameSize+1]}, io.ErrUnexpectedEOF},
	} {
		got, err := readSaid(slices.Concat(c.frames...), spans)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: error %v, want %v", name, err, c.want)
		}
		if err == nil && (string(got[0].data) != "abc" || !errors.Is(got[1].err, objstore.ErrRange)) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// Whatever comes as a request is refused, or means what it says.
func FuzzRequest(f *testing.F) {
	f.Add(appendRequest(nil, nil))
	f.Add(appendRequest(nil, []span{{uuid.Max, 1 << 40, MaxSpanBytes, true}, {uuid.Nil, 0, 1, false}}))
	f.Fuzz(func(t *testing.T, body []byte) {
		spans, err := parseRequest(body)
		if err != nil {
			if !errors.Is(err, errWire) {
				t.Errorf("error %v, want %v", err, errWire)
			}
			return
		}
		sum := int64(0)
		for _, s := range spans {
			if err := s.check(); err != nil {
				t.Error(err)
			}
			sum += s.length
		}
		if sum > maxCallBytes || len(spans) > maxSpans {
			t.Errorf("%d spans of %d bytes are taken", len(spans), sum)
		}
		if again := appendRequest(nil, spans); !bytes.Equal(again, body) {
			t.Errorf("%x means %+v, which is %x", body, spans, again)
		}
	})
}

// Whatever comes as an answer says something of what was asked for, once, or is refused.
func FuzzAnswer(f *testing.F) {
	spans := []span{{uuid.Max, 0, 4, true}, {uuid.Max, 0, 1, false}, {uuid.Nil, 0, 1 << 10, false}}
	var whole bytes.Buffer
	for _, err := range []error{
		writeFrame(&whole, kindBytes, 2, []byte("short")), writeFrame(&whole, kindBeat, 0),
		writeFrame(&whole, kindNotFound, 0), writeFrame(&whole, kindBytes, 1, []byte("x")),
	} {
		if err != nil {
			f.Fatal(err)
		}
	}
	f.Add(whole.Bytes())
	f.Add(whole.Bytes()[:20])
	f.Fuzz(func(t *testing.T, answer []byte) {
		times := map[int]int{}
		err := readAnswer(bytes.NewReader(answer), spans, func(number int, data []byte, err error) {
			times[number]++
			if number >= len(spans) || times[number] > 1 || int64(len(data)) > spans[number].length || err != nil && data != nil {
				t.Errorf("span %d: %d bytes, error %v, time %d", number, len(data), err, times[number])
			}
		})
		if err == nil && len(times) != len(spans) {
			t.Errorf("%d of %d spans were answered, and no error", len(times), len(spans))
		}
	})
}
