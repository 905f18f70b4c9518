package manifests

import (
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// TestChartRendersIntoTypesOfKubernetes renders each example and has Kubernetes' own types,
// and those of Prometheus' operator, decode all of it, refusing what they don't know.
func TestChartRendersIntoTypesOfKubernetes(t *testing.T) {
	note(t, "test/deploy/typed")
	must(t, "", "helm", "lint", "--strict", filepath.Join(root, chart)) // as it comes, what must be set left out
	for name, path := range examples(t) {
		t.Run(name, func(t *testing.T) {
			must(t, "", "helm", "lint", "--strict", filepath.Join(root, chart), "--values", path)
			rendered, text := render(t, "--values", path)
			var decoded []struct{ APIVersion, Kind, Name string }
			typed(t, "kubernetes", text, &decoded)
			if len(decoded) != len(rendered) {
				t.Errorf("%d of %d documents were decoded", len(decoded), len(rendered))
			}
			for i, o := range rendered {
				if decoded[i].Kind != o.Kind || decoded[i].Name != o.Metadata.Name {
					t.Errorf("%s %s was decoded as %+v", o.Kind, o.Metadata.Name, decoded[i])
				}
			}
		})
	}
}

// TestChartHangsTogether follows the names and labels by which the rendered objects refer to one another.
func TestChartHangsTogether(t *testing.T) {
	known := settings(t)
	for name, path := range examples(t) {
		t.Run(name, func(t *testing.T) {
			all, text := render(t, "--values", path)
			checkVariables(t, name, text)
			deployment, agent := all.agent(t)
			pod := deployment.Template.Metadata.Labels
			if !within(deployment.Selector.MatchLabels, pod) {
				t.Errorf("the Deployment selects %v, its pods have %v", deployment.Selector.MatchLabels, pod)
			}
			for path, p := range map[string]probe{"/livez": agent.LivenessProbe, "/readyz": agent.ReadinessProbe} {
				if p.HTTPGet.Path != path || agent.port(p.HTTPGet.Port) == 0 {
					t.Errorf("the probe of %s asks %+v", path, p)
				}
			}
			checkDrain(t, deployment, agent)

			for _, config := range all.kind("ConfigMap") {
				if content, ok := config.Data["wadi.yaml"]; ok {
					var keys map[string]any
					if err := yaml.Unmarshal([]byte(content), &keys); err != nil {
						t.Errorf("wadi.yaml: %v", err)
					}
					for key := range keys {
						if known[key] == "" {
							t.Errorf("wadi.yaml: wadi has no setting %s", key)
						}
					}
				}
			}
			for _, service := range all.kind("Service") {
				var spec struct {
					Selector map[string]string
					Ports    []struct {
						TargetPort string `yaml:"targetPort"`
					}
				}
				service.decode(t, &spec)
				if !within(spec.Selector, pod) {
					t.Errorf("Service %s selects %v, pods have %v", service.Metadata.Name, spec.Selector, pod)
				}
				for _, port := range spec.Ports {
					if agent.port(port.TargetPort) == 0 {
						t.Errorf("Service %s leads to port %q, which pods don't have", service.Metadata.Name, port.TargetPort)
					}
				}
				for _, job := range all.kind("Job") {
					var migrate workload
					job.decode(t, &migrate)
					if within(spec.Selector, migrate.Template.Metadata.Labels) {
						t.Errorf("Service %s leads to the pod that migrates", service.Metadata.Name)
					}
				}
			}
			for _, budget := range all.kind("PodDisruptionBudget") {
				var spec struct {
					Selector struct {
						MatchLabels map[string]string `yaml:"matchLabels"`
					}
				}
				budget.decode(t, &spec)
				if !within(spec.Selector.MatchLabels, pod) {
					t.Errorf("the PodDisruptionBudget selects %v, pods have %v", spec.Selector.MatchLabels, pod)
				}
			}
			for _, monitor := range all.kind("ServiceMonitor") {
				checkMonitor(t, all, monitor)
			}
			for _, policy := range all.kind("NetworkPolicy") {
				checkPolicy(t, policy, pod, agent, true)
			}
		})
	}
}

// checkDrain: Kubernetes must not kill an agent that does as it was told.
func checkDrain(t *testing.T, deployment workload, agent container) {
	t.Helper()
	var drain time.Duration
	for _, name := range []string{"WADI_DRAIN_DELAY", "WADI_DRAIN_TIMEOUT"} {
		d, err := time.ParseDuration(agent.env()[name])
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		drain += d
	}
	if grace := time.Duration(deployment.Template.Spec.Grace) * time.Second; grace < drain+5*time.Second {
		t.Errorf("pods are killed after %v, but may take %v to drain", grace, drain)
	}
}

// checkMonitor: a ServiceMonitor that selects two Services has each agent twice.
func checkMonitor(t *testing.T, all objects, monitor object) {
	t.Helper()
	var spec struct {
		JobLabel string `yaml:"jobLabel"`
		Selector struct {
			MatchLabels map[string]string `yaml:"matchLabels"`
		}
	}
	monitor.decode(t, &spec)
	selected := 0
	for _, service := range all.kind("Service") {
		if within(spec.Selector.MatchLabels, service.Metadata.Labels) {
			selected++
			if service.Metadata.Labels[spec.JobLabel] == "" {
				t.Errorf("Service %s has no label %s, by which the job is named", service.Metadata.Name, spec.JobLabel)
			}
		}
	}
	if selected != 1 {
		t.Errorf("the ServiceMonitor selects %d Services, want 1", selected)
	}
}

// checkPolicy: a NetworkPolicy lets in to all ports that a pod has, and agents to one another, be they of its own
// release or of another one of the cluster.
func checkPolicy(t *testing.T, policy object, pod map[string]string, agent container, own bool) {
	t.Helper()
	type rule struct {
		Ports    []struct{ Port string }
		From, To []struct {
			PodSelector struct {
				MatchLabels map[string]string `yaml:"matchLabels"`
			} `yaml:"podSelector"`
		}
	}
	var spec struct {
		PodSelector     selector `yaml:"podSelector"`
		Ingress, Egress []rule
	}
	policy.decode(t, &spec)
	if spec.PodSelector.selects(pod) != own {
		t.Errorf("the NetworkPolicy selects %v, pods have %v", spec.PodSelector, pod)
	}
	open := map[string]bool{}
	for _, rule := range spec.Ingress {
		for _, port := range rule.Ports {
			open[port.Port] = true
			if agent.port(port.Port) == 0 {
				t.Errorf("the NetworkPolicy names port %q, which pods don't have", port.Port)
			}
			if port.Port == "peer" && (len(rule.From) != 1 || !within(rule.From[0].PodSelector.MatchLabels, pod)) {
				t.Errorf("the NetworkPolicy lets %+v in to the peer listener, want agents alone", rule.From)
			}
		}
	}
	for _, port := range agent.Ports {
		if !open[port.Name] {
			t.Errorf("the NetworkPolicy lets nobody in to port %s", port.Name)
		}
	}
	out := false
	for _, rule := range spec.Egress {
		for _, port := range rule.Ports {
			out = out || port.Port == "peer" && len(rule.To) == 1 && within(rule.To[0].PodSelector.MatchLabels, pod)
		}
	}
	if len(spec.Egress) > 0 && !out {
		t.Error("the NetworkPolicy doesn't let agents ask one another")
	}
}

// TestChartLetsMigrationsIn: where pods must name what they use and connect to, those of the Job that migrates are let in
// and out as agents are.
func TestChartLetsMigrationsIn(t *testing.T) {
	all, _ := render(t, "--values", example(t, "everything"))
	deployment, agent := all.agent(t)
	var migrate workload
	all.one(t, "Job", &migrate)
	var policy struct {
		PodSelector selector `yaml:"podSelector"`
	}
	all.one(t, "NetworkPolicy", &policy)
	labels := migrate.Template.Metadata.Labels
	if !policy.PodSelector.selects(labels) || !policy.PodSelector.selects(deployment.Template.Metadata.Labels) {
		t.Errorf("the NetworkPolicy selects %+v, the pod that migrates has %v", policy.PodSelector, labels)
	}
	if policy.PodSelector.selects(map[string]string{"app.kubernetes.io/instance": "wadi", "app.kubernetes.io/name": "another"}) {
		t.Errorf("the NetworkPolicy selects %+v, and so pods that are none of Wadi's", policy.PodSelector)
	}
	if got := migrate.Template.Spec.Containers[0].Resources; len(got) == 0 || !reflect.DeepEqual(got, agent.Resources) {
		t.Errorf("the Job asks for %v, agents for %v", got, agent.Resources)
	}
}

func TestChartAdvertisesAsTheListenersSay(t *testing.T) {
	for name, want := range map[string]struct{ listen, advertise string }{
		"minimal": {":9092", "wadi.default.svc:9092"},
		"direct":  {"EXTERNAL://:9094,:9092", "EXTERNAL://kafka.example.org:9094,$(POD_IP):9092"},
		"zone-a":  {":9092", "$(POD_IP):9092"},
		"everything": {"BATCH://:19093,NODES://:19094,:19092",
			"BATCH://kafka-batch.example.org:443,NODES://nodes.example.org:31094,orders-log.default.svc:19092"},
	} {
		all, _ := render(t, "--values", example(t, name))
		_, agent := all.agent(t)
		if got := agent.env(); got["WADI_KAFKA_LISTEN"] != want.listen || got["WADI_ADVERTISE"] != want.advertise {
			t.Errorf("%s: listens on %q and advertises %q, want %q and %q", name, got["WADI_KAFKA_LISTEN"], got["WADI_ADVERTISE"], want.listen, want.advertise)
		}
	}
}

// TestChartTakesConnectionsOnEachNodePort: with Local, nodes without an agent drop what comes to them, which only load balancers notice.
func TestChartTakesConnectionsOnEachNodePort(t *testing.T) {
	for _, test := range []struct{ kind, policy, want string }{
		{"LoadBalancer", "", "Local"},
		{"NodePort", "", "Cluster"},
		{"LoadBalancer", "Cluster", "Cluster"},
		{"NodePort", "Local", "Local"},
	} {
		for _, listener := range []string{"PLAINTEXT", "OTHER"} { // one that values.yaml has, and one that it doesn't
			set := "listeners." + listener + "."
			args := []string{"--values", example(t, "minimal"), "--set", set + "port=9099," + set + "advertise=a.example.org:9099," + set + "type=" + test.kind}
			if test.policy != "" {
				args = append(args, "--set", set+"externalTrafficPolicy="+test.policy)
			}
			all, _ := render(t, args...)
			found := 0
			for _, service := range all.kind("Service") {
				var spec struct {
					Type   string
					Policy string `yaml:"externalTrafficPolicy"`
				}
				service.decode(t, &spec)
				if spec.Type != test.kind {
					continue
				}
				found++
				if spec.Policy != test.want {
					t.Errorf("%s of type %s with policy %q has %q, want %q", listener, test.kind, test.policy, spec.Policy, test.want)
				}
			}
			if found != 1 {
				t.Errorf("%s: %d Services of type %s, want 1", listener, found, test.kind)
			}
		}
	}
}

// TestChartTellsAgentsTheirZone: from the label that newer Kubernetes copies to pods, or fixed, and then
// the pods have to be there.
func TestChartTellsAgentsTheirZone(t *testing.T) {
	const label = "topology.kubernetes.io/zone"
	zone := func(args ...string) (deployment workload, value, field string) {
		all, _ := render(t, append([]string{"--values", example(t, "minimal")}, args...)...)
		deployment, agent := all.agent(t)
		for _, v := range agent.Env {
			if v.Name == "WADI_ZONE" {
				return deployment, v.Value, v.ValueFrom.FieldRef.FieldPath
			}
		}
		return deployment, "", ""
	}
	if _, value, field := zone(); value != "" || field != "metadata.labels['"+label+"']" {
		t.Errorf("by default the zone is %q or from %q", value, field)
	}
	if _, value, field := zone("--set", "zone.fromNode=false"); value+field != "" {
		t.Errorf("without fromNode the zone is %q or from %q", value, field)
	}
	deployment, value, field := zone("--set", "zone.value=a")
	if value != "a" || field != "" || deployment.Template.Spec.NodeSelector[label] != "a" {
		t.Errorf("a fixed zone is %q or from %q, on nodes %v", value, field, deployment.Template.Spec.NodeSelector)
	}
	for _, spread := range deployment.Template.Spec.TopologySpreadConstraints {
		if spread.TopologyKey == label {
			t.Error("pods that must be in one zone are spread over zones")
		}
	}
}

func TestChartLeavesTheNumberOfAgentsToTheAutoscaler(t *testing.T) {
	for _, autoscaled := range []bool{false, true} {
		all, _ := render(t, "--values", example(t, "minimal"), "--set", "autoscaling.enabled="+strconv.FormatBool(autoscaled))
		deployment, _ := all.agent(t)
		if n := len(all.kind("HorizontalPodAutoscaler")); (n == 1) != autoscaled || (deployment.Replicas == nil) != autoscaled {
			t.Errorf("autoscaling.enabled=%v: %d autoscalers, replicas %v", autoscaled, n, deployment.Replicas)
		}
	}
}

// TestChartKeepsSecretsInSecrets looks for passwords and keys anywhere else.
func TestChartKeepsSecretsInSecrets(t *testing.T) {
	const password, key = "swordfish", "hunter2"
	all, text := render(t, "--values", example(t, "minimal"), "--set", "metadata.url=postgres://wadi:"+password+"@db/wadi,objects.secretKey="+key)
	secrets := all.kind("Secret")
	if len(secrets) != 1 || !strings.Contains(secrets[0].StringData["metadata-url"], password) || secrets[0].StringData["secret-key"] != key {
		t.Fatalf("the Secrets are %+v", secrets)
	}
	for _, secret := range []string{password, key} {
		if n := strings.Count(text, secret); n != 1 {
			t.Errorf("%q is in the manifests %d times, want once", secret, n)
		}
	}
	all, _ = render(t, "--values", example(t, "zone-a"))
	if len(all.kind("Secret")) > 0 {
		t.Error("with existing Secrets, another one is made")
	}
	_, agent := all.agent(t)
	refs := map[string]string{}
	for _, v := range agent.Env {
		if ref := v.ValueFrom.SecretKeyRef; ref.Name != "" {
			refs[v.Name] = ref.Name + "/" + ref.Key
		}
	}
	for name, want := range map[string]string{
		"WADI_METADATA":           "wadi-postgres/uri",
		"WADI_OBJECTS_ACCESS_KEY": "wadi-minio/rootUser",
		"WADI_OBJECTS_SECRET_KEY": "wadi-minio/rootPassword",
	} {
		if refs[name] != want {
			t.Errorf("%s comes from %q, want %q", name, refs[name], want)
		}
	}
}

// TestChartReleasesOfOneClusterAreOne: agents of the releases of all zones know one another by their labels.
func TestChartReleasesOfOneClusterAreOne(t *testing.T) {
	a, _ := renderAs(t, "wadi-a", "--values", example(t, "zone-a"), "--set", "networkPolicy.enabled=true")
	b, _ := renderAs(t, "wadi-b", "--values", example(t, "zone-a"), "--set", "zone.value=b")
	other, agent := b.agent(t)
	for _, policy := range a.kind("NetworkPolicy") {
		checkPolicy(t, policy, other.Template.Metadata.Labels, agent, false)
	}
}

// TestChartNotes: what helm install prints tells where clients start from, and warns where zones are missing.
func TestChartNotes(t *testing.T) {
	old := notes(t, "1.34.0")
	for _, want := range []string{
		"wadi.default.svc:9092", "kafka.example.org:9094", "LoadBalancer Service wadi-external", "doesn't tell pods the zone",
	} {
		if !strings.Contains(old, want) {
			t.Errorf("the notes lack %q:\n%s", want, old)
		}
	}
	if strings.Contains(notes(t, "1.35.0"), "doesn't tell pods the zone") {
		t.Error("the notes warn of missing zones with Kubernetes 1.35")
	}
}

// notes renders the notes for a version of Kubernetes. Helm does so only with a cluster at hand, hence
// through a template of a copy of the chart.
func notes(t *testing.T, version string) string {
	t.Helper()
	source, folder := filepath.Join(root, chart), t.TempDir()
	err := filepath.WalkDir(source, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(source, path)
		if err != nil {
			return err
		}
		to := filepath.Join(folder, relative)
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return err
		}
		return os.WriteFile(to, content, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(folder, "templates", "NOTES.txt"), filepath.Join(folder, "NOTES.txt")); err != nil {
		t.Fatal(err)
	}
	const template = "notes: |\n  {{- tpl (.Files.Get \"NOTES.txt\") . | nindent 2 }}\n"
	if err := os.WriteFile(filepath.Join(folder, "templates", "notes.yaml"), []byte(template), 0o600); err != nil {
		t.Fatal(err)
	}
	return must(t, "", "helm", "template", "wadi", folder, "--values", example(t, "direct"), "--kube-version", version, "--show-only", "templates/notes.yaml")
}
