package manifests

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/wadi-log/wadi/test/harness"
)

const walk = "deploy/raspberry-pi.md"

// blocks returns the code blocks of a language in a Markdown file.
func blocks(t *testing.T, path, language string) []string {
	t.Helper()
	var found []string
	for _, match := range regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$").FindAllStringSubmatch(file(t, path), -1) {
		if match[1] == language {
			found = append(found, match[2])
		}
	}
	return found
}

// TestAgentsRunWithTheSettingsOfTheWalk starts an agent with each set of settings that the walk shows, but for
// addresses and stores, which are the test's, and with one of them does what the walk does.
func TestAgentsRunWithTheSettingsOfTheWalk(t *testing.T) {
	sets := 0
	for _, block := range blocks(t, walk, "ini") {
		if !strings.Contains(block, "WADI_") {
			continue
		}
		checkVariables(t, walk, block)
		var env []string
		for line := range strings.Lines(block) {
			name, value, found := strings.Cut(strings.TrimSpace(line), "=")
			switch {
			case !found || strings.HasPrefix(name, "#"), strings.HasPrefix(name, "WADI_OBJECTS"), name == "WADI_METADATA", name == "WADI_DATA_DIR":
				continue
			case name == "WADI_ADVERTISE", name == "WADI_PEER_ADVERTISE":
				continue
			case name == "WADI_PEER_LISTEN":
				value = "127.0.0.1:0"
			}
			env = append(env, name+"="+value)
		}
		agent := harness.Agent(t, harness.AgentOptions{Env: env})
		if sets == 0 {
			followWalk(t, agent)
		}
		sets++
	}
	if sets != 3 {
		t.Errorf("the walk has %d sets of settings, want one Pi's, those of several and the smallest", sets)
	}
}

// followWalk runs the client commands of the walk against an agent.
func followWalk(t *testing.T, agent *harness.AgentProcess) {
	t.Helper()
	// As the walk has it in PATH.
	bin := t.TempDir()
	if err := os.Symlink(harness.Binary(t), filepath.Join(bin, "wadi")); err != nil {
		t.Fatal(err)
	}
	kafka, http := regexp.MustCompile(`192\.168\.1\.11:9092(,192\.168\.1\.12:9092)?`), "192.168.1.11:8080"
	ran, consumed := 0, ""
	for _, block := range blocks(t, walk, "sh") {
		for line := range strings.Lines(block) {
			line = strings.TrimSpace(line)
			if !strings.HasPrefix(line, "wadi ") && !strings.Contains(line, "| wadi ") || strings.HasPrefix(line, "sudo ") {
				continue
			}
			line = strings.ReplaceAll(kafka.ReplaceAllString(line, agent.Bootstrap()), http, strings.TrimPrefix(agent.HTTP(), "http://"))
			cmd := exec.CommandContext(t.Context(), "sh", "-c", line)
			cmd.Env = []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "WADI_HTTP_LISTEN=" + strings.TrimPrefix(agent.HTTP(), "http://")}
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("%s: %v\n%s", line, err, out)
			}
			if strings.HasPrefix(line, "wadi consume") {
				consumed = string(out)
			}
			ran++
		}
	}
	if ran < 7 || !strings.Contains(consumed, "21.5") {
		t.Errorf("ran %d commands, and consumed %q", ran, consumed)
	}
}

// TestTheWalkNamesNothingByMDNS: a static program asks DNS alone, so that .local names lead its settings and its commands nowhere.
func TestTheWalkNamesNothingByMDNS(t *testing.T) {
	wadis := regexp.MustCompile(`^WADI_|(?:^|\| |sudo )wadi `)
	for _, block := range append(blocks(t, walk, "sh"), blocks(t, walk, "ini")...) {
		for line := range strings.Lines(block) {
			if wadis.MatchString(line) && strings.Contains(line, ".local") {
				t.Errorf("Wadi finds nobody of the name in %s", line)
			}
		}
	}
}

// TestCommandsOfTheWalkExist looks up each command of wadi and its flags in the program's own help.
func TestCommandsOfTheWalkExist(t *testing.T) {
	command := regexp.MustCompile(`\bwadi ((?:[a-z]+ ?){1,2})`)
	flag := regexp.MustCompile(`(?:^|\s)(--[a-z][a-z-]*)`)
	checked := 0
	for _, block := range blocks(t, walk, "sh") {
		for line := range strings.Lines(block) {
			match := command.FindStringSubmatch(line)
			if match == nil || !strings.Contains(line, " wadi ") && !strings.HasPrefix(line, "wadi ") || regexp.MustCompile(`(install|createdb|enable|chmod|stop|scp)\b`).MatchString(line) {
				continue
			}
			words := strings.Fields(match[1])
			if words[0] != "topic" && words[0] != "group" {
				words = words[:1]
			}
			out, err := exec.CommandContext(t.Context(), harness.Binary(t), append(words, "--help")...).CombinedOutput()
			if err != nil {
				t.Errorf("%s: %v\n%s", line, err, out)
			}
			_, rest, _ := strings.Cut(line, "wadi "+words[0])
			for _, name := range flag.FindAllStringSubmatch(rest, -1) {
				if !strings.Contains(string(out), name[1]) {
					t.Errorf("%s: wadi %s has no flag %s", line, strings.Join(words, " "), name[1])
				}
			}
			checked++
		}
	}
	if checked < 8 {
		t.Errorf("found only %d commands", checked)
	}
}

// TestSystemdTakesTheUnitsOfTheWalk checks what the walk has people write by hand.
func TestSystemdTakesTheUnitsOfTheWalk(t *testing.T) {
	needLinux(t)
	units := 0
	for _, block := range blocks(t, walk, "ini") {
		if !strings.Contains(block, "[Unit]") {
			continue
		}
		// A program that is there: systemd looks for it.
		text := regexp.MustCompile(`(?m)^ExecStart=\S+`).ReplaceAllString(block, "ExecStart="+harness.Binary(t))
		path := filepath.Join(t.TempDir(), "minio.service")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if out := must(t, "", "systemd-analyze", "verify", "--man=no", path); strings.TrimSpace(out) != "" {
			t.Errorf("systemd says of the unit:\n%s", out)
		}
		units++
	}
	if units != 1 {
		t.Errorf("the walk has %d units, want MinIO's", units)
	}
}
