package manifests

import (
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const chart = "deploy/helm/wadi"

// object is a rendered document, as far as tests look at several kinds of them.
type object struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string `yaml:"kind"`
	Metadata   struct {
		Name        string            `yaml:"name"`
		Labels      map[string]string `yaml:"labels"`
		Annotations map[string]string `yaml:"annotations"`
	} `yaml:"metadata"`
	Data       map[string]string `yaml:"data"`
	StringData map[string]string `yaml:"stringData"`
	Spec       yaml.Node         `yaml:"spec"`
}

// workload is the spec of a Deployment or a Job.
type workload struct {
	Replicas *int `yaml:"replicas"`
	Selector struct {
		MatchLabels map[string]string `yaml:"matchLabels"`
	} `yaml:"selector"`
	Template struct {
		Metadata struct {
			Labels map[string]string `yaml:"labels"`
		} `yaml:"metadata"`
		Spec struct {
			Grace                     int               `yaml:"terminationGracePeriodSeconds"`
			NodeSelector              map[string]string `yaml:"nodeSelector"`
			TopologySpreadConstraints []struct {
				TopologyKey string `yaml:"topologyKey"`
			} `yaml:"topologySpreadConstraints"`
			Containers []container `yaml:"containers"`
		} `yaml:"spec"`
	} `yaml:"template"`
}

type container struct {
	Image string     `yaml:"image"`
	Args  []string   `yaml:"args"`
	Env   []variable `yaml:"env"`
	Ports []struct {
		Name          string `yaml:"name"`
		ContainerPort int    `yaml:"containerPort"`
	} `yaml:"ports"`
	Resources      map[string]map[string]string `yaml:"resources"`
	StartupProbe   probe                        `yaml:"startupProbe"`
	LivenessProbe  probe                        `yaml:"livenessProbe"`
	ReadinessProbe probe                        `yaml:"readinessProbe"`
}

type variable struct {
	Name      string `yaml:"name"`
	Value     string `yaml:"value"`
	ValueFrom struct {
		FieldRef struct {
			FieldPath string `yaml:"fieldPath"`
		} `yaml:"fieldRef"`
		SecretKeyRef struct {
			Name string `yaml:"name"`
			Key  string `yaml:"key"`
		} `yaml:"secretKeyRef"`
	} `yaml:"valueFrom"`
}

type probe struct {
	HTTPGet struct {
		Path string `yaml:"path"`
		Port string `yaml:"port"`
	} `yaml:"httpGet"`
}

// selector is how one object finds others.
type selector struct {
	MatchLabels      map[string]string `yaml:"matchLabels"`
	MatchExpressions []struct {
		Key      string   `yaml:"key"`
		Operator string   `yaml:"operator"` // In, the only one that the chart has
		Values   []string `yaml:"values"`
	} `yaml:"matchExpressions"`
}

// selects tells whether the labels are those of an object that is meant.
func (s selector) selects(labels map[string]string) bool {
	for _, e := range s.MatchExpressions {
		if value, ok := labels[e.Key]; !ok || e.Operator != "In" || !slices.Contains(e.Values, value) {
			return false
		}
	}
	return within(s.MatchLabels, labels)
}

// env returns the container's variables without those whose value comes from elsewhere.
func (c container) env() map[string]string {
	values := map[string]string{}
	for _, v := range c.Env {
		values[v.Name] = v.Value
	}
	return values
}

// port returns the number of a named port, 0 for none.
func (c container) port(name string) int {
	for _, p := range c.Ports {
		if p.Name == name {
			return p.ContainerPort
		}
	}
	return 0
}

// objects are the documents of a rendered chart.
type objects []object

// render renders the chart with the arguments of helm template, as the release wadi.
func render(t *testing.T, args ...string) (all objects, text string) {
	t.Helper()
	return renderAs(t, "wadi", args...)
}

func renderAs(t *testing.T, release string, args ...string) (all objects, text string) {
	t.Helper()
	note(t, "deploy")
	text = must(t, "", "helm", append([]string{"template", release, filepath.Join(root, chart), "--kube-version", "1.36.0"}, args...)...)
	// Helm says on its way that it follows the links to the dashboard and the alerts.
	if start := strings.Index(text, "---\n"); start > 0 {
		text = text[start:]
	}
	decoder := yaml.NewDecoder(strings.NewReader(text))
	for {
		var o object
		err := decoder.Decode(&o)
		if errors.Is(err, io.EOF) {
			return all, text
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if o.Kind != "" {
			all = append(all, o)
		}
	}
}

// kind returns the objects of a kind.
func (all objects) kind(kind string) objects {
	var found objects
	for _, o := range all {
		if o.Kind == kind {
			found = append(found, o)
		}
	}
	return found
}

// one returns the only object of a kind, with its spec decoded.
func (all objects) one(t *testing.T, kind string, spec any) object {
	t.Helper()
	found := all.kind(kind)
	if len(found) != 1 {
		t.Fatalf("got %d objects of kind %s, want 1", len(found), kind)
	}
	found[0].decode(t, spec)
	return found[0]
}

func (o object) decode(t *testing.T, spec any) {
	t.Helper()
	if err := o.Spec.Decode(spec); err != nil {
		t.Fatalf("%s %s: %v", o.Kind, o.Metadata.Name, err)
	}
}

// agent returns the Deployment and its container.
func (all objects) agent(t *testing.T) (workload, container) {
	t.Helper()
	var deployment workload
	all.one(t, "Deployment", &deployment)
	if n := len(deployment.Template.Spec.Containers); n != 1 {
		t.Fatalf("the Deployment has %d containers", n)
	}
	return deployment, deployment.Template.Spec.Containers[0]
}

// examples returns the files of values in deploy/helm/examples by their names.
func examples(t *testing.T) map[string]string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(root, "deploy/helm/examples/*.yaml"))
	if err != nil || len(paths) < 4 {
		t.Fatalf("examples: %q, %v", paths, err)
	}
	all := map[string]string{}
	for _, path := range paths {
		all[strings.TrimSuffix(filepath.Base(path), ".yaml")] = path
	}
	return all
}

// example returns the path of one.
func example(t *testing.T, name string) string {
	t.Helper()
	path := examples(t)[name]
	if path == "" {
		t.Fatalf("there is no example %s", name)
	}
	return path
}

// values writes a file of values.
func values(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// within tells whether labels have all that a selector wants, and that it wants something.
func within(selector, labels map[string]string) bool {
	for key, value := range selector {
		if labels[key] != value {
			return false
		}
	}
	return len(selector) > 0
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
