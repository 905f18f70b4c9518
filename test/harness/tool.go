package harness

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Tool returns the path of a program such as kcat that a test runs: from the
// project's cache, where `make setup` builds, or from PATH. Where there is
// none the test is skipped, or fails in CI.
func Tool(t testing.TB, name string) string {
	t.Helper()
	path, err := findTool(name)
	require(t, err)
	return path
}

// Dataset returns the path of a file of real data that `make setup` fetched.
// The error is for [Missing].
func Dataset(name string) (string, error) {
	path := filepath.Join(cacheFolder(), "data", name)
	if _, err := os.Stat(path); err != nil {
		return "", &missingError{name, filepath.Dir(path)}
	}
	return path, nil
}

// Missing ends a test that lacks what it needs: it is skipped, or fails in CI.
func Missing(t testing.TB, what string, err error) {
	t.Helper()
	message := fmt.Sprintf("%s is missing: %v; run `make setup`, which installs it or says how", what, err)
	if mustRun() {
		t.Fatal(message)
	}
	t.Skip(message)
}

// missingError: something is not installed.
type missingError struct {
	what   string
	looked string
}

func (e *missingError) Error() string { return fmt.Sprintf("no %s in %s", e.what, e.looked) }

// require skips the test when err says that something is missing, unless
// skipping is forbidden; any other error fails it.
func require(t testing.TB, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if missing := (*missingError)(nil); errors.As(err, &missing) {
		Missing(t, missing.what, err)
		return
	}
	t.Fatal(err)
}

// mustRun tells whether a test may not skip: in CI and in `make test`.
func mustRun() bool {
	return os.Getenv("CI") == "true" || os.Getenv("WADI_TEST_REQUIRE") == "1"
}

// findTool looks beside PATH in the folder for servers, which Debian keeps out of
// the PATH of users.
func findTool(name string) (string, error) {
	places := []string{filepath.Join(cacheFolder(), "bin", name), name, filepath.Join("/usr/sbin", name)}
	for _, place := range places {
		if path, err := exec.LookPath(place); err == nil {
			return path, nil
		}
	}
	return "", &missingError{name, filepath.Dir(places[0]) + ", PATH and /usr/sbin"}
}

// cacheFolder is where the Makefile puts what it builds for the tests:
// ${XDG_CACHE_HOME:-~/.cache}/wadi, on every system.
func cacheFolder() string {
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		cache = filepath.Join(os.Getenv("HOME"), ".cache")
	}
	return filepath.Join(cache, "wadi")
}

// findPostgres returns the folder of Postgres' programs, the newest version of
// several. Distributions keep the server's programs out of PATH.
func findPostgres() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		path, err = filepath.EvalSymlinks(path) // the postgres program lies beside the real one
		return filepath.Dir(path), err
	}
	newest, best := "", -1
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin/initdb",          // Debian, Ubuntu
		"/usr/pgsql-*/bin/initdb",                   // Fedora, RHEL
		"/opt/homebrew/opt/postgresql@*/bin/initdb", // macOS
		"/usr/local/opt/postgresql@*/bin/initdb",
	} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return "", err
		}
		for _, path := range found {
			if v := versionIn(path); v > best {
				newest, best = filepath.Dir(path), v
			}
		}
	}
	if newest == "" {
		return "", &missingError{"Postgres", "PATH, /usr/lib/postgresql, /usr/pgsql-* and Homebrew's folders"}
	}
	return newest, nil
}

// versionIn returns the first number of a path, 0 where there is none.
func versionIn(path string) int {
	v, digits := 0, false
	for _, c := range path {
		if c < '0' || c > '9' {
			if digits {
				break
			}
			continue
		}
		v, digits = v*10+int(c-'0'), true
	}
	return v
}
