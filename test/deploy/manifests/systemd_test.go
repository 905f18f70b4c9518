package manifests

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/wadi-log/wadi/test/harness"
)

// needLinux skips the test where there can't be a systemd.
func needLinux(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("systemd is for Linux only")
	}
}

// unit writes deploy/systemd/wadi.service to a folder, with the program of this tree in it, which systemd looks for.
func unit(t *testing.T) string {
	t.Helper()
	needLinux(t)
	const program = "/usr/local/bin/wadi"
	text := file(t, "deploy/systemd/wadi.service")
	if !strings.Contains(text, "ExecStart="+program+" agent\n") {
		t.Fatalf("the unit doesn't start %s", program)
	}
	path := filepath.Join(t.TempDir(), "wadi.service")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, program, harness.Binary(t))), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSystemdTakesTheUnit(t *testing.T) {
	// What it doesn't know it only warns of.
	if out := must(t, "", "systemd-analyze", "verify", "--man=no", unit(t)); strings.TrimSpace(out) != "" {
		t.Errorf("systemd says of the unit:\n%s", out)
	}
}

// TestTheUnitGivesNothingAway asks systemd for the unit's exposure: 10 is a service without any restriction, and what
// is left, 1.2, is the network and the list of what is on the machine.
func TestTheUnitGivesNothingAway(t *testing.T) {
	out, ok := run(t, "", "systemd-analyze", "security", "--no-pager", "--offline=yes", "--threshold=15", unit(t))
	if !ok {
		t.Errorf("the unit is exposed above 1.5:\n%s", out)
	}
}

// TestTheUnitWaitsForTheDrain compares the time that systemd gives with what an agent takes by default.
func TestTheUnitWaitsForTheDrain(t *testing.T) {
	var stop time.Duration
	for line := range strings.Lines(file(t, "deploy/systemd/wadi.service")) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "TimeoutStopSec="); ok {
			var err error
			if stop, err = time.ParseDuration(value + "s"); err != nil {
				t.Fatal(err)
			}
		}
	}
	var drain time.Duration
	for name, value := range defaults(t) {
		if name == "drain-delay" || name == "drain-timeout" {
			d, err := time.ParseDuration(value)
			if err != nil {
				t.Fatalf("--%s: %v", name, err)
			}
			drain += d
		}
	}
	if drain == 0 || stop < drain+5*time.Second {
		t.Errorf("systemd kills the agent after %v, and it may take %v to drain", stop, drain)
	}
}

// TestTheEnvironmentFileIsTheAgents: with all its examples switched on, each variable exists.
func TestTheEnvironmentFileIsTheAgents(t *testing.T) {
	known := variables(t)
	set := 0
	for line := range strings.Lines(file(t, "deploy/systemd/wadi.env")) {
		line = strings.TrimPrefix(strings.TrimSpace(line), "#")
		name, _, found := strings.Cut(line, "=")
		if !found || !strings.HasPrefix(name, "WADI_") {
			continue
		}
		set++
		if !known[name] {
			t.Errorf("wadi reads no variable %s", name)
		}
	}
	if set < 10 {
		t.Errorf("found only %d variables", set)
	}
}

// TestSecretsStayInTheEnvironmentFile: systemctl show tells everybody what a unit or a drop-in puts into the environment.
func TestSecretsStayInTheEnvironmentFile(t *testing.T) {
	const readme = "deploy/systemd/README.md"
	texts := []string{file(t, "deploy/systemd/wadi.service")}
	dropIns := 0
	for _, block := range blocks(t, readme, "ini") {
		checkVariables(t, readme, block)
		if strings.Contains(block, "[Service]") {
			texts = append(texts, block)
			dropIns++
		}
	}
	if dropIns != 1 {
		t.Errorf("%s has %d drop-ins, want 1", readme, dropIns)
	}
	for _, text := range texts {
		if strings.Contains(text, "WADI_") || strings.Contains(text, "secret") {
			t.Errorf("a setting stands where everybody can read it:\n%s", text)
		}
	}
}
