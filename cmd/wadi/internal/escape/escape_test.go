package escape

import (
	"strings"
	"testing"
)

func TestUnescape(t *testing.T) {
	for text, want := range map[string]string{
		"":             "",
		"plain ü":      "plain ü",
		`\t`:           "\t",
		`a\tb\n`:       "a\tb\n",
		`\\t`:          `\t`,
		`\0\r`:         "\x00\r",
		`\x1f\xFFz`:    "\x1f\xffz",
		"already\ttab": "already\ttab",
	} {
		if got, err := Unescape(text); err != nil || got != want {
			t.Errorf("Unescape(%q) = %q, %v; want %q", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		`a\`:   "at the end",
		`\q`:   `\q is no escape`,
		`\ü`:   `\ü is no escape`,
		`\x1`:  "two hex digits",
		`\xzz`: "two hex digits",
	} {
		if got, err := Unescape(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Unescape(%q) = %q, %v; want an error with %q", text, got, err, want)
		}
	}
}

func FuzzUnescape(f *testing.F) {
	for _, seed := range []string{`a\tb`, `\x1f`, `\`, `\\`, "\xff\\\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := Unescape(text)
		if err == nil && len(got) > len(text) {
			t.Fatalf("%q became longer: %q", text, got)
		}
		if back, err := Unescape(strings.ReplaceAll(text, `\`, `\\`)); err != nil || back != text {
			t.Fatalf("escaping %q came back as %q, %v", text, back, err)
		}
	})
}
