package manifests

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const schemaPath = chart + "/values.schema.json"

// fromChart are the settings that the chart makes from other values, so that they must not stand in config as well.
var fromChart = []string{
	"advertise", "data-dir", "drain-delay", "drain-timeout", "http-listen", "kafka-listen", "metadata", "name", "node-id", "objects",
	"objects-access-key", "objects-secret-key", "peer-advertise", "peer-listen", "zone", "zone-listener",
}

// TestValuesMayHoldEverySetting compares the keys that config may have with the agent's settings.
func TestValuesMayHoldEverySetting(t *testing.T) {
	known := settings(t)
	var want []string
	for name := range known {
		if !slices.Contains(fromChart, name) {
			want = append(want, name)
		}
	}
	slices.Sort(want)
	for _, name := range fromChart {
		if known[name] == "" {
			t.Errorf("the chart takes care of %s, which is no setting (any more)", name)
		}
	}

	list := regexp.MustCompile(`(?s)("config": \{\n *"type": "object",\n *"additionalProperties": false,\n *"properties": \{\n).*?(\n      \}\n)`)
	schema := file(t, schemaPath)
	if *update {
		var properties []string
		for _, name := range want {
			properties = append(properties, fmt.Sprintf("        %q: %s", name, schemaOf(name)))
		}
		text := list.ReplaceAllString(schema, "${1}"+strings.Join(properties, ",\n")+"${2}")
		if err := os.WriteFile(filepath.Join(root, schemaPath), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	var content struct {
		Properties struct {
			Config struct {
				Properties map[string]json.RawMessage
			}
		}
	}
	if err := json.Unmarshal([]byte(schema), &content); err != nil {
		t.Fatal(err)
	}
	if got := sorted(content.Properties.Config.Properties); !slices.Equal(got, want) {
		t.Errorf("%s allows config %q,\nwant the agent's settings %q; run go test ./test/deploy/manifests -run TestValues -update", schemaPath, got, want)
	}
	for name, got := range content.Properties.Config.Properties {
		if string(got) != schemaOf(name) {
			t.Errorf("%s allows config.%s to be %s, want %s", schemaPath, name, got, schemaOf(name))
		}
	}
}

// schemaOf is what the agent takes in its file: one value for each setting, and a map of them for Kafka's configs.
func schemaOf(setting string) string {
	if setting == "kafka-config" {
		return `{"type": "object", "additionalProperties": {"type": ["string", "integer", "boolean"]}}`
	}
	return `{"type": ["string", "number"]}`
}

// node is a part of the schema.
type node struct {
	never                bool // nothing is allowed here
	Properties           map[string]*node
	PatternProperties    map[string]*node
	AnyOf                []*node
	AdditionalProperties any
}

func (n *node) UnmarshalJSON(b []byte) error {
	if n.never = string(b) == "false"; n.never {
		return nil
	}
	type plain node
	return json.Unmarshal(b, (*plain)(n))
}

// TestValuesAreThoseOfTheSchema: each value that the schema allows stands, with its default, in values.yaml, which is what people read.
func TestValuesAreThoseOfTheSchema(t *testing.T) {
	var schema node
	if err := json.Unmarshal([]byte(file(t, schemaPath)), &schema); err != nil {
		t.Fatal(err)
	}
	var defaults map[string]any
	if err := yaml.Unmarshal([]byte(file(t, chart+"/values.yaml")), &defaults); err != nil {
		t.Fatal(err)
	}
	var compare func(path string, n *node, value any)
	compare = func(path string, n *node, value any) {
		if len(n.Properties) == 0 {
			return
		}
		if n.AdditionalProperties != false {
			t.Errorf("%s: the schema lets anything in beside what it names", path)
		}
		have, _ := value.(map[string]any)
		for name, child := range n.Properties {
			v, ok := have[name]
			if !ok && !child.never && path != "config." && path+name != "global" { // which Helm itself gives to charts of charts
				t.Errorf("values.yaml lacks %s%s", path, name)
			}
			compare(path+name+".", child, v)
		}
	}
	compare("", &schema, defaults)
	for _, listener := range schema.Properties["listeners"].PatternProperties {
		compare("listeners.PLAINTEXT.", listener.AnyOf[1], defaults["listeners"].(map[string]any)["PLAINTEXT"])
	}
}

func TestBadValuesAreRefused(t *testing.T) {
	note(t, "deploy")
	for _, test := range []struct{ name, values, want string }{
		{"a misspelt key", "replcas: 5", "replcas"},
		{"a misspelt key below another", "image: {tagg: x}", "tagg"},
		{"a misspelt key of a listener", "listeners: {PLAINTEXT: {adverts: x}}", "adverts"},
		{"a misspelt setting", "config: {flush-intervall: 1s}", "flush-intervall"},
		{"a setting in camel case", "config: {flushInterval: 1s}", "flushInterval"},
		{"a setting that the chart makes", "config: {kafka-listen: ':9092'}", "kafka-listen"},
		{"a list for a setting", "config: {zone-cidr: [a=10.0.0.0/8]}", "zone-cidr"},
		{"a config of Kafka cut at its dots", "config: {kafka-config: {num: {partitions: 3}}}", "kafka-config"},
		{"a listener in small letters", "listeners: {external: {port: 9094}}", "external"},
		{"a listener that is called like a port of the pod", "listeners: {HTTP: {port: 9094}}", "HTTP"},
		{"a listener without a port", "listeners: {EXTERNAL: {mode: direct}}", "port"},
		{"a number in quotes", "replicas: '3'", "replicas"},
		{"another mode", "listeners: {PLAINTEXT: {mode: round-robin}}", "mode"},
		{"an address without a port", "listeners: {PLAINTEXT: {advertise: kafka.example.org}}", "advertise"},
		{"SQLite that pods can't share", "metadata: {url: 'sqlite:/data/metadata.db'}", "metadata"},
		{"a folder that pods can't share", "objects: {url: 'file:/data/objects'}", "objects"},
		{"a budget of nothing", "podDisruptionBudget: {maxUnavailable: some}", "maxUnavailable"},

		{"no listener at all", "listeners: {PLAINTEXT: null}", "at '/listeners'"},
		{"no image", "image: {repository: ''}", "image.repository"},
		{"no tag", "image: {tag: ''}", "image.tag"},
		{"no metadata store", "metadata: {url: ''}", "metadata: set url"},
		{"no object store", "objects: {url: ''}", "objects.url"},
		{"half a pair of keys", "objects: {secretKey: ''}", "objects.secretKey"},
		{"a load balancer that clients don't know", "listeners: {PLAINTEXT: {type: LoadBalancer}}", "listeners.PLAINTEXT.advertise"},
		{"two listeners on one port", "listeners: {EXTERNAL: {port: 9092}}", "listeners.PLAINTEXT.port: 9092 is that of listeners.EXTERNAL"},
		{"a listener on the port of HTTP", "listeners: {PLAINTEXT: {port: 8080}}", "listeners.PLAINTEXT.port: 8080 is that of http"},
		{"one address for agents that have their own", "listeners: {PLAINTEXT: {mode: direct, advertise: 'a:1'}}", "listeners.PLAINTEXT.advertise"},
	} {
		t.Run(test.name, func(t *testing.T) {
			out, ok := run(t, "", "helm", "template", "wadi", filepath.Join(root, chart), "--kube-version", "1.36.0",
				"--values", example(t, "minimal"), "--values", values(t, test.values))
			if ok {
				t.Fatal("was accepted")
			}
			if !strings.Contains(out, test.want) {
				t.Errorf("the error doesn't say %q:\n%s", test.want, out)
			}
		})
	}
}
