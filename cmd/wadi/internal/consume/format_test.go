package consume

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

var sample = kgo.Record{
	Topic: "t", Partition: 3, Offset: 1234567890123, Timestamp: time.UnixMilli(1700000000123),
	Key: []byte("key"), Value: []byte("a value"),
	Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("1")}, {Key: "n"}},
}

func TestFormats(t *testing.T) {
	empty := kgo.Record{Topic: "t", Value: []byte{}, Timestamp: time.UnixMilli(0)}
	tests := []struct {
		format, null string
		record       *kgo.Record
		want         string
	}{
		{"value", "", &sample, "a value\n"},
		{"key-value", "", &sample, "key\ta value\n"},
		{"raw", "", &sample, "a value"},
		{"json", "NULL", &empty, `{"topic":"t","partition":0,"offset":0,"timestamp":0,"key":null,"value":""}` + "\n"},
		{"%k %v", "", &sample, "key a value\n"},
		{`%t %p %o %T %h %K %V %%`, "~", &sample, "t 3 1234567890123 1700000000123 h=1,n=~ 3 7 %\n"},
		{"%k|%v|%K|%V|%h", "", &empty, "||-1|0|\n"},
		{"%k|%v", "NULL", &empty, "NULL|\n"},
		{`%v\n`, "", &sample, "a value\n"},
		{`%v\0`, "", &sample, "a value\x00"},
		{`%v\n%k`, "", &sample, "a value\nkey\n"},
		{`\x41%v\\`, "", &sample, "Aa value\\\n"},
		{`%v\x1e`, "", &sample, "a value\x1e"},
		{`%%`, "", &sample, "%\n"},
	}
	for _, test := range tests {
		format, err := parseFormat(test.format, test.null)
		if err != nil {
			t.Errorf("%s: %v", test.format, err)
			continue
		}
		got, err := format([]byte(">"), test.record)
		if err != nil || string(got) != ">"+test.want {
			t.Errorf("%s: got %q, %v; want %q", test.format, got, err, ">"+test.want)
		}
	}
}

func TestBadFormatsAreRefused(t *testing.T) {
	for format, want := range map[string]string{
		"":        `"" is unknown; want value, key-value, json, raw, or a template`,
		"values":  `"values" is unknown`,
		"%":       "% at the end; write %%",
		"%v %":    "% at the end",
		"%x":      "%x is unknown; there are %k %v",
		"%ü":      "%ü is unknown",
		`%v\`:     `\ at the end`,
		`%v\q`:    `\q is no escape`,
		`\%k`:     `\ at the end`,
		`%v\xfgz`: "two hex digits",
	} {
		if _, err := parseFormat(format, ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", format, err, want)
		}
	}
}

func FuzzParseFormat(f *testing.F) {
	for _, seed := range []string{"%k %v", `%t\t%p\n`, "json", "%", `\`, "%\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		format, err := parseFormat(text, "")
		if err != nil {
			return
		}
		if _, err := format(nil, &sample); err != nil {
			t.Fatal(err)
		}
	})
}
