package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/wadi-log/wadi/cmd/wadi/internal/settings"
)

// deployments are the files that people start Wadi with.
func deployments(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, start := range []string{"../../docker-compose.yml", "../../deploy"} {
		err := filepath.WalkDir(start, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || filepath.Ext(path) == ".go" {
				return err
			}
			content, err := os.ReadFile(path)
			files[path] = string(content)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// TestDeploymentsSetOnlyWhatCanBeSet: an agent takes a misspelt variable for somebody else's, and a
// container with a wrong flag ends at once.
func TestDeploymentsSetOnlyWhatCanBeSet(t *testing.T) {
	known := []string{settings.ConfigEnv, "WADI_BOOTSTRAP"}
	for _, s := range settings.All() {
		known = append(known, s.Env())
	}
	found := 0
	for path, content := range deployments(t) {
		for _, name := range regexp.MustCompile(`\bWADI_[A-Z][A-Z_]*[A-Z]\b`).FindAllString(content, -1) {
			found++
			if !slices.Contains(known, name) {
				t.Errorf("%s sets %s, which is no setting", path, name)
			}
		}
		for _, use := range commandLines(content) {
			found++
			if complaint := use.check(rootCommand()); complaint != "" {
				t.Errorf("%s: wadi %s: %s", path, strings.Join(use, " "), complaint)
			}
		}
	}
	if found < 10 {
		t.Errorf("found %d settings and commands only", found)
	}
}

// commandLine is what follows `wadi` where it is run.
type commandLine []string

var (
	continued = regexp.MustCompile(`\\\n`)
	quotes    = strings.NewReplacer(`"`, " ", `'`, " ", "[", " ", "]", " ", ",", " ", "`", " ")
	// Its name alone or at the end of a path, at the start of a line, after a blank or in a list.
	run = regexp.MustCompile(`(?:^|\s|/)wadi\s+([a-z].*)$`)
)

// commandLines finds the lines that run a command of wadi: in a shell's form, a list's or a unit's.
func commandLines(content string) (found []commandLine) {
	for line := range strings.Lines(continued.ReplaceAllString(content, " ")) {
		match := run.FindStringSubmatch(strings.TrimSpace(quotes.Replace(line)))
		if match == nil {
			continue
		}
		words := strings.Fields(match[1])
		for _, cmd := range rootCommand().Commands() {
			if words[0] == cmd.Name() {
				found = append(found, words)
			}
		}
	}
	return found
}

// check returns what is wrong with the words, up to the first that is no part of the command.
func (c commandLine) check(root *cobra.Command) string {
	cmd, rest, err := root.Find(c)
	if err != nil {
		return err.Error()
	}
	if cmd.HasSubCommands() && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
		return "there is no command " + rest[0]
	}
	for _, word := range rest {
		name, ok := strings.CutPrefix(word, "--")
		if !ok {
			continue
		}
		name, _, _ = strings.Cut(name, "=")
		if name != "help" && cmd.Flags().Lookup(name) == nil && cmd.InheritedFlags().Lookup(name) == nil {
			return "there is no --" + name
		}
	}
	return ""
}

func TestCommandLinesAreFoundAndChecked(t *testing.T) {
	for _, test := range []struct {
		content string
		lines   int
		want    string
	}{
		{"ExecStart=/usr/local/bin/wadi agent \\\n  --config /etc/wadi/wadi.yaml\n", 1, ""},
		{`test: [CMD, wadi, ready, "--timeout=1s"]`, 1, ""},
		{`ENTRYPOINT ["/usr/local/bin/wadi", "agent", "--zones", "a"]`, 1, "there is no --zones"},
		{"#   docker compose exec agent-1 wadi topic list   lists them", 1, ""},
		{"wadi topic lst", 1, "there is no command lst"},
		{"name: wadi", 0, ""},
		{"where wadi runs", 0, ""},
	} {
		lines := commandLines(test.content)
		if len(lines) != test.lines {
			t.Errorf("%q has %q, want %d", test.content, lines, test.lines)
			continue
		}
		for _, line := range lines {
			if got := line.check(rootCommand()); !strings.Contains(got, test.want) || test.want == "" && got != "" {
				t.Errorf("%q: got %q, want %q", test.content, got, test.want)
			}
		}
	}
}
