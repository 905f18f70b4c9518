package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wadi-log/wadi/test/harness"
)

// inCgroup lets the agent of the options run in a cgroup that may use so much memory, which is all that it is told of how much there
// is. The error says why there can't be one here: to make it takes root, or a cgroup that was delegated.
func inCgroup(b *testing.B, options *harness.AgentOptions, bytes int64) error {
	b.Helper()
	folder, err := makeCgroup(bytes)
	if err != nil {
		return err
	}
	b.Cleanup(func() {
		// Its processes may take a moment to be gone after they ended.
		harness.Eventually(b, 10*time.Second, func() error { return os.Remove(folder) })
	})
	// The agent's own process must be in it before it looks, so a shell goes in and becomes the agent.
	options.Program = filepath.Join(b.TempDir(), "wadi-in-cgroup")
	script := fmt.Sprintf("#!/bin/sh\necho $$ >'%s/cgroup.procs' || exit 1\nexec '%s' \"$@\"\n", folder, harness.Binary(b))
	return os.WriteFile(options.Program, []byte(script), 0o700)
}

// makeCgroup makes a cgroup below the one of this process, of version 2 or, where memory is still limited by that, 1.
func makeCgroup(bytes int64) (folder string, err error) {
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	parent, limit := "", ""
	for line := range strings.Lines(string(own)) {
		_, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, path, _ := strings.Cut(rest, ":")
		if controllers == "" && parent == "" {
			parent, limit = filepath.Join("/sys/fs/cgroup", path), "memory.max"
		}
		if controllers == "memory" {
			parent, limit = filepath.Join("/sys/fs/cgroup/memory", path), "memory.limit_in_bytes"
		}
	}
	if parent == "" {
		return "", fmt.Errorf("this process is in no cgroup")
	}
	if folder, err = os.MkdirTemp(parent, "wadi-bench-"); err != nil {
		return "", err
	}
	if err = os.WriteFile(filepath.Join(folder, limit), []byte(strconv.FormatInt(bytes, 10)), 0); err != nil {
		_ = os.Remove(folder) // of no use
		return "", err
	}
	return folder, nil
}
