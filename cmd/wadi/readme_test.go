package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/wadi-log/wadi/cmd/wadi/internal/settings"
)

const (
	readme        = "../../README.md"
	settingsStart = "<!-- settings: written by go test ./cmd/wadi -run TestReadme -update -->\n"
	settingsEnd   = "<!-- end of settings -->\n"
)

// settingsTable is the README's table, from the same list as the flags.
func settingsTable() string {
	var b strings.Builder
	b.WriteString("| flag | environment | default | what it is |\n|---|---|---|---|\n")
	for _, s := range settings.All() {
		flag := "`--" + s.Name + "`"
		if s.Secret {
			flag = "none (file: `" + s.Name + "`)"
		}
		value := s.Automatic
		if value == "" && s.Default() != "" {
			value = "`" + s.Default() + "`"
		}
		fmt.Fprintf(&b, "| %s | `%s` | %s | %s |\n", flag, s.Env(), value, s.Usage)
	}
	return b.String()
}

// TestReadmeShowsEverySetting keeps the README true.
func TestReadmeShowsEverySetting(t *testing.T) {
	content, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(content), settingsStart)
	table, after, closed := strings.Cut(rest, settingsEnd)
	if !found || !closed {
		t.Fatalf("%s lacks the marks around its settings", readme)
	}
	if *update {
		text := before + settingsStart + settingsTable() + settingsEnd + after
		if err := os.WriteFile(readme, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if table != settingsTable() {
		t.Errorf("the settings in %s are not those of the agent; run go test ./cmd/wadi -run TestReadme -update", readme)
	}
}

// TestReadmeNamesEveryFlagAndCommand does not trust the generated table alone.
func TestReadmeNamesEveryFlagAndCommand(t *testing.T) {
	content, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	agent, _, err := rootCommand().Find([]string{"agent"})
	if err != nil {
		t.Fatal(err)
	}
	flags := 0
	agent.Flags().VisitAll(func(f *pflag.Flag) {
		flags++
		if f.Name != "help" && !strings.Contains(string(content), "--"+f.Name) {
			t.Errorf("the README does not name --%s", f.Name)
		}
	})
	if flags < len(settings.All())-2 {
		t.Errorf("wadi agent has %d flags, fewer than settings", flags)
	}
	for _, cmd := range rootCommand().Commands() {
		if !strings.Contains(string(content), "`wadi "+cmd.Name()) {
			t.Errorf("the README does not name wadi %s", cmd.Name())
		}
	}
}
