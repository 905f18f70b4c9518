// Command release builds what a release of wadi consists of: for each platform an archive with the
// static program, and SHA256SUMS of all of them. `make release` runs it.
//
// The same sources, version and Go give the same bytes, on any machine and in any folder, so
// that everybody can check what was published: nothing of the clock, the user, the path or the
// environment gets into an archive.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// target is a platform that wadi is built for.
type target struct{ system, processor string }

// targets are those of a release. arm stands for ARMv7 with its floating point unit: the Raspberry Pi 2 and newer.
var targets = []target{
	{"linux", "amd64"},
	{"linux", "arm64"},
	{"linux", "arm"},
	{"darwin", "amd64"},
	{"darwin", "arm64"},
}

// String is how archives name the platform.
func (t target) String() string {
	if t.processor == "arm" {
		return t.system + "-armv7"
	}
	return t.system + "-" + t.processor
}

// environment is ours without what changes the compiler's work, and with the platform. Each
// processor is the oldest of its kind, whatever the builder's own is.
func (t target) environment() []string {
	var env []string
	for _, variable := range os.Environ() {
		name, _, _ := strings.Cut(variable, "=")
		switch name {
		case "GOENV", "GOFLAGS", "GOEXPERIMENT", "GOFIPS140", "CGO_ENABLED", "GOOS", "GOARCH", "GOAMD64", "GOARM64", "GOARM":
		default:
			env = append(env, variable)
		}
	}
	// GOENV: what `go env -w` wrote holds where the environment says nothing, or nothing but "".
	return append(env, "GOENV=off", "CGO_ENABLED=0", "GOOS="+t.system, "GOARCH="+t.processor,
		"GOAMD64=v1", "GOARM64=v8.0", "GOARM=7")
}

// fetching are the variables that say where the go command gets modules from and keeps them, which go.sum has the hashes of.
var fetching = []string{
	"GOPROXY", "GONOPROXY", "GOSUMDB", "GONOSUMDB", "GOPRIVATE", "GOINSECURE", "GOVCS", "GOAUTH", "GOMODCACHE", "GOCACHE",
}

// fetchingFrom returns these variables as the builder has set them, be it by `go env -w`.
func fetchingFrom(ctx context.Context) ([]string, error) {
	out, err := exec.CommandContext(ctx, "go", append([]string{"env", "-json"}, fetching...)...).Output()
	if err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	var set map[string]string
	if err := json.Unmarshal(out, &set); err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	var env []string
	for _, name := range fetching {
		env = append(env, name+"="+set[name])
	}
	return env, nil
}

// release is what to build, and from what.
type release struct {
	source  string // folder of the module
	out     string // folder of the archives
	version string // as in v1.2.3
	commit  string // "" where unknown
	time    time.Time
}

func main() {
	var r release
	var seconds int64
	flag.StringVar(&r.source, "source", ".", "folder of wadi's module")
	flag.StringVar(&r.out, "out", "dist", "folder for the archives; made if need be")
	flag.StringVar(&r.version, "version", "", "version, as in v1.2.3")
	flag.StringVar(&r.commit, "commit", "", "commit that the version is of")
	flag.Int64Var(&seconds, "time", 0, "time of the commit, in seconds since 1970; files in the archives have it")
	flag.Parse()
	r.time = time.Unix(seconds, 0).UTC()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := r.write(ctx, targets)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// validVersion keeps paths and the linker's options in one piece.
var validVersion = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]*$`)

// write builds the archives of the targets and SHA256SUMS.
func (r release) write(ctx context.Context, targets []target) error {
	if !validVersion.MatchString(r.version) {
		return fmt.Errorf("-version %q: want something like v1.2.3", r.version)
	}
	if r.commit != "" && !validVersion.MatchString(r.commit) {
		return fmt.Errorf("-commit %q: want a commit's hash", r.commit)
	}
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		return err
	}
	var sums strings.Builder
	for _, t := range targets {
		name, content, err := r.archive(ctx, t)
		if err != nil {
			return fmt.Errorf("%s: %w", t, err)
		}
		if err := os.WriteFile(filepath.Join(r.out, name), content, 0o644); err != nil {
			return err
		}
		line := fmt.Sprintf("%x  %s\n", sha256.Sum256(content), name) // as sha256sum --check reads it
		fmt.Print(line)
		sums.WriteString(line)
	}
	return os.WriteFile(filepath.Join(r.out, "SHA256SUMS"), []byte(sums.String()), 0o644)
}

// archive builds the program for the target and returns it packed, with the archive's name.
func (r release) archive(ctx context.Context, t target) (name string, content []byte, err error) {
	folder, err := os.MkdirTemp("", "wadi-release-")
	if err != nil {
		return "", nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	program := filepath.Join(folder, "wadi")
	if err := r.build(ctx, t, program); err != nil {
		return "", nil, err
	}
	if err := r.verify(ctx, t, program); err != nil {
		return "", nil, err
	}
	name = "wadi-" + r.version + "-" + t.String()
	content, err = pack(name, r.time, []file{
		{"wadi", program, 0o755},
		{"README.md", filepath.Join(r.source, "README.md"), 0o644},
		{"CHANGELOG.md", filepath.Join(r.source, "CHANGELOG.md"), 0o644},
	})
	return name + ".tar.gz", content, err
}

// build compiles wadi for the target. What git says of the folder stays out
// (-buildvcs): a source archive without it gives the same program.
func (r release) build(ctx context.Context, t target, program string) error {
	modules, err := fetchingFrom(ctx)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -X main.version="+r.version+" -X main.commit="+r.commit, "-o", program, "./cmd/wadi")
	cmd.Dir, cmd.Env = r.source, append(t.environment(), modules...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}
