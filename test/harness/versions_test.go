package harness

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// writeMigrations makes a module's root of migrations alone, by their names.
func writeMigrations(t *testing.T, root string, files map[string]string) {
	t.Helper()
	folder := filepath.Join(root, migrations)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

const (
	madeColumn = "ALTER TABLE sequencer ADD COLUMN compatible_from bigint NOT NULL DEFAULT 10;"
	onlyAdds   = "ALTER TABLE topics ADD COLUMN note text;"
)

func TestOldestCompatibleMigration(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"the first that tells": {map[string]string{"00009_a.sql": onlyAdds, "00010_b.sql": madeColumn, "00011_c.sql": onlyAdds}, "00010_b.sql"},
		"one that others must not go on with": {map[string]string{"00010_b.sql": madeColumn, "00011_c.sql": onlyAdds,
			"00012_d.sql": "UPDATE sequencer SET compatible_from = 11;", "00013_e.sql": onlyAdds}, "00011_c.sql"},
		"several": {map[string]string{"00010_b.sql": madeColumn, "00011_c.sql": "UPDATE sequencer SET compatible_from = 11;",
			"00012_d.sql": "UPDATE sequencer SET compatible_from = 12;"}, "00012_d.sql"},
		"none": {map[string]string{"00009_a.sql": onlyAdds}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			writeMigrations(t, root, c.files)
			got, err := oldestCompatible(root)
			if c.want == "" {
				if err == nil {
					t.Errorf("got %s where no migration tells", got)
				}
			} else if want := migrations + "/" + c.want; err != nil || got != want {
				t.Errorf("got %q, %v; want %s", got, err, want)
			}
		})
	}
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := oldestCompatible(root); err != nil {
		t.Errorf("of this tree: %v", err)
	}
}

func TestCommitThatAddedAMigration(t *testing.T) {
	Tool(t, "git")
	origin, migration := t.TempDir(), migrations+"/00010_b.sql"
	must := func(root string, args ...string) string {
		t.Helper()
		out, err := git(root, append([]string{"-c", "user.name=test", "-c", "user.email=test@example.org"}, args...)...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	must(origin, "init", "--quiet")
	writeMigrations(t, origin, map[string]string{"00009_a.sql": onlyAdds})
	commit := func() string {
		t.Helper()
		must(origin, "add", ".")
		must(origin, "commit", "--quiet", "--message=a change")
		return must(origin, "rev-parse", "HEAD")
	}
	commit()
	if got, err := addedBy(origin, migration); !errors.Is(err, errNoHistory) {
		t.Errorf("before it was added: %q, %v", got, err)
	}
	writeMigrations(t, origin, map[string]string{"00010_b.sql": madeColumn})
	want := commit()
	writeMigrations(t, origin, map[string]string{"00010_b.sql": madeColumn + "\n", "00011_c.sql": onlyAdds})
	commit()
	if got, err := addedBy(origin, migration); err != nil || got != want {
		t.Errorf("got %q, %v; want %s", got, err, want)
	}

	shallow := t.TempDir()
	must(shallow, "clone", "--quiet", "--depth=1", "file://"+origin, ".")
	for name, root := range map[string]string{"a shallow clone": shallow, "no repository": t.TempDir()} {
		if got, err := addedBy(root, migration); !errors.Is(err, errNoHistory) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}
