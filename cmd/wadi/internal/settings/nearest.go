package settings

import (
	"cmp"
	"slices"
	"strings"
)

// Misspelt is an environment variable that is no setting but nearly one.
type Misspelt struct {
	Variable string
	// Meant is the setting's variable.
	Meant string
}

// misspelt finds such variables, by name.
func misspelt(environ []string) []Misspelt {
	known := []string{ConfigEnv, envPrefix + "BOOTSTRAP"}
	for _, setting := range All() {
		known = append(known, setting.Env())
	}
	var found []Misspelt
	for _, pair := range environ {
		name, _, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, envPrefix) || slices.Contains(known, name) {
			continue
		}
		if near := nearest(name, known); near != "" {
			found = append(found, Misspelt{name, near})
		}
	}
	slices.SortFunc(found, func(a, b Misspelt) int { return cmp.Compare(a.Variable, b.Variable) })
	return found
}

// nearest returns the known name that is fewest edits away, or "" when all are
// too far to be what was meant.
func nearest(name string, known []string) string {
	if len(name) > 100 {
		return ""
	}
	type candidate struct {
		name  string
		edits int
	}
	var candidates []candidate
	for _, k := range known {
		if edits := distance(normal(name), normal(k)); edits <= max(1, len(k)/5) {
			candidates = append(candidates, candidate{k, edits})
		}
	}
	if len(candidates) == 0 {
		return ""
	}
	return slices.MinFunc(candidates, func(a, b candidate) int { return cmp.Compare(a.edits, b.edits) }).name
}

// normal makes kafka_listen, kafkaListen and KAFKA-LISTEN the same.
func normal(name string) string {
	return strings.ToLower(strings.NewReplacer("-", "", "_", "", ".", "").Replace(name))
}

// distance is the Levenshtein distance in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
