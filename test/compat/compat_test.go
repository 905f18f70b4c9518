package compat

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
)

// TestClients runs every script against every setup, and writes what works into
// docs/compatibility.md. It runs by `make compat`; narrow it down with, say,
//
//	make compat COMPAT='one_agent/kafkajs'
func TestClients(t *testing.T) {
	folder := os.Getenv("WADI_COMPAT")
	if folder == "" {
		t.Skip("the clients are installed and run by `make compat`, since they take minutes")
	}
	chosen := chosenSetups()
	r := newReport(chosen)
	for _, setup := range chosen {
		t.Run(setup.name, func(t *testing.T) {
			bootstrap := setup.start(t)
			for _, suite := range suites {
				t.Run(suite.name, func(t *testing.T) {
					if suite.name != alone {
						t.Parallel() // which waits until the one that runs alone has ended
					}
					runSuite(t, r, setup, suite, bootstrap, folder)
				})
			}
		})
	}
	fmt.Printf("\n%s\n", r.tables())
	switch {
	case os.Getenv("COMPAT_BOOTSTRAP") != "":
		fmt.Printf("%s is unchanged: it tells of Wadi as it is started here\n", document)
	case !r.complete():
		fmt.Printf("%s is unchanged: not everything ran\n", document)
	default:
		if err := os.WriteFile(document, []byte(r.document()), 0o644); err != nil {
			t.Fatal(err)
		}
		fmt.Printf("wrote %s\n", document)
	}
}

func runSuite(t *testing.T, r *report, setup setup, suite suite, bootstrap, folder string) {
	scratch := t.TempDir()
	s := &script{command: suite.command(t, folder, scratch), scratch: scratch, env: append(os.Environ(),
		"COMPAT_BOOTSTRAP="+bootstrap,
		"COMPAT_TARGET="+setup.target,
		fmt.Sprintf("COMPAT_RUN=%08x", rand.Uint32()),
		"COMPAT_JAVA="+folder+"/java",
	)}
	listed := s.list(t)
	if suite.title == "" {
		for _, f := range listed {
			if !slices.ContainsFunc(features, func(known feature) bool { return known.name == f.name }) {
				t.Errorf("%s tries %s, which is no feature in the table", suite.name, f.name)
			}
		}
	}
	r.start(suite, suite.version(t), listed)
	s.run(t, listed, func(name string, o outcome) {
		r.add(setup, suite, name, o)
		fmt.Printf("%-13s %-30s %-7s %s\n", setup.name, suite.name, o.verdict, name)
		if o.verdict == failed {
			t.Errorf("%s: %s", name, o.text)
		}
	})
	if t.Failed() {
		t.Logf("what %v printed last besides results:\n%s", s.command, s.logTail())
	}
}
