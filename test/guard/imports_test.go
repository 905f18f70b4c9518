package guard

import (
	"slices"
	"strings"
	"testing"
)

// TestImportsFlowDown keeps the layers apart: cmd imports agent, agent imports
// metadata, objstore and protocol, and these know nothing of each other.
func TestImportsFlowDown(t *testing.T) {
	for _, file := range tree(t) {
		for _, imported := range file.imports {
			target, ok := strings.CutPrefix(imported, module+"/")
			if !ok {
				continue
			}
			if why := forbidden(file.folder, target, file.test); why != "" {
				t.Errorf("%s imports %s: %s", file.path, target, why)
			}
		}
	}
}

// agentLeaves are there for all parts of an agent, and know none of them.
var agentLeaves = []string{"agent/errcode", "agent/gather"}

// forbidden returns why the package in the folder from may not import the one
// in the folder to, "" where it may.
func forbidden(from, to string, test bool) string {
	fromTop, fromRest, _ := strings.Cut(from, "/")
	toTop, toRest, _ := strings.Cut(to, "/")
	fromSub, _, _ := strings.Cut(fromRest, "/")
	toSub, _, _ := strings.Cut(toRest, "/")
	// What is there only for tests: test/..., and by name suites like metadatatest.
	test = test || fromTop == "test" || strings.HasSuffix(from, "test")
	suite := strings.HasSuffix(to, "test") && toTop != "test"
	switch {
	case from == to: // an external test package
		return ""
	case toTop == "cmd" && fromTop != "cmd":
		return "commands are the top; what others need of one belongs into a package below"
	case from == "test/harness":
		return "every package's tests use the harness, so it can know none of them"
	case toTop == "test" && fromTop != "test" && to != "test/harness":
		return "only test/harness is there for the tests of other packages"
	case to == "test/harness" && !test:
		return "the harness is for tests; this file is part of the program"
	case suite && !test:
		return "a suite is for tests; this file is part of the program"
	case fromTop == "test", fromTop == "cmd", to == "test/harness", fromTop == toTop && fromTop != "agent":
		return ""
	case !slices.Contains([]string{"agent", "metadata", "objstore", "protocol"}, fromTop):
		return "this folder has no place in the layers; give it one in this test"
	case fromTop != "agent" && toTop == "agent":
		return "stores and protocol must work without an agent (in tools, in other servers, in their tests)"
	case fromTop != "agent":
		return "metadata, objstore and protocol are independent, so that each can be understood, tested and replaced alone; what joins two belongs into agent"
	case toTop != "agent" || from == "agent" || slices.Contains(agentLeaves, to) || fromSub == toSub:
		return ""
	case to == "agent":
		return "agent puts its parts together; a part that knows the whole can't be tested alone"
	}
	return "the parts of an agent know each other only by small interfaces of their own; package agent connects them"
}

func TestForbiddenImports(t *testing.T) {
	for _, test := range []struct {
		from, to string
		test     bool
		allowed  bool
	}{
		{"cmd/wadi", "agent", false, true},
		{"cmd/wadi", "cmd/wadi/internal/settings", false, true},
		{"cmd/wadi/internal/produce", "cmd/wadi/internal/terminal", false, true},
		{"cmd/wadi/internal/inspect", "objstore/datafile", false, true},
		{"agent", "agent/fetch", false, true},
		{"agent", "metadata/postgres", false, true},
		{"agent/fetch", "metadata", false, true},
		{"agent/fetch", "agent/errcode", false, true},
		{"agent/group", "agent/gather", false, true},
		{"agent/fetch/plan", "agent/fetch", false, true},
		{"agent/fetch", "metadata/metadatatest", true, true},
		{"agent/fetch", "test/harness", true, true},
		{"metadata/postgres", "metadata/sequence", false, true},
		{"metadata/postgres", "metadata/metadatatest", true, true},
		{"metadata/metadatatest", "metadata", false, true},
		{"protocol", "protocol/configs", false, true},
		{"objstore/internal/s3test", "test/harness", false, true},
		{"objstore/s3", "objstore/internal/s3test", true, true},
		{"test/e2e", "test/harness", true, true},
		{"test/bench", "test/harness", false, true},
		{"test/bench", "agent", false, true},

		{"agent", "cmd/wadi", false, false},
		{"agent", "cmd/wadi/internal/settings", false, false},
		{"agent/fetch", "agent", false, false},
		{"agent/fetch", "agent/produce", false, false},
		{"agent/fetch", "agent/produce", true, false},
		{"agent/errcode", "agent/fetch", false, false},
		{"agent/gather", "agent/group", false, false},
		{"metadata", "agent", false, false},
		{"metadata/postgres", "protocol", false, false},
		{"objstore/datafile", "metadata", false, false},
		{"objstore/datafile", "metadata", true, false},
		{"protocol", "objstore", false, false},
		{"agent/fetch", "test/harness", false, false},
		{"agent/fetch", "test/e2e", true, false},
		{"metadata/postgres", "metadata/metadatatest", false, false},
		{"cmd/wadi", "objstore/objstoretest", false, false},
		{"objstore/s3", "objstore/internal/s3test", false, false},
		{"test/harness", "agent", false, false},
		{"test/harness", "protocol", true, false},
		{"elsewhere", "metadata", false, false},
	} {
		if why := forbidden(test.from, test.to, test.test); (why == "") != test.allowed {
			t.Errorf("%s imports %s (in a test: %v): got %q, want allowed %v", test.from, test.to, test.test, why, test.allowed)
		}
	}
}
