package group

import (
	"bytes"
	"maps"
	"strings"
	"testing"
)

func TestReadCSV(t *testing.T) {
	want := map[partition]int64{{"orders", 0}: 7, {"orders", 1}: 9223372036854775807}
	for name, text := range map[string]string{
		"own form":            "orders,0,7\norders,1,9223372036854775807\n",
		"no end of line":      "orders,0,7\norders,1,9223372036854775807",
		"quotes and spaces":   "\"orders\", 0, 7\r\n\norders, 1, 9223372036854775807\r\n",
		"form of many groups": "g,orders,0,7\nother,orders,0,3\ng,orders,1,9223372036854775807\n",
	} {
		if got, err := readCSV(strings.NewReader(text), "g"); err != nil || !maps.Equal(got, want) {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
	for text, want := range map[string]string{
		"":                             "has no offset of group g",
		"other,t,0,1\n":                "has no offset of group g",
		"t,0\n":                        "line 1: want topic,partition,offset",
		"topic,partition,offset\n":     "line 1: topic,partition is no topic and partition",
		"t,0,1\nt,0,2\n":               "line 2: t partition 0 is there twice",
		"t,0,1\n\nt,1,x\n":             "line 3: \"x\" is no offset",
		"t,0,-1\n":                     "line 1: \"-1\" is no offset",
		"t,-1,1\n":                     "line 1: t,-1 is no topic",
		",0,1\n":                       "line 1: ,0 is no topic",
		"t,2147483648,1\n":             "line 1: t,2147483648 is no topic",
		"t,0,1\ng,t,0,1\n":             "wrong number of fields",
		"t,0,\"1\n":                    "line 1",
		"g,t,0,1\ng,t,zero,1\n":        "line 2: t,zero",
		"t,0,99999999999999999999\n":   "is no offset",
		"g,t,0,1,extra\ng,t,0,1,extra": "line 1: want",
	} {
		if got, err := readCSV(strings.NewReader(text), "g"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, %v; want an error with %q", text, got, err, want)
		}
	}
}

// FuzzReadCSV feeds readCSV anything. What it takes is written and read back as it was.
func FuzzReadCSV(f *testing.F) {
	f.Add("orders,0,7\norders,1,8\n")
	f.Add("g,orders,0,7\nh,orders,0,7\n")
	f.Add("\"a\"\"b\",0,7")
	f.Add("\"a\nb\",0,7")
	f.Fuzz(func(t *testing.T, text string) {
		offsets, err := readCSV(strings.NewReader(text), "g")
		if err != nil {
			return
		}
		var changes []change
		for _, p := range sortedPartitions(offsets) {
			changes = append(changes, change{partition: p, new: offsets[p]})
		}
		var out bytes.Buffer
		if err := writeCSV(&out, changes); err != nil {
			t.Fatal(err)
		}
		if again, err := readCSV(&out, "g"); err != nil || !maps.Equal(again, offsets) {
			t.Errorf("%q was read as %v, written, and read as %v, %v", text, offsets, again, err)
		}
	})
}
