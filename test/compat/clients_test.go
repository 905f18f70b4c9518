package compat

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/wadi-log/wadi/test/harness"
)

// feature is a row of the table of clients.
type feature struct {
	name  string
	title string
}

// features are what the scripts of clients may try. A client that has no such
// feature does not list it.
var features = []feature{
	{"produce-consume", "Produce and consume: keys, headers, timestamps, null values"},
	{"codecs", "No compression, gzip, snappy, lz4, zstd"},
	{"idempotence", "Idempotent producer"},
	{"transactions", "Transactions: commit and abort, read_committed and read_uncommitted"},
	{"transactions-offsets", "Transactions: offsets of a group"},
	{"transactions-fencing", "Transactions: a second producer with the ID fences the first"},
	{"pause-seek", "Seek, position, pause, resume"},
	{"topics", "Admin: create, describe, extend, delete topics"},
	{"configs", "Admin: describe and alter configs"},
	{"records", "Admin: list offsets, delete records"},
	{"groups", "Admin: list, describe, delete groups"},
	{"offsets", "Admin: list and alter offsets of a group"},
	{"group-rebalance", "Classic group: members join and leave, nothing is lost"},
	{"group-crash", "Classic group: a member is killed, another takes over"},
	{"group-commit", "Classic group: commits, and resuming after them"},
	{"group-static", "Classic group: a static member returns without a rebalance"},
	{"group-cooperative", "Classic group: cooperative rebalancing"},
	{"group-regex", "Classic group: topics by regular expression"},
	{"consumer-rebalance", "Consumer group (KIP-848): members join and leave, incrementally"},
	{"consumer-crash", "Consumer group (KIP-848): a member is killed, another takes over"},
	{"consumer-commit", "Consumer group (KIP-848): commits, and resuming after them"},
	{"consumer-static", "Consumer group (KIP-848): a static member returns without a rebalance"},
	{"consumer-regex", "Consumer group (KIP-848): topics by regular expression"},
	{"migration", "From classic to consumer group and back, online"},
}

// suite is a script, with all that it tries.
type suite struct {
	name    string
	version func(t *testing.T) string
	// title is the heading of the suite's own table. Those without one are
	// columns of the table of clients.
	title string
	// command returns the program and its arguments; folder has what setup.sh
	// installed, scratch is there until the test ends.
	command func(t *testing.T, folder, scratch string) []string
}

// suites start in this order, the longest first.
var suites = []suite{
	{"tools", pinned("java/pom.xml", `<kafka.version>(.+)</`), "Kafka's command line tools",
		func(*testing.T, string, string) []string { return []string{"java/tools.sh"} }},
	{"Java", pinned("java/pom.xml", `<kafka.version>(.+)</`), "", java("JavaClient")},
	{"confluent-kafka (Python)", pinned("python/requirements.txt", `confluent-kafka==(\S+)`), "", python("confluent.py")},
	{"kafka-python", pinned("python/requirements.txt", `kafka-python==(\S+)`), "", python("kafka_python.py")},
	{"@confluentinc/kafka-javascript", pinned("node/package.json", `"@confluentinc/kafka-javascript": "(.+)"`), "", node("confluent.js")},
	{"kafkajs", pinned("node/package.json", `"kafkajs": "(.+)"`), "", node("kafkajs.js")},
	{"kcat", kcatVersion, "", func(*testing.T, string, string) []string { return []string{"kcat/kcat.sh"} }},
	{"franz-go", pinned("../../go.mod", `github.com/twmb/franz-go v(\S+)`), "", franzGo},
	{"Admin", pinned("java/pom.xml", `<kafka.version>(.+)</`), "Java's Admin client", java("AdminCalls")},
	{alone, pinned("java/pom.xml", `<kafka.version>(.+)</`), "Java's transactions, by transaction.version", java("Transactions")},
}

// alone is the suite that changes what all clients see, so that it runs before the others.
const alone = "transactions"

// java compiles our programs and runs one of them.
func java(class string) func(*testing.T, string, string) []string {
	return func(t *testing.T, folder, scratch string) []string {
		jars := filepath.Join(folder, "java", "*")
		sources, err := filepath.Glob("java/src/*.java")
		if err != nil {
			t.Fatal(err)
		}
		run(t, "javac", append([]string{"-nowarn", "-cp", jars, "-d", scratch}, sources...)...)
		return []string{"java", "-Xmx256m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
			"-cp", scratch + string(filepath.ListSeparator) + jars, class}
	}
}

func python(script string) func(*testing.T, string, string) []string {
	return func(_ *testing.T, folder, _ string) []string {
		return []string{filepath.Join(folder, "python", "bin", "python"), "python/" + script}
	}
}

// node runs a script with the modules that lie elsewhere.
func node(script string) func(*testing.T, string, string) []string {
	return func(_ *testing.T, folder, _ string) []string {
		return []string{"env", "NODE_PATH=" + filepath.Join(folder, "node", "node_modules"), "node", "node/" + script}
	}
}

func franzGo(t *testing.T, _, scratch string) []string {
	program := filepath.Join(scratch, "franzgo")
	run(t, "go", "build", "-o", program, "./franzgo")
	return []string{program}
}

func run(t *testing.T, program string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", program, err, out)
	}
}

// pinned reads a version where it is pinned.
func pinned(path, pattern string) func(*testing.T) string {
	return func(t *testing.T) string {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return find(t, string(content), pattern)
	}
}

// kcatVersion asks kcat, which comes from the system's packages.
func kcatVersion(t *testing.T) string {
	out, err := exec.CommandContext(context.Background(), harness.Tool(t, "kcat"), "-V").CombinedOutput()
	if err != nil {
		t.Fatalf("kcat -V: %v\n%s", err, out)
	}
	return find(t, string(out), `Version (\S+)`) + " with librdkafka " + find(t, string(out), `librdkafka (\S+)`)
}

func find(t *testing.T, text, pattern string) string {
	t.Helper()
	match := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if match == nil {
		t.Fatalf("nothing matches %s in:\n%s", pattern, text)
	}
	return match[1]
}
