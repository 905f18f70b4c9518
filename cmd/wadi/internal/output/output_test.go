package output

import (
	"bytes"
	"testing"
)

func TestTableAlignsColumns(t *testing.T) {
	var out bytes.Buffer
	if err := Table(&out, "NAME N", [][]string{{"orders", "12"}, {"t", "3"}}); err != nil {
		t.Fatal(err)
	}
	if want := "NAME    N\norders  12\nt       3\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

func TestJSONIsNotMadeForHTML(t *testing.T) {
	var out bytes.Buffer
	if err := JSON(&out, map[string]string{"a": "<&>"}); err != nil {
		t.Fatal(err)
	}
	if want := "{\n  \"a\": \"<&>\"\n}\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}

func TestPlural(t *testing.T) {
	for n, want := range map[int]string{0: "0 groups", 1: "1 group", 2: "2 groups"} {
		if got := Plural(n, "group"); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
