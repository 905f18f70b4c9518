package guard

import (
	"go/ast"
	"slices"
	"strings"
	"testing"
)

// TestEveryPackageSaysWhatItIsFor wants a package comment in each folder.
func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	documented := map[string]bool{}
	for _, file := range tree(t) {
		name := strings.TrimSuffix(file.syntax.Name.Name, "_test")
		documented[file.folder] = documented[file.folder] || describes(file.syntax.Doc.Text(), name)
	}
	for folder, ok := range documented {
		if !ok {
			t.Errorf("%s has no package comment: say what it is for, what it guarantees and what it refuses to know, "+
				"so that a reader need not guess from the code", folder)
		}
	}
}

// describes tells whether doc is the comment of the package: it starts as godoc wants it to.
func describes(doc, name string) bool {
	if name == "main" {
		return strings.HasPrefix(doc, "Command ") || strings.HasPrefix(doc, "Wadi ")
	}
	return strings.HasPrefix(doc, "Package "+name+" ")
}

// TestFilesStaySmall: a file that nobody can hold in mind holds more than one thing.
func TestFilesStaySmall(t *testing.T) {
	const limit = 600
	for _, file := range tree(t) {
		if file.lines > limit && !file.test && !ast.IsGenerated(file.syntax) {
			t.Errorf("%s has %d lines, over the limit of %d: split it by what a reader would look for", file.path, file.lines, limit)
		}
	}
}

// TestPackageNamesSaySomething: what is called util or types has no border, and grows.
func TestPackageNamesSaySomething(t *testing.T) {
	empty := []string{"util", "utils", "common", "helper", "helpers", "manager", "types", "pkg", "misc", "shared", "base", "lib"}
	for _, file := range tree(t) {
		name := file.syntax.Name.Name
		last := file.folder[strings.LastIndexByte(file.folder, '/')+1:]
		if slices.Contains(empty, name) || slices.Contains(empty, last) {
			t.Errorf("%s is in package %s, folder %s: the name does not say what belongs into it; name the thing it is about", file.path, name, file.folder)
		}
	}
}

// TestTestsDoNotSleep: a sleep is too long on a fast machine and too short on a
// slow one. Inside a synctest bubble time is not real, and sleeping is right.
func TestTestsDoNotSleep(t *testing.T) {
	for _, file := range tree(t) {
		if file.test && file.calls("time", "Sleep") && !slices.Contains(file.imports, "testing/synctest") {
			t.Errorf("%s calls time.Sleep: wait for what you wait for (a channel, harness.Eventually), or use testing/synctest", file.path)
		}
	}
}

// TestPackagesWithServersCleanUp: without harness.Main nobody stops the servers
// in order, removes their data or looks for leaked goroutines.
func TestPackagesWithServersCleanUp(t *testing.T) {
	uses, cleans := map[string]string{}, map[string]bool{}
	for _, file := range tree(t) {
		if file.test && slices.Contains(file.imports, module+"/test/harness") {
			uses[file.folder] = file.path
			cleans[file.folder] = cleans[file.folder] || file.calls("harness", "Main")
		}
	}
	for folder, path := range uses {
		if !cleans[folder] {
			t.Errorf("%s uses the harness, but package %s has no func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }", path, folder)
		}
	}
}

func TestDescribes(t *testing.T) {
	for _, test := range []struct {
		doc, name string
		want      bool
	}{
		{"Package fetch reads.", "fetch", true},
		{"Command wadi is the agent and its tools.", "main", true},
		{"Wadi is a log.", "main", true},
		{"", "fetch", false},
		{"Package fetcher reads.", "fetch", false},
		{"This package reads.", "fetch", false},
		{"", "main", false},
	} {
		if got := describes(test.doc, test.name); got != test.want {
			t.Errorf("describes(%q, %q) = %v, want %v", test.doc, test.name, got, test.want)
		}
	}
}
