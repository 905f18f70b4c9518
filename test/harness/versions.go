package harness

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// OlderBinary returns the path of the program as it was at the oldest commit whose agents work side by side with those of this tree:
// the first one with the schema that this tree's is compatible with (`compatible_from`, package metadata/schema). It is built once, without the race
// detector, and kept in the project's cache. Where there is no history, as in a shallow clone or an archive, the
// test is skipped, in CI too.
func OlderBinary(t testing.TB) string {
	t.Helper()
	path, err := current.older.get(buildOlder)
	if errors.Is(err, errNoHistory) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// BinaryWith returns the path of the program built from this tree with further files in it, by their paths from the module's root: one of a
// version to come, say. The tree stays as it is.
func BinaryWith(t testing.TB, files map[string]string) string {
	t.Helper()
	path, err := buildWith(files)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func buildWith(files map[string]string) (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	folder, err := current.newFolder("overlay")
	if err != nil {
		return "", err
	}
	// The go command's own format.
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for path, content := range files {
		file := filepath.Join(folder, fmt.Sprint(len(overlay.Replace)))
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			return "", err
		}
		overlay.Replace[filepath.Join(root, filepath.FromSlash(path))] = file
	}
	list, err := json.Marshal(overlay)
	if err != nil {
		return "", err
	}
	path := filepath.Join(folder, "overlay.json")
	if err := os.WriteFile(path, list, 0o600); err != nil {
		return "", err
	}
	return build("-overlay=" + path)
}

func moduleRoot() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find the module's root: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(out))), nil
}

// errNoHistory: the tree was not checked out with its history.
var errNoHistory = errors.New("no history to build an older program from (git fetch --unshallow brings it)")

func buildOlder() (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	migration, err := oldestCompatible(root)
	if err != nil {
		return "", err
	}
	commit, err := addedBy(root, migration)
	if err != nil {
		return "", err
	}
	folder := filepath.Join(cacheFolder(), "older")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	// Several packages are tested at the same time.
	lock, err := os.Create(filepath.Join(folder, "lock"))
	if err != nil {
		return "", err
	}
	defer func() { _ = lock.Close() }() // nothing was written
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	path := filepath.Join(folder, "wadi-"+commit)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	return path, buildCommit(root, commit, path)
}

// migrations of Postgres, from the module's root. Those of SQLite have the same numbers.
const migrations = "metadata/postgres/migrations"

// setsCompatible is where a migration says from which schema on programs work with it; the first one that did made the column.
var setsCompatible = regexp.MustCompile(`compatible_from (?:=|bigint NOT NULL DEFAULT) (\d+);`)

// oldestCompatible returns the migration that made the oldest schema whose programs work with this tree's.
func oldestCompatible(root string) (string, error) {
	files, err := filepath.Glob(filepath.Join(root, migrations, "*.sql")) // in order
	if err != nil {
		return "", err
	}
	number := ""
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		for _, match := range setsCompatible.FindAllSubmatch(text, -1) {
			number = string(match[1])
		}
	}
	for _, file := range files {
		name := filepath.Base(file)
		if n, _, ok := strings.Cut(name, "_"); ok && number != "" && strings.TrimLeft(n, "0") == number {
			return migrations + "/" + name, nil
		}
	}
	return "", fmt.Errorf("no migration of %s has the number %q, which the others say is the oldest compatible one", migrations, number)
}

// addedBy returns the commit that added a file.
func addedBy(root, path string) (string, error) {
	shallow, err := git(root, "rev-parse", "--is-shallow-repository")
	if err != nil {
		return "", fmt.Errorf("%w: %w", errNoHistory, err)
	}
	if shallow != "false" {
		// Its oldest commit seems to have added everything.
		return "", fmt.Errorf("%w: this is a shallow clone", errNoHistory)
	}
	commits, err := git(root, "log", "--diff-filter=A", "--format=%H", "--", path)
	if err != nil {
		return "", err
	}
	if commits == "" {
		return "", fmt.Errorf("%w: no commit has added %s yet", errNoHistory, path)
	}
	all := strings.Fields(commits)
	return all[len(all)-1], nil
}

// buildCommit builds the program of a commit.
func buildCommit(root, commit, path string) error {
	source, err := current.newFolder("older")
	if err != nil {
		return err
	}
	archive := filepath.Join(source, "tree.tar")
	if _, err := git(root, "archive", "--output="+archive, commit); err != nil {
		return err
	}
	if out, err := exec.Command("tar", "-xf", archive, "-C", source).CombinedOutput(); err != nil {
		return fmt.Errorf("unpack commit %s: %w\n%s", commit, err, out)
	}
	// Under another name until it is whole.
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", path+".new", mainPackage)
	cmd.Dir = source
	cmd.Env = append(cmd.Environ(), "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the wadi program of commit %s: %w\n%s", commit, err, out)
	}
	return os.Rename(path+".new", path)
}

func git(root string, args ...string) (string, error) {
	cmd := exec.Command("git", append([]string{"-C", root}, args...)...)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(said.String()))
	}
	return strings.TrimSpace(string(out)), nil
}
