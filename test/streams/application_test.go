package streams

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/wadi-log/wadi/test/harness"
)

// application is the Streams application, with its topics.
type application struct {
	bootstrap string
	name      string
	classpath string
}

// newApplication compiles the application. The folder has what setup.sh installed.
func newApplication(t *testing.T, bootstrap, folder string) application {
	t.Helper()
	jars, classes := filepath.Join(folder, "*"), t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "javac", "-cp", jars, "-d", classes, "java/Totals.java").CombinedOutput(); err != nil {
		t.Fatalf("javac: %v\n%s", err, out)
	}
	return application{bootstrap, fmt.Sprintf("totals-%08x", rand.Uint32()), classes + string(filepath.ListSeparator) + jars}
}

func (a application) flights() string   { return a.name + "-flights" }
func (a application) regrouped() string { return a.name + "-by-distance-repartition" }
func (a application) changelog() string { return a.name + "-totals-changelog" }
func (a application) totals() string    { return a.name + "-totals" }

// instance is one process of the application. Its folder outlives it.
type instance struct {
	application application
	folder      string
	program     *harness.Program
}

func newInstance(t *testing.T, a application) *instance {
	i := &instance{application: a, folder: t.TempDir()}
	i.start(t)
	return i
}

func (i *instance) start(t *testing.T) {
	t.Helper()
	i.program = harness.StartProgram(t, "an instance of the application", exec.Command("java",
		"-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
		"-cp", i.application.classpath, "Totals", i.application.bootstrap, i.application.name, i.folder))
}
