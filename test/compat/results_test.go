package compat

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	const name = "kafka-topics: create"
	for _, test := range []struct {
		line string
		want outcome
		fine bool
	}{
		{"ok kafka-topics: create", outcome{ok, ""}, true},
		{"FAIL kafka-topics: create: no topic", outcome{failed, "no topic"}, true},
		{"differs kafka-topics: create: by design: none", outcome{differs, "by design: none"}, true},
		{"ok kafka-topics: create: why", outcome{}, false},
		{"ok kafka-topics", outcome{}, false},
		{"FAIL kafka-topics: create", outcome{}, false},
		{"differs kafka-topics: create: ", outcome{}, false},
		{"maybe kafka-topics: create: x", outcome{}, false},
		{"ok kafka-topics: create and more", outcome{}, false},
		{"", outcome{}, false},
	} {
		got, err := parse(test.line, name)
		if got != test.want || (err == nil) != test.fine {
			t.Errorf("parse(%q) = %v, %v, want %v", test.line, got, err, test.want)
		}
	}
}

// TestScriptsThatBreakFailOneFeature runs scripts that say too little, the wrong
// thing, or nothing.
func TestScriptsThatBreakFailOneFeature(t *testing.T) {
	for _, test := range []struct {
		name, body string
		want       string
	}{
		{"all is well", `for f; do echo "ok $f"; done`, "a ok, b ok, c ok"},
		{"a feature fails", `for f; do [ $f = b ] && echo "FAIL b: broken" || echo "ok $f"; done`, "a ok, b FAIL, c ok"},
		{"it ends early", `echo "ok $1"; [ $1 = c ]`, "a ok, b FAIL, c ok"},
		{"it says something else", `for f; do [ $f = b ] && echo oops || echo "ok $f"; done`, "a ok, b FAIL, c ok"},
		{"it can't start", `exit 3`, "a FAIL, b FAIL, c FAIL"},
	} {
		t.Run(test.name, func(t *testing.T) {
			scratch := t.TempDir()
			path := filepath.Join(scratch, "script")
			if err := os.WriteFile(path, []byte(test.body), 0o600); err != nil {
				t.Fatal(err)
			}
			s := &script{command: []string{"/bin/sh", path}, env: os.Environ(), scratch: scratch}
			var got []string
			s.run(t, []tried{{"a", ""}, {"b", ""}, {"c", ""}}, func(name string, o outcome) {
				got = append(got, name+" "+string(o.verdict))
			})
			if strings.Join(got, ", ") != test.want {
				t.Errorf("got %v, want %s", got, test.want)
			}
		})
	}
}

// TestReportTellsWhereSomethingFails also pins that an incomplete report is known for one.
func TestReportTellsWhereSomethingFails(t *testing.T) {
	r := newReport(setups)
	for _, s := range suites {
		r.start(s, "1.0", []tried{{"codecs", ""}, {"groups", ""}, {"topics", ""}})
		for _, on := range setups {
			if r.complete() {
				t.Fatal("complete before everything ran")
			}
			r.add(on, s, "codecs", outcome{ok, ""})
			r.add(on, s, "groups", outcome{differs, "no groups here"})
			r.add(on, s, "topics", outcome{ok, ""})
		}
	}
	if !r.complete() {
		t.Fatal("incomplete with everything run")
	}
	if got := r.tables(); strings.Contains(got, "FAIL") || strings.Count(got, "no groups here") != 1 {
		t.Errorf("nothing failed and one thing differs, but the report says:\n%s", got)
	}
	r.add(setups[1], suites[0], "topics", outcome{failed, "no topics either"})
	for _, want := range []string{
		"| **FAIL** with " + setups[1].name + " |",
		"## What fails\n\n- " + suites[0].name + ", topics: no topics either\n",
	} {
		if got := r.tables(); !strings.Contains(got, want) {
			t.Errorf("the report lacks %q:\n%s", want, got)
		}
	}
}

// TestDocumentIsUpToDate: a feature that was added, removed or renamed needs a new
// run of make compat, and so does a client's version.
func TestDocumentIsUpToDate(t *testing.T) {
	content, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(content), "\n")
	for _, f := range features {
		if !slices.ContainsFunc(lines, func(line string) bool { return strings.HasPrefix(line, "| "+f.title+" |") }) {
			t.Errorf("%s has no row %q: run make compat", document, f.title)
		}
	}
	for _, s := range suites {
		if s.name == "kcat" { // comes with the system
			continue
		}
		if version := s.version(t); !strings.Contains(string(content), version) {
			t.Errorf("%s does not tell of %s %s: run make compat", document, s.name, version)
		}
	}
}
