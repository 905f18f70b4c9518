package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/wadi-log/wadi/test/harness"
	"github.com/wadi-log/wadi/test/measure"
)

// maxProgramBytes is what the program may weigh, on a small machine's card.
const maxProgramBytes = 40 << 20

// TestArm64ProgramDoesTheMainJob builds the program for 64-bit ARM, as releases are, and runs its agent in an emulator against Postgres
// and MinIO: flights are produced and read back once and in order. It runs by `make qemu`, since the build takes minutes.
func TestArm64ProgramDoesTheMainJob(t *testing.T) {
	if os.Getenv("WADI_QEMU") == "" {
		t.Skip("the emulator is installed and the test run by `make qemu`, since the build takes minutes")
	}
	emulator, kcat, file := harness.Tool(t, "qemu-aarch64-static"), kcat(t), flightsFile(t)
	folder := t.TempDir()
	program := filepath.Join(folder, "wadi-arm64")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, "github.com/wadi-log/wadi/cmd/wadi")
	build.Env = append(os.Environ(), "GOOS=linux", "GOARCH=arm64", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build for arm64: %v\n%s", err, out)
	}
	info, err := os.Stat(program)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the program has %.1f MiB", float64(info.Size())/(1<<20))
	if info.Size() > maxProgramBytes {
		t.Errorf("the program has %d bytes, of %d at most", info.Size(), maxProgramBytes)
	}

	// The emulator is started by a name of its own, so that the kernel need not know of it.
	wrapper := filepath.Join(folder, "wadi")
	if err := os.WriteFile(wrapper, fmt.Appendf(nil, "#!/bin/sh\nexec %s %s \"$@\"\n", emulator, program), 0o700); err != nil {
		t.Fatal(err)
	}
	options := setups[1].options(t)
	options.Program = wrapper
	agent := harness.Agent(t, options)
	at := agent.Bootstrap()
	createTopic(t, at, "flights", 12)
	run(t, kcat, "-b", at, "-P", "-t", "flights", "-X", "enable.idempotence=true", "-K", `\t`, "-l", file)
	t.Run("kcat", func(t *testing.T) {
		checkFlights(t, parseReceived(t, run(t, kcat, "-b", at, "-C", "-t", "flights", "-o", "beginning", "-e", "-q", "-f", `%p\t%o\t%k\t%s\n`)))
	})
	t.Run("franz-go", func(t *testing.T) { checkFlights(t, readAll(t, at, "flights")) })
	t.Run("the program's own consumer", func(t *testing.T) {
		checkFlights(t, parseReceived(t, run(t, wrapper, "consume", "flights", "--bootstrap", at, "--offset", "start", "--format", `%p\t%o\t%k\t%v\n`)))
	})
	t.Logf("the emulated agent has used %v of CPU time", measure.Process(t, agent.PID()).CPU)
}
