package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// module is a small one in place of the real one.
const module = "testdata/module"

// here is the platform that the tests run on.
var here = target{runtime.GOOS, runtime.GOARCH}

// build makes a release for this machine and returns its folder.
func build(t *testing.T, change func(*release)) string {
	t.Helper()
	r := release{source: module, out: t.TempDir(), version: "v1.2.3-test", commit: "0123456789abcdef", time: time.Unix(1_700_000_000, 0)}
	if change != nil {
		change(&r)
	}
	if err := r.write(t.Context(), []target{here}); err != nil {
		t.Fatal(err)
	}
	return r.out
}

// unpack returns the archive's entries by name, with their content.
func unpack(t *testing.T, path string) (headers []*tar.Header, content map[string][]byte) {
	t.Helper()
	packed, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	zipped, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	content = map[string][]byte{}
	for archive := tar.NewReader(zipped); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return headers, content
		}
		if err != nil {
			t.Fatal(err)
		}
		headers = append(headers, header)
		if content[header.Name], err = io.ReadAll(archive); err != nil {
			t.Fatal(err)
		}
	}
}

// TestReleaseIsReproducible builds twice, the second time with another environment and from
// another path to the sources, and wants the same bytes.
func TestReleaseIsReproducible(t *testing.T) {
	first := build(t, nil)
	// As `go env -w` writes it.
	written := filepath.Join(t.TempDir(), "env")
	if err := os.WriteFile(written, []byte("GOFLAGS=-tags=unheard-of\nGOAMD64=v2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOENV", written)
	t.Setenv("GOFLAGS", "-tags=unheard-of-either")
	t.Setenv("TZ", "Asia/Tokyo")
	t.Setenv("CGO_ENABLED", "1")
	t.Setenv("GOAMD64", "v3")
	t.Setenv("GOARM64", "v9.0")
	second := build(t, func(r *release) {
		link := filepath.Join(t.TempDir(), "elsewhere")
		source, err := filepath.Abs(r.source)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(source, link); err != nil {
			t.Fatal(err)
		}
		r.source = link
	})

	name := "wadi-v1.2.3-test-" + here.String() + ".tar.gz"
	for _, file := range []string{name, "SHA256SUMS"} {
		a, err := os.ReadFile(filepath.Join(first, file))
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(second, file))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a, b) {
			t.Errorf("%s differs between two builds: %d and %d bytes", file, len(a), len(b))
		}
		if file == "SHA256SUMS" {
			packed, err := os.ReadFile(filepath.Join(first, name))
			if err != nil {
				t.Fatal(err)
			}
			if want := fmt.Sprintf("%x  %s\n", sha256.Sum256(packed), name); string(a) != want {
				t.Errorf("SHA256SUMS is %q, want %q", a, want)
			}
		}
	}
	checkArchive(t, filepath.Join(first, name))
}

// checkArchive: who unpacks it gets a program that runs anywhere, and says what it is.
func checkArchive(t *testing.T, path string) {
	t.Helper()
	headers, content := unpack(t, path)
	folder := strings.TrimSuffix(filepath.Base(path), ".tar.gz") + "/"
	var names []string
	for _, h := range headers {
		names = append(names, h.Name)
		if h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.ModTime.Unix() != 1_700_000_000 {
			t.Errorf("%s is of user %d %q and time %v", h.Name, h.Uid, h.Uname, h.ModTime)
		}
	}
	want := []string{folder, folder + "wadi", folder + "README.md", folder + "CHANGELOG.md"}
	if !slices.Equal(names, want) {
		t.Fatalf("the archive holds %q, want %q", names, want)
	}
	if headers[1].Mode != 0o755 || headers[2].Mode != 0o644 {
		t.Errorf("modes are %o and %o", headers[1].Mode, headers[2].Mode)
	}

	program := filepath.Join(t.TempDir(), "wadi")
	if err := os.WriteFile(program, content[folder+"wadi"], 0o700); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(program).CombinedOutput()
	if err != nil {
		t.Fatal(err, string(out))
	}
	if want := "wadi v1.2.3-test commit 0123456789abcdef\n"; string(out) != want {
		t.Errorf("it says %q, want %q", out, want)
	}
	if root, err := filepath.Abs(module); err != nil || bytes.Contains(content[folder+"wadi"], []byte(root)) {
		t.Errorf("the program holds the path %s of its sources (%v)", root, err)
	}
}

func TestProgramsThatBreakThePromiseAreRefused(t *testing.T) {
	folder := t.TempDir()
	big := filepath.Join(folder, "big")
	if err := os.WriteFile(big, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(big, maxProgramBytes+1); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(folder, "other")
	if err := os.WriteFile(other, []byte("#!/bin/sh\necho wadi v1.2.2 commit 0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(other, 0o700); err != nil {
		t.Fatal(err)
	}
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	r := release{version: "v1.2.3", commit: "0123456789abcdef"}
	if err := r.verify(t.Context(), target{"darwin", "arm64"}, big); err == nil || !strings.Contains(err.Error(), "the program has") {
		t.Errorf("a program that is too big: %v", err)
	}
	if runtime.GOOS == "linux" {
		if err := static(shell); err == nil || !strings.Contains(err.Error(), "not static") {
			t.Errorf("a program that needs a loader: %v", err)
		}
		if err := static(other); err == nil {
			t.Error("a script passes for a program of Linux")
		}
	}
	if err := r.says(t.Context(), other); err == nil || !strings.Contains(err.Error(), "without v1.2.3") {
		t.Errorf("a program of another version: %v", err)
	}
}

func TestBadVersionsAreRefused(t *testing.T) {
	for _, version := range []string{"", "-v1", "v1 -X main.commit=x", "../v1", "v1/2"} {
		r := release{source: "../..", out: t.TempDir(), version: version}
		if err := r.write(t.Context(), nil); err == nil || !strings.HasPrefix(err.Error(), "-version ") {
			t.Errorf("%q: got %v", version, err)
		}
	}
	r := release{source: "../..", out: t.TempDir(), version: "v1", commit: "a b"}
	if err := r.write(t.Context(), nil); err == nil || !strings.HasPrefix(err.Error(), "-commit ") {
		t.Errorf("got %v", err)
	}
}

func TestFailedBuildSaysWhatGoSaid(t *testing.T) {
	r := release{source: t.TempDir(), out: t.TempDir(), version: "v1"}
	if err := r.write(t.Context(), []target{here}); err == nil || !strings.Contains(err.Error(), "go.mod") {
		t.Errorf("got %v", err)
	}
}

// TestTargets pins what people download, and that a program for a Raspberry Pi is one for its older processors, too.
func TestTargets(t *testing.T) {
	var names []string
	for _, target := range targets {
		names = append(names, target.String())
		env := target.environment()
		for _, want := range []string{"CGO_ENABLED=0", "GOARM=7", "GOOS=" + target.system, "GOARCH=" + target.processor} {
			if !slices.Contains(env, want) {
				t.Errorf("%s is built without %s", target, want)
			}
		}
	}
	want := []string{"linux-amd64", "linux-arm64", "linux-armv7", "darwin-amd64", "darwin-arm64"}
	if !slices.Equal(names, want) {
		t.Errorf("targets are %q, want %q", names, want)
	}
}
