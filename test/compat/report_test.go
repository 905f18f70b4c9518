package compat

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

// document is what make compat writes. Nothing in it changes from run to run
// unless a version or a result does.
const document = "../../docs/compatibility.md"

// report collects outcomes and renders them.
type report struct {
	setups []setup

	mu       sync.Mutex
	versions map[string]string  // by suite
	listed   map[string][]tried // by suite
	outcomes map[cell]outcome
}

type cell struct{ setup, suite, feature string }

func newReport(setups []setup) *report {
	return &report{setups: setups, versions: map[string]string{}, listed: map[string][]tried{}, outcomes: map[cell]outcome{}}
}

// start notes what a suite is going to try.
func (r *report) start(s suite, version string, listed []tried) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.versions[s.name], r.listed[s.name] = version, listed
}

func (r *report) add(on setup, s suite, feature string, o outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.outcomes[cell{on.name, s.name, feature}] = o
}

// complete tells whether every suite ran on every setup to its end.
func (r *report) complete() bool {
	for _, s := range suites {
		if len(r.listed[s.name]) == 0 {
			return false
		}
		for _, f := range r.listed[s.name] {
			for _, on := range r.setups {
				if r.outcomes[cell{on.name, s.name, f.name}].verdict == "" {
					return false
				}
			}
		}
	}
	return true
}

// document is the whole file.
func (r *report) document() string {
	var b strings.Builder
	b.WriteString(`# Compatibility

Real clients and Kafka's own tools against Wadi: written by ` + "`make compat`" + `, which runs all of it, and fails when something here
stops working. The scripts are in [test/compat](../test/compat), a folder for each language; they are examples of how to use
each client, too. The same scripts pass with Apache Kafka 4.2, but for what [differs](#where-wadi-differs).

Everything is tried with

`)
	for _, on := range r.setups {
		fmt.Fprintf(&b, "- %s,\n", on.about)
	}
	b.WriteString(`
and **ok** means: with each of them. A dash stands where a client does not have the feature, or gives no access to it; of a row
that a client has in part, that part is tried.

`)
	b.WriteString(r.tables())
	return b.String()
}

// tables are all results.
func (r *report) tables() string {
	var b strings.Builder
	r.clients(&b)
	for _, s := range suites {
		if s.title != "" && len(r.listed[s.name]) > 0 {
			r.list(&b, s)
		}
	}
	r.remarks(&b, "Where Wadi differs", differs)
	r.remarks(&b, "What fails", failed)
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// clients is the table with a column for each client.
func (r *report) clients(b *strings.Builder) {
	var columns []suite
	for _, s := range suites {
		if s.title == "" && len(r.listed[s.name]) > 0 {
			columns = append(columns, s)
		}
	}
	if len(columns) == 0 {
		return
	}
	b.WriteString("## Clients\n\n| |")
	for _, s := range columns {
		fmt.Fprintf(b, " %s %s |", s.name, r.versions[s.name])
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(columns)) + "\n")
	for _, f := range features {
		fmt.Fprintf(b, "| %s |", f.title)
		for _, s := range columns {
			if slices.ContainsFunc(r.listed[s.name], func(t tried) bool { return t.name == f.name }) {
				fmt.Fprintf(b, " %s |", r.verdict(s.name, f.name))
			} else if s.name == "Java" && strings.HasPrefix(f.title, "Admin:") {
				b.WriteString(" [below](#javas-admin-client) |") // its client for that is another one
			} else {
				b.WriteString(" – |")
			}
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
}

// list is the table of a suite with features of its own.
func (r *report) list(b *strings.Builder, s suite) {
	fmt.Fprintf(b, "## %s\n\n| version %s | |\n|---|---|\n", s.title, r.versions[s.name])
	for _, f := range r.listed[s.name] {
		name := f.name
		if f.text != "" {
			name += ": " + f.text
		}
		fmt.Fprintf(b, "| %s | %s |\n", name, r.verdict(s.name, f.name))
	}
	b.WriteString("\n")
}

// verdict is one word for all setups; a failure says where, if not everywhere.
func (r *report) verdict(suite, feature string) string {
	by := map[verdict][]string{}
	for _, on := range r.setups {
		v := r.outcomes[cell{on.name, suite, feature}].verdict
		by[v] = append(by[v], on.name)
	}
	switch {
	case len(by[""]) == len(r.setups):
		return "not run"
	case len(by[failed]) == len(r.setups):
		return "**FAIL**"
	case len(by[failed]) > 0:
		return "**FAIL** with " + strings.Join(by[failed], ", ")
	case len(by[differs]) > 0:
		return string(differs)
	}
	return string(ok)
}

// remarks lists the texts of all outcomes with the verdict, once each.
func (r *report) remarks(b *strings.Builder, title string, v verdict) {
	var lines []string
	for _, s := range suites {
		for _, f := range r.listed[s.name] {
			for _, on := range r.setups {
				o := r.outcomes[cell{on.name, s.name, f.name}]
				if o.verdict != v {
					continue
				}
				line := fmt.Sprintf("- %s, %s: %s", s.name, f.name, o.text)
				if v == differs {
					line = fmt.Sprintf("- %s: %s.", f.name, o.text)
				}
				if !slices.Contains(lines, line) {
					lines = append(lines, line)
				}
			}
		}
	}
	if len(lines) > 0 {
		fmt.Fprintf(b, "## %s\n\n%s\n\n", title, strings.Join(lines, "\n"))
	}
}
