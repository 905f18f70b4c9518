package group

import (
	"reflect"
	"strings"
	"testing"
)

func TestParseSelection(t *testing.T) {
	for _, test := range []struct {
		texts []string
		want  selection
	}{
		{nil, selection{}},
		{[]string{"orders"}, selection{"orders": nil}},
		{[]string{"orders:3,0"}, selection{"orders": {0, 3}}},
		{[]string{"orders:0-3,7"}, selection{"orders": {0, 1, 2, 3, 7}}},
		{[]string{"orders:2-2"}, selection{"orders": {2}}},
		{[]string{"orders:1", "payments", "orders:0,1"}, selection{"orders": {0, 1}, "payments": nil}},
		{[]string{"orders:1", "orders"}, selection{"orders": nil}},
		{[]string{"orders", "orders:1"}, selection{"orders": nil}},
		{[]string{"a:2147483647"}, selection{"a": {2147483647}}},
	} {
		if got, err := parseSelection(test.texts); err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%v: got %v, %v; want %v", test.texts, got, err, test.want)
		}
	}
	for _, text := range []string{"", ":", ":1", "t:", "t:x", "t:-1", "t:1,", "t:2147483648", "t:3-1", "t:1-", "t:0-1000000", "t:1-2-3", "t: 1"} {
		if got, err := parseSelection([]string{text}); err == nil || !strings.HasPrefix(err.Error(), `--topic "`+text+`": `) {
			t.Errorf("%q: got %v, %v; want an error", text, got, err)
		}
	}
}

// What tables print can be typed back.
func TestRangesReadBack(t *testing.T) {
	for _, numbers := range [][]int32{{0}, {0, 1}, {0, 2}, {0, 1, 2, 5, 7, 8}, {10, 12, 13}} {
		text := "t:" + ranges(numbers)
		if got, err := parseSelection([]string{text}); err != nil || !reflect.DeepEqual(got["t"], numbers) {
			t.Errorf("%v is printed as %s, which reads as %v, %v", numbers, text, got, err)
		}
	}
	if got := ranges([]int32{0, 1, 2, 5, 7, 8}); got != "0-2,5,7-8" {
		t.Errorf("got %s", got)
	}
}
