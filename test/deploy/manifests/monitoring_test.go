package manifests

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/wadi-log/wadi/test/harness"
)

const (
	rulesPath     = "deploy/prometheus/rules.yml"
	dashboardPath = "deploy/grafana/wadi.json"
)

type ruleFile struct {
	Groups []struct {
		Rules []struct {
			Alert       string
			Expr        string
			Labels      map[string]string
			Annotations map[string]string
		}
	}
}

func alertRules(t *testing.T) ruleFile {
	t.Helper()
	var rules ruleFile
	if err := yaml.Unmarshal([]byte(file(t, rulesPath)), &rules); err != nil {
		t.Fatal(err)
	}
	return rules
}

func TestPrometheusTakesRulesAndScrapeExample(t *testing.T) {
	note(t, "deploy/prometheus")
	must(t, "", "promtool", "check", "rules", "--lint-fatal", filepath.Join(root, rulesPath))
	out := must(t, "", "promtool", "check", "config", "--lint-fatal", filepath.Join(root, "deploy/prometheus/scrape.yml"))
	if !strings.Contains(out, "1 rule file") {
		t.Errorf("the example doesn't load the rules:\n%s", out)
	}
}

// TestAlertsFire has Prometheus evaluate the rules over series where each alert must fire, and over some where none may.
func TestAlertsFire(t *testing.T) {
	note(t, "deploy/prometheus")
	const cases = "testdata/rules_test.yml"
	must(t, "", "promtool", "test", "rules", cases)

	var tests struct {
		Tests []struct {
			Name          string
			AlertRuleTest []struct {
				Alertname string
				ExpAlerts []any `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
			PromqlExprTest []struct {
				ExpSamples []struct{ Labels string } `yaml:"exp_samples"`
			} `yaml:"promql_expr_test"`
		}
	}
	if err := yaml.Unmarshal([]byte(file(t, "test/deploy/manifests/"+cases)), &tests); err != nil {
		t.Fatal(err)
	}
	fires, rests := map[string]bool{}, map[string]bool{}
	alert := regexp.MustCompile(`alertname="(\w+)"`)
	for _, test := range tests.Tests {
		for _, c := range test.PromqlExprTest {
			for _, sample := range c.ExpSamples {
				fires[alert.FindStringSubmatch(sample.Labels)[1]] = true
			}
		}
		for _, c := range test.AlertRuleTest {
			fires[c.Alertname] = fires[c.Alertname] || len(c.ExpAlerts) > 0
			rests[c.Alertname] = rests[c.Alertname] || len(c.ExpAlerts) == 0 && test.Name == "all is well"
		}
	}
	for _, group := range alertRules(t).Groups {
		for _, rule := range group.Rules {
			if !fires[rule.Alert] || !rests[rule.Alert] {
				t.Errorf("%s: %s fires in no test, or is not among those that rest while all is well", cases, rule.Alert)
			}
			if rule.Annotations["summary"] == "" || rule.Annotations["description"] == "" {
				t.Errorf("%s doesn't say what is wrong and what to do", rule.Alert)
			}
			if !slices.Contains([]string{"critical", "warning", "info"}, rule.Labels["severity"]) {
				t.Errorf("%s has severity %q", rule.Alert, rule.Labels["severity"])
			}
		}
	}
}

type panel struct {
	ID          int
	Type        string
	Title       string
	Description string
	GridPos     struct{ X, Y, W, H int }
	Datasource  struct{ UID string }
	FieldConfig struct{ Defaults struct{ Unit string } }
	Targets     []struct {
		Expr         string
		LegendFormat string
		Datasource   struct{ UID string }
	}
}

type dashboardFile struct {
	UID        string
	Panels     []panel
	Templating struct {
		List []struct {
			Name       string
			Definition string
		}
	}
}

func readDashboard(t *testing.T) dashboardFile {
	t.Helper()
	var d dashboardFile
	if err := json.Unmarshal([]byte(file(t, dashboardPath)), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestGrafanaTakesTheDashboard(t *testing.T) {
	note(t, "test/deploy/typed")
	typed(t, "grafana", file(t, dashboardPath), &struct{}{})
}

// TestPanelsAreWhole: each has its own place, a unit, and asks the chosen Prometheus for the chosen cluster.
func TestPanelsAreWhole(t *testing.T) {
	taken := map[[2]int]string{}
	ids := map[int]bool{}
	for _, p := range readDashboard(t).Panels {
		if p.ID == 0 || ids[p.ID] {
			t.Errorf("%q has the ID %d, as another panel", p.Title, p.ID)
		}
		ids[p.ID] = true
		if p.GridPos.W < 1 || p.GridPos.H < 1 || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("%q is at %+v", p.Title, p.GridPos)
		}
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" {
					t.Fatalf("%q covers %q", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.Title == "" || p.Description == "" || p.FieldConfig.Defaults.Unit == "" || len(p.Targets) == 0 {
			t.Errorf("panel %d lacks a title, a description, a unit or a query: %+v", p.ID, p)
		}
		for _, target := range p.Targets {
			if target.Datasource.UID != "${datasource}" || p.Datasource.UID != "${datasource}" {
				t.Errorf("%q doesn't ask the Prometheus that was chosen", p.Title)
			}
		}
	}
}

// asked is a query of a rule or a panel.
type asked struct {
	where string
	// legend are the labels that a panel shows.
	legend []string
	Query  string
	// Selectors and Labels are as in test/deploy/typed.
	Selectors []struct {
		Metric   string
		Matchers []struct{ Label, Type, Value string }
	}
	Labels []string
}

// queries returns what rules and dashboard ask for, as Prometheus itself reads it.
func queries(t *testing.T) []asked {
	t.Helper()
	note(t, "test/deploy/typed")
	var texts, where []string
	legends := map[int][]string{}
	add := func(from, text string) {
		// What Grafana puts in before it asks.
		for _, name := range []string{"$__rate_interval", "$__interval", "$__range"} {
			text = strings.ReplaceAll(text, name, "5m")
		}
		texts, where = append(texts, text), append(where, from)
	}
	for _, group := range alertRules(t).Groups {
		for _, rule := range group.Rules {
			add("alert "+rule.Alert, rule.Expr)
		}
	}
	dashboard := readDashboard(t)
	legend := regexp.MustCompile(`\{\{(\w+)\}\}`)
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			add("panel "+p.Title, target.Expr)
			for _, label := range legend.FindAllStringSubmatch(target.LegendFormat, -1) {
				legends[len(texts)-1] = append(legends[len(texts)-1], label[1])
			}
		}
	}
	for _, v := range dashboard.Templating.List {
		if inner, ok := strings.CutPrefix(v.Definition, "label_values("); ok {
			selector := inner[:strings.LastIndex(inner, ",")]
			add("variable "+v.Name, selector)
		}
	}
	input, err := json.Marshal(texts)
	if err != nil {
		t.Fatal(err)
	}
	var all []asked
	typed(t, "promql", string(input), &all)
	if len(all) != len(texts) || len(all) < 50 {
		t.Fatalf("%d of %d queries came back", len(all), len(texts))
	}
	for i := range all {
		all[i].where, all[i].legend = where[i], legends[i]
	}
	return all
}

// fromTarget are the labels that Prometheus adds to what an agent exposes. A metric with a label of
// these names would not keep it.
var fromTarget = []string{"job", "instance"}

// TestAgentsExposeWhatIsAskedFor compares each metric, label and value that a rule or a panel names with what agents
// that have worked expose.
func TestAgentsExposeWhatIsAskedFor(t *testing.T) {
	exposed := workedAgents(t)
	for name, samples := range exposed {
		for _, sample := range samples {
			for _, label := range fromTarget {
				if _, ok := sample[label]; ok {
					t.Fatalf("%s has a label %s, which Prometheus renames to exported_%s", name, label, label)
				}
			}
		}
	}
	for _, q := range queries(t) {
		labels := append([]string{"le"}, fromTarget...)
		for _, selector := range q.Selectors {
			if selector.Metric == "up" {
				continue // Prometheus' own
			}
			samples := exposed[selector.Metric]
			if len(samples) == 0 {
				t.Errorf("%s: agents have no metric %s", q.where, selector.Metric)
				continue
			}
			for name := range samples[0] {
				labels = append(labels, name)
			}
			for _, matcher := range selector.Matchers {
				if slices.Contains(fromTarget, matcher.Label) {
					continue
				}
				if !slices.ContainsFunc(samples, func(sample map[string]string) bool {
					value, ok := sample[matcher.Label]
					return ok && (matcher.Type != "=" || value == matcher.Value)
				}) {
					t.Errorf("%s: no %s has %s%s%q", q.where, selector.Metric, matcher.Label, matcher.Type, matcher.Value)
				}
			}
			if strings.HasPrefix(q.where, "panel ") && !slices.ContainsFunc(selector.Matchers, func(m struct{ Label, Type, Value string }) bool {
				return m.Label == "job" && m.Value == "$cluster"
			}) {
				t.Errorf("%s: %s is asked for in all clusters", q.where, selector.Metric)
			}
		}
		for _, label := range append(q.legend, q.Labels...) {
			if !slices.Contains(labels, label) {
				t.Errorf("%s: nothing in %q has a label %s", q.where, q.Query, label)
			}
		}
		for _, label := range q.legend {
			if strings.Contains(q.Query, " by (") && !slices.Contains(q.Labels, label) {
				t.Errorf("%s: the legend shows %s, which %q sums over", q.where, label, q.Query)
			}
		}
	}
}

// workedAgents returns what two agents expose that clients have used, by metric, the labels of each sample.
func workedAgents(t *testing.T) map[string][]map[string]string {
	t.Helper()
	bucket := harness.MinIO(t)
	options := harness.AgentOptions{
		Metadata: harness.Postgres(t), Objects: bucket.MinioURL(), AccessKey: bucket.AccessKey, SecretKey: bucket.SecretKey,
		Flags: []string{"--flush-interval=1ms", "--orphan-interval=1s", "--peer-listen=127.0.0.1:0"},
	}
	var agents []*harness.AgentProcess
	for range 2 {
		a := harness.Agent(t, options)
		agents = append(agents, a)
		work(t, a.Bootstrap())
	}
	// With empty caches, so that something has to be read from the object store.
	for _, a := range agents {
		a.Restart()
	}
	for _, a := range agents {
		work(t, a.Bootstrap())
	}
	for _, a := range agents { // some metrics are there from the first round on
		harness.Eventually(t, time.Minute, func() error {
			if a.Metrics()[`wadi_job_rounds_total{name="merge"}`] == 0 {
				return errors.New("no round of merges yet")
			}
			return nil
		})
	}
	exposed := map[string][]map[string]string{}
	label := regexp.MustCompile(`(\w+)="((?:[^"\\]|\\.)*)"`)
	for _, a := range agents {
		metrics := a.Metrics()
		labelled := map[string]bool{}
		for sample := range metrics {
			if name, _, ok := strings.Cut(sample, "{"); ok {
				labelled[name] = true
			}
		}
		for sample := range metrics {
			name, labels, _ := strings.Cut(sample, "{")
			if labels == "" && labelled[name] {
				continue // the sum of the others, which the harness adds
			}
			set := map[string]string{}
			for _, match := range label.FindAllStringSubmatch(labels, -1) {
				set[match[1]] = match[2]
			}
			exposed[name] = append(exposed[name], set)
		}
	}
	return exposed
}
