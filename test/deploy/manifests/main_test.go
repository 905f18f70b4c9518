package manifests

import (
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/wadi-log/wadi/test/harness"
)

const root = "../../.."

var update = flag.Bool("update", false, "rewrite the list of settings in the chart's schema")

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// run runs a tool of the test set-up, with its home in a folder of its own, and returns what it printed and whether
// it ended well.
func run(t *testing.T, input, tool string, args ...string) (output string, ok bool) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), harness.Tool(t, tool), args...)
	cmd.Stdin = strings.NewReader(input)
	home := t.TempDir()
	cmd.Env = append(os.Environ(), "HOME="+home, "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home, "KUBECONFIG=/nonexistent")
	out, err := cmd.CombinedOutput()
	var exited *exec.ExitError
	if err != nil && !errors.As(err, &exited) {
		t.Fatalf("%s: %v", tool, err)
	}
	return string(out), err == nil
}

// must is run for a tool that has to end well.
func must(t *testing.T, input, tool string, args ...string) string {
	t.Helper()
	out, ok := run(t, input, tool, args...)
	if !ok {
		t.Fatalf("%s %s:\n%s", tool, strings.Join(args, " "), out)
	}
	return out
}

// typed asks the program of test/deploy/typed about a text, and decodes its answer.
func typed(t *testing.T, what, input string, answer any) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), harness.Tool(t, "typed"), what)
	cmd.Stdin = strings.NewReader(input)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("typed %s: %v\n%s", what, err, stderr.String())
	}
	if err := json.Unmarshal(out, answer); err != nil {
		t.Fatalf("typed %s: %v", what, err)
	}
}

// file returns the content of a file of the tree, by its path from the root.
func file(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// note opens all files of a folder which a tool reads for a test: the go command repeats a test that
// passed before only when something changed that the test itself has opened.
func note(t *testing.T, folder string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(root, folder), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		_, err = os.ReadFile(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// settings returns the agent's settings and their environment variables, as the README has them, which
// another test compares with the program.
func settings(t *testing.T) map[string]string {
	t.Helper()
	row := regexp.MustCompile("(?m)^\\| (?:`--|none \\(file: `)([a-z-]+)`\\)? \\| `(WADI_[A-Z_]+)` \\|")
	all := map[string]string{}
	for _, match := range row.FindAllStringSubmatch(file(t, "README.md"), -1) {
		all[match[1]] = match[2]
	}
	if len(all) < 20 {
		t.Fatalf("the README has %d settings: is its table written otherwise now?", len(all))
	}
	return all
}

// defaults returns the defaults of those settings that have one, as the README has them.
func defaults(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, match := range regexp.MustCompile("(?m)^\\| `--([a-z-]+)` \\| `WADI_[A-Z_]+` \\| `([^`]+)` \\|").FindAllStringSubmatch(file(t, "README.md"), -1) {
		all[match[1]] = match[2]
	}
	return all
}

// variables returns the environment variables that wadi reads.
func variables(t *testing.T) map[string]bool {
	t.Helper()
	all := map[string]bool{"WADI_CONFIG": true, "WADI_BOOTSTRAP": true}
	for _, variable := range settings(t) {
		all[variable] = true
	}
	return all
}

// checkVariables fails the test for each variable of wadi in the text that doesn't exist.
func checkVariables(t *testing.T, where, text string) {
	t.Helper()
	known := variables(t)
	for _, variable := range regexp.MustCompile(`\bWADI_[A-Z_]+`).FindAllString(text, -1) {
		if !known[variable] {
			t.Errorf("%s: wadi reads no variable %s", where, variable)
		}
	}
}
