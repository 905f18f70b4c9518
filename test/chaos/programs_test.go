package chaos_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wadi-log/wadi/test/chaos"
	"github.com/wadi-log/wadi/test/harness"
)

// clients are those of a world.
type clients interface {
	// check fails the test when they have ended by themselves, and adds what they did to the journal.
	check()
	// stop ends the producer, whose Sent is in the journal when everything is acknowledged.
	stop()
	// end ends all.
	end()
}

// inGo are the clients in franz-go, which need no process.
type inGo struct{ *chaos.GoClients }

func (inGo) check()  {}
func (g inGo) stop() { g.Stop() }
func (g inGo) end()  { g.Close() }

// program is a process that prints lines.
type program struct {
	t       *testing.T
	name    string
	process *harness.Program
	stdin   io.WriteCloser
	output  string // path of a file
	read    int64  // bytes of it
	// parse makes an event of a line.
	parse   func(line string) (chaos.Event, error)
	journal *chaos.Journal
}

// startProgram starts a command whose standard output is for us alone.
func startProgram(t *testing.T, name string, journal *chaos.Journal, parse func(string) (chaos.Event, error), command ...string) *program {
	t.Helper()
	p := &program{t: t, name: name, output: filepath.Join(t.TempDir(), "output"), journal: journal, parse: parse}
	cmd := exec.Command("/bin/sh", append([]string{"-c", `out=$1; shift; exec "$@" >"$out"`, "sh", p.output}, command...)...)
	var err error
	if p.stdin, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	p.process = harness.StartProgram(t, name, cmd)
	return p
}

func (p *program) check() {
	p.t.Helper()
	p.process.Check()
	p.collect()
}

// collect adds the lines that are new to the journal.
func (p *program) collect() {
	p.t.Helper()
	file, err := os.Open(p.output)
	if os.IsNotExist(err) {
		return // not yet
	}
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = file.Close() }() // read only
	more, err := io.ReadAll(io.NewSectionReader(file, p.read, 1<<30))
	if err != nil {
		p.t.Fatal(err)
	}
	whole := strings.LastIndexByte(string(more), '\n') + 1
	p.read += int64(whole)
	var events []chaos.Event
	for line := range strings.Lines(string(more[:whole])) {
		e, err := p.parse(strings.TrimSuffix(line, "\n"))
		if err != nil {
			p.t.Fatal(err)
		}
		events = append(events, e)
	}
	p.journal.Add(events...)
}

func (p *program) stop() {
	p.t.Helper()
	if _, err := io.WriteString(p.stdin, "stop\n"); err != nil {
		p.t.Fatal(err)
	}
}

func (p *program) end() {
	p.t.Helper()
	if err := p.stdin.Close(); err != nil {
		p.t.Fatal(err)
	}
	// A client that hangs is killed and reported, with the verdict on all the others.
	if code, ended := p.process.Wait(patience); !ended || code != 0 {
		p.t.Errorf("%s: ended %v, with code %d", p.name, ended, code)
	}
	p.collect()
}

func startPython(t *testing.T, folder, bootstrap string, world chaos.World, journal *chaos.Journal) clients {
	return startProgram(t, "librdkafka's clients", journal, chaos.ParseEvent,
		filepath.Join(folder, "python", "bin", "python"), "python/chaos.py", bootstrap, world.Name, strconv.Itoa(partitions), strconv.Itoa(perSecond))
}

func startJava(t *testing.T, folder, bootstrap string, world chaos.World, journal *chaos.Journal) clients {
	jars, classes := filepath.Join(folder, "java", "*"), t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "javac", "-cp", jars, "-d", classes, "java/Chaos.java").CombinedOutput(); err != nil {
		t.Fatalf("javac: %v\n%s", err, out)
	}
	return startProgram(t, "Java's clients", journal, chaos.ParseEvent, "java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp", classes+string(filepath.ListSeparator)+jars, "Chaos",
		bootstrap, world.Name, strconv.Itoa(partitions), strconv.Itoa(perSecond))
}

// kcats are two kcats, of which one produces what it is given, and the other one is alone in its group.
type kcats struct {
	t                  *testing.T
	journal            *chaos.Journal
	producer, consumer *program
	name               string
	quit, written      chan struct{}
	sent               int64
	failed             error
}

func startKcats(t *testing.T, bootstrap string, world chaos.World, journal *chaos.Journal) clients {
	kcat, reader := harness.Tool(t, "kcat"), world.Name+"/reader"
	// With -E kcat leaves it to librdkafka to find brokers again when all, of which it sees one here, are gone.
	k := &kcats{t: t, journal: journal, name: world.Name + "/producer", quit: make(chan struct{}), written: make(chan struct{})}
	k.producer = startProgram(t, "kcat that produces", journal, chaos.ParseEvent, kcat, "-b", bootstrap, "-P", "-E", "-X", "enable.idempotence=true", "-t", world.Input())
	k.consumer = startProgram(t, "kcat that consumes", journal, func(line string) (chaos.Event, error) { return parseKcat(reader, line) },
		kcat, "-b", bootstrap, "-E", "-q", "-u", "-X", "auto.offset.reset=earliest", "-f", `%t\t%p\t%o\t%s\n`, "-G", world.Name+"-readers", world.Input())
	go k.write()
	return k
}

// parseKcat reads what kcat prints of a record; that is, when we read it.
func parseKcat(reader, line string) (chaos.Event, error) {
	return chaos.ParseEvent(fmt.Sprintf("%d\tgot\t%s\t%s", time.Now().UnixMicro(), reader, line))
}

// write gives the producer its records, until it is to stop.
func (k *kcats) write() {
	defer close(k.written)
	tick := time.NewTicker(time.Second / perSecond)
	defer tick.Stop()
	for ; ; k.sent++ {
		select {
		case <-k.quit:
			k.failed = k.producer.stdin.Close()
			return
		case <-tick.C:
		}
		if _, err := fmt.Fprintf(k.producer.stdin, "%s %d %s\n", k.name, k.sent, strings.Repeat("x", rand.IntN(200))); err != nil {
			k.failed = err
			return
		}
	}
}

func (k *kcats) check() {
	k.t.Helper()
	k.producer.process.Check()
	k.consumer.check()
}

func (k *kcats) stop() {
	k.t.Helper()
	close(k.quit)
	<-k.written
	if k.failed != nil {
		k.t.Fatalf("write to kcat: %v", k.failed)
	}
	if code, ended := k.producer.process.Wait(patience); !ended || code != 0 {
		k.t.Errorf("kcat that produces: ended %v, with code %d", ended, code)
	}
	k.journal.Note(chaos.Event{Kind: chaos.Sent, Who: k.name, Number: k.sent})
}

func (k *kcats) end() {
	k.t.Helper()
	k.consumer.process.Stop()
	k.consumer.collect()
}
