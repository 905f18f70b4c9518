package deploy

import (
	"regexp"
	"strings"
	"testing"
)

// TestReadmeShowsPgBouncerAsDeployed: what README.md says in short is what deploy/pgbouncer.ini says, which tests run with.
func TestReadmeShowsPgBouncerAsDeployed(t *testing.T) {
	shown := regexp.MustCompile("(?s)```ini\n(\\[databases\\]\n.*?)```").FindStringSubmatch(file(t, "README.md"))
	if shown == nil {
		t.Fatal("README.md shows no configuration of PgBouncer")
	}
	settings := func(text string) (lines []string) {
		for line := range strings.SplitSeq(text, "\n") {
			if line != "" && !strings.HasPrefix(line, ";") {
				lines = append(lines, line)
			}
		}
		return lines
	}
	got, want := strings.Join(settings(shown[1]), "\n"), strings.Join(settings(file(t, "deploy/pgbouncer.ini")), "\n")
	if got != want {
		t.Errorf("README.md shows\n%s\nand deploy/pgbouncer.ini has\n%s", got, want)
	}
}
