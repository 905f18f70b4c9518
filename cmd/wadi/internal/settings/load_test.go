package settings

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestBadFileIsRefused(t *testing.T) {
	tests := []struct {
		name, file, want string
	}{
		{"a typing error", "kafka-listne: x:1\n", `unknown setting "kafka-listne"; did you mean "kafka-listen"?`},
		{"another spelling", "kafka_listen: x:1\n", `did you mean "kafka-listen"?`},
		{"camel case", "kafkaListen: x:1\n", `did you mean "kafka-listen"?`},
		{"a name like no other", "colour: blue\n", `unknown setting "colour"; see wadi agent --help`},
		{"a Kafka config at the top", "num.partitions: 3\n", `unknown setting "num.partitions"`},
		{"no map", "just text\n", "want a map of settings"},
		{"a list", "- zone\n", "want a map of settings"},
		{"bad YAML", "zone: [\n", "yaml: "},
		{"a number without a unit", "flush-interval: 250\n", "flush-interval: want a duration with its unit"},
		{"a number that is text", "zone: 010\n", "zone: want text; put it in quotes"},
		{"a list for one value", "zone: [a, b]\n", "zone: want one value"},
		{"a bool for a number", "node-id: true\n", "node-id: want a number"},
		{"a fraction of a node", "node-id: 1.5\n", "node-id: want a whole number"},
		{"a bad size", "memory-bytes: lots\n", "memory-bytes: want a size"},
		{"Kafka configs as text", "kafka-config: a=b\n", "kafka-config: want a map"},
		{"Kafka configs by level", "kafka-config: {num: {partitions: 3}}\n", "kafka-config: num: want one value"},
		{"a key twice", "zone: a\nzone: b\n", "want a map of settings, each once"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			config, _, err := load(t, nil, nil, test.file)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v (zone %q), want an error with %q", err, config.Zone, test.want)
			}
			if !strings.Contains(err.Error(), "wadi.yaml") {
				t.Errorf("%v does not name the file", err)
			}
		})
	}
}

func TestMissingFileIsRefused(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none.yaml")
	for name, source := range map[string]struct{ args, environ []string }{
		"flag": {args: []string{"--config", missing}},
		"env":  {environ: []string{"WADI_CONFIG=" + missing}},
	} {
		_, _, err := load(t, source.args, source.environ, "")
		if err == nil || !strings.Contains(err.Error(), missing) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestKeyWithoutValueInTheFileIsNotSet(t *testing.T) {
	config, _, err := load(t, nil, nil, "zone:\nlog-level: warn\n")
	if err != nil || config.Zone != "" || config.LogLevel != "warn" {
		t.Errorf("got %+v, %v", config, err)
	}
}

func TestNumbersInTheFileNeedNoQuotes(t *testing.T) {
	config, _, err := load(t, nil, nil, "put-rate: 0.5\nnode-id: 3\nflush-bytes: 1000000\n")
	if err != nil || config.PutRate != 0.5 || config.NodeID != 3 || config.FlushBytes != 1_000_000 {
		t.Errorf("got %+v, %v", config, err)
	}
}

func TestBadEnvironmentNamesTheVariable(t *testing.T) {
	for pair, want := range map[string]string{
		"WADI_PUT_RATE=fast":        "WADI_PUT_RATE: want a number",
		"WADI_MEMORY_BYTES=-1":      "WADI_MEMORY_BYTES: want a size",
		"WADI_DRAIN_TIMEOUT=30":     "WADI_DRAIN_TIMEOUT: want a duration",
		"WADI_KAFKA_CONFIG=nothing": "WADI_KAFKA_CONFIG: want key=value",
	} {
		if _, _, err := load(t, nil, []string{pair}, ""); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", pair, err, want)
		}
	}
}

func TestMisspeltVariablesAreFoundButNoErrors(t *testing.T) {
	environ := []string{
		"WADI_KAFKA_LISTN=x:1", "WADI_OBJECT_SECRET_KEY=hunter2",
		// What Kubernetes sets for a service named wadi, and what is set for client commands.
		"WADI_SERVICE_HOST=10.0.0.1", "WADI_PORT_9092_TCP_ADDR=10.0.0.1", "WADI_PORT=tcp://10.0.0.1:9092",
		"WADI_BOOTSTRAP=x:1", "HOME=/root",
	}
	_, odd, err := load(t, nil, environ, "")
	want := []Misspelt{
		{"WADI_KAFKA_LISTN", "WADI_KAFKA_LISTEN"},
		{"WADI_OBJECT_SECRET_KEY", "WADI_OBJECTS_SECRET_KEY"},
	}
	if err != nil || !slices.Equal(odd, want) {
		t.Errorf("got %q, %v; want %q", odd, err, want)
	}
}

func TestErrorsDoNotShowSecrets(t *testing.T) {
	const secret = "hunter2"
	for _, file := range []string{
		secret + "\n",
		"objects-secret-key=" + secret + "\n",
		"objects-secret-key: [" + secret + "]\n",
		"objects-secret-key: {a: " + secret + "}\n",
		"objects-secret-keys: " + secret + "\n",
		"objects-secret-key: 1\nobjects-access-key: " + secret + "\n",
		"- " + secret + "\n",
	} {
		_, _, err := load(t, nil, nil, file)
		if err == nil {
			t.Errorf("%q was accepted", file)
		} else if strings.Contains(err.Error(), secret) {
			t.Errorf("%q: the error shows the secret: %v", file, err)
		}
	}
	_, odd, err := load(t, nil, []string{"WADI_OBJECTS_SECRETKEY=" + secret}, "")
	if err != nil || !slices.Equal(odd, []Misspelt{{"WADI_OBJECTS_SECRETKEY", "WADI_OBJECTS_SECRET_KEY"}}) {
		t.Errorf("got %q, %v", odd, err)
	}
}

func TestDistance(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"", "ab", 2}, {"kitten", "sitting", 3}, {"flaw", "lawn", 2}, {"same", "same", 0}} {
		if got := distance(test.a, test.b); got != test.want {
			t.Errorf("distance(%q, %q) = %d, want %d", test.a, test.b, got, test.want)
		}
	}
}

func FuzzLoadEnvironment(f *testing.F) {
	for _, seed := range []string{"WADI_ZONE=a", "WADI_KAFKA_CONFIG=a=b,c", "WADI_=", "WADI_NODE_ID=\x00", "="} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, pair string) {
		// A NUL or "=" in odd places must be an error or nothing, never a panic.
		_, _ = loadEnv([]string{pair})
		misspelt([]string{pair})
	})
}
