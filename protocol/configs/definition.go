package configs

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Definition describes one config.
type Definition struct {
	Name string
	Type kmsg.ConfigType
	// Default is the value that holds when nothing is set, in Kafka's
	// spelling; Nullable configs have none, their value is then null.
	Default  string
	Nullable bool
	// Doc says in a sentence or two what the config does here.
	Doc string
	// Sensitive values are never shown.
	Sensitive bool
	// Settable, of a broker config, says that an operator may set it on an
	// agent. The others report what the agent does.
	Settable bool
	// Dynamic, of a broker config, says that it may be set over the wire too, for one
	// broker or for all, and then acts at once (KIP-226).
	Dynamic bool
	// Synonyms of a topic or group config are the broker configs that hold for
	// topics (groups) which don't set it; the first that is set counts.
	Synonyms []Synonym

	check check
}

// Synonym is a broker config that a topic or group config takes its default from.
type Synonym struct {
	Name string
	// Scale converts the broker config's unit into the topic config's
	// (log.retention.hours is in hours, retention.ms in ms); 0 means the same unit.
	Scale int64
}

// check says what is wrong with a value of the right type, "" for nothing.
type check func(value string) string

// Parse brings a value into its canonical form (no outer space, "true" for
// "TRUE", list elements once and without space). The error names the config
// and what is allowed.
func (d *Definition) Parse(value string) (string, error) {
	canonical, problem := "", "Not a text"
	if utf8.ValidString(value) && !strings.ContainsRune(value, 0) {
		canonical, problem = parseType(d.Type, value)
	}
	if problem == "" && d.check != nil {
		problem = d.check(canonical)
	}
	if problem != "" {
		return "", fmt.Errorf("Invalid value %s for configuration %s: %s", value, d.Name, problem) //nolint:staticcheck // Kafka's wording, shown to users as it is.
	}
	return canonical, nil
}

// parseType returns the canonical form of a value, or what is wrong with it.
func parseType(t kmsg.ConfigType, value string) (canonical, problem string) {
	trimmed := strings.TrimSpace(value)
	bits := map[kmsg.ConfigType]int{kmsg.ConfigTypeShort: 16, kmsg.ConfigTypeInt: 32, kmsg.ConfigTypeLong: 64}[t]
	switch {
	case bits != 0:
		n, err := strconv.ParseInt(trimmed, 10, bits)
		if err != nil {
			return "", "Not a number of type " + t.String()
		}
		return strconv.FormatInt(n, 10), ""
	case t == kmsg.ConfigTypeBoolean:
		if lower := strings.ToLower(trimmed); lower == "true" || lower == "false" {
			return lower, ""
		}
		return "", "Expected value to be either true or false"
	case t == kmsg.ConfigTypeDouble:
		f, err := strconv.ParseFloat(trimmed, 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return "", "Not a number of type DOUBLE"
		}
		return strconv.FormatFloat(f, 'f', -1, 64), ""
	case t == kmsg.ConfigTypeList:
		return strings.Join(SplitList(trimmed), ","), ""
	default:
		return trimmed, ""
	}
}

// SplitList splits a config value of type LIST into its elements, each once,
// in their order, without space around them. The empty string has none.
func SplitList(value string) []string {
	var elements []string
	for e := range strings.SplitSeq(value, ",") {
		if e = strings.TrimSpace(e); e != "" && !slices.Contains(elements, e) {
			elements = append(elements, e)
		}
	}
	return elements
}

func atLeast(lowest int64) check {
	return func(value string) string {
		if n, err := strconv.ParseInt(value, 10, 64); err != nil || n < lowest {
			return "Value must be at least " + strconv.FormatInt(lowest, 10)
		}
		return ""
	}
}

func between(lowest, highest int64) check {
	return func(value string) string {
		n, err := strconv.ParseInt(value, 10, 64)
		switch {
		case err != nil || n < lowest:
			return "Value must be at least " + strconv.FormatInt(lowest, 10)
		case n > highest:
			return "Value must be no more than " + strconv.FormatInt(highest, 10)
		}
		return ""
	}
}

func ratio(value string) string {
	f, err := strconv.ParseFloat(value, 64)
	switch {
	case err != nil || f < 0:
		return "Value must be at least 0"
	case f > 1:
		return "Value must be no more than 1"
	}
	return ""
}

func gzipLevel(value string) string {
	if value != "-1" && between(1, 9)(value) != "" {
		return "Value must be between 1 and 9 or equal to -1"
	}
	return ""
}

func oneOf(allowed ...string) check {
	return func(value string) string {
		if !slices.Contains(allowed, value) {
			return "String must be one of: " + strings.Join(allowed, ", ")
		}
		return ""
	}
}

// eachOf is oneOf for the elements of a list, which may be empty.
func eachOf(allowed ...string) check {
	return func(value string) string {
		for _, e := range SplitList(value) {
			if !slices.Contains(allowed, e) {
				return "String must be one of: " + strings.Join(allowed, ", ")
			}
		}
		return ""
	}
}

// someOf is eachOf for a list that may not be empty.
func someOf(allowed ...string) check {
	each := eachOf(allowed...)
	return func(value string) string {
		if len(SplitList(value)) == 0 {
			return "Configuration can't be empty; it takes some of: " + strings.Join(allowed, ", ")
		}
		return each(value)
	}
}

// throttledReplicas accepts "*" or partition:broker pairs.
func throttledReplicas(value string) string {
	if value == "*" {
		return ""
	}
	for _, e := range SplitList(value) {
		partition, broker, found := strings.Cut(e, ":")
		if !found || atLeast(0)(partition) != "" || atLeast(0)(broker) != "" {
			return "must be the literal '*' or a list of replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],..."
		}
	}
	return ""
}

// byName indexes definitions; the tables are built once and never changed.
func byName(definitions []Definition) map[string]*Definition {
	m := make(map[string]*Definition, len(definitions))
	for i := range definitions {
		m[definitions[i].Name] = &definitions[i]
	}
	return m
}
