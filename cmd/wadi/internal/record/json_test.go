package record

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func TestAppendJSON(t *testing.T) {
	at := time.UnixMilli(1700000000123)
	tests := []struct {
		name   string
		record kgo.Record
		want   string
	}{
		{
			"text",
			kgo.Record{Topic: "t", Partition: 3, Offset: 7, Timestamp: at, Key: []byte("k"), Value: []byte("a<b>&\n\"ü\"")},
			`{"topic":"t","partition":3,"offset":7,"timestamp":1700000000123,"key":"k","value":"a<b>&\n\"ü\""}`,
		},
		{
			"null is not empty",
			kgo.Record{Topic: "t", Timestamp: at, Key: nil, Value: []byte{}},
			`{"topic":"t","partition":0,"offset":0,"timestamp":1700000000123,"key":null,"value":""}`,
		},
		{
			"bytes",
			kgo.Record{Topic: "t", Timestamp: at, Key: []byte{0xff}, Value: []byte{0, 0xfe}},
			`{"topic":"t","partition":0,"offset":0,"timestamp":1700000000123,"key_base64":"/w==","value_base64":"AP4="}`,
		},
		{
			"headers",
			kgo.Record{Topic: "t", Timestamp: at, Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("1")}, {Key: "h", Value: nil}, {Key: "b", Value: []byte{0xff}}}},
			`{"topic":"t","partition":0,"offset":0,"timestamp":1700000000123,"key":null,"value":null,` +
				`"headers":[{"key":"h","value":"1"},{"key":"h","value":null},{"key":"b","value_base64":"/w=="}]}`,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := AppendJSON([]byte("> "), &test.record)
			if err != nil || string(got) != "> "+test.want {
				t.Errorf("got  %s, %v\nwant %s", got, err, test.want)
			}
			back, err := ParseJSON([]byte(test.want))
			if err != nil {
				t.Fatal(err)
			}
			want := kgo.Record{Key: test.record.Key, Value: test.record.Value, Headers: test.record.Headers, Timestamp: at}
			if !reflect.DeepEqual(*back, want) {
				t.Errorf("read back %+v, want %+v", *back, want)
			}
		})
	}
}

func TestParseJSONTakesWhatPeopleWrite(t *testing.T) {
	for line, want := range map[string]string{
		`{"value":"v"}`:                           "v",
		`{"key":"k","value":{"a": [1, 2]}}`:       `{"a": [1, 2]}`,
		`{"value":12}`:                            "12",
		` {"value":"\u00fc"} `:                    "ü",
		`{"offset":9,"topic":"other","value":""}`: "",
	} {
		r, err := ParseJSON([]byte(line))
		if err != nil || string(r.Value) != want || r.Topic != "" || r.Offset != 0 || !r.Timestamp.IsZero() {
			t.Errorf("%s: got %+v, %v; want value %s", line, r, err, want)
		}
	}
	r, err := ParseJSON([]byte(`{}`))
	if err != nil || r.Key != nil || r.Value != nil {
		t.Errorf("an empty object: got %+v, %v", r, err)
	}
}

func TestParseJSONRefuses(t *testing.T) {
	for line, want := range map[string]string{
		``:                                    "no JSON record",
		`text`:                                "no JSON record",
		`"text"`:                              "no JSON record",
		`{"valeu":"v"}`:                       "valeu",
		`{"value":"v"} {"value":"w"}`:         "more than one",
		`{"value":"v","value_base64":"/w"}`:   "no JSON record",
		`{"value":"v","value_base64":"/w=="}`: "twice",
		`{"timestamp":"yesterday"}`:           "timestamp",
	} {
		if r, err := ParseJSON([]byte(line)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %+v, %v; want an error with %q", line, r, err, want)
		}
	}
}

func FuzzParseJSON(f *testing.F) {
	for _, seed := range []string{`{"key":"k","value":"v"}`, `{"value_base64":"/w=="}`, `{"headers":[{"key":"h","value":null}]}`, `{"value":{}}`, "{"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		first, err := ParseJSON(line)
		if err != nil {
			return
		}
		if first.Timestamp.IsZero() {
			first.Timestamp = time.UnixMilli(0)
		}
		text, err := AppendJSON(nil, first)
		if err != nil {
			t.Fatal(err)
		}
		second, err := ParseJSON(text)
		if err != nil || !reflect.DeepEqual(first, second) {
			t.Fatalf("%s read back as %+v, %v; was %+v", text, second, err, first)
		}
	})
}
