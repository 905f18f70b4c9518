package settings

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/wadi-log/wadi/agent"
)

// apply sets the values on config; where says in an error where a setting came from.
func apply(config *agent.Config, raw map[string]any, where func(Setting) string) error {
	for _, setting := range All() {
		value, ok := raw[setting.Name]
		if !ok {
			continue
		}
		if setting.Name == kafkaConfig {
			pairs, err := kafkaConfigs(value)
			if err != nil {
				return fmt.Errorf("%s: %w", where(setting), err)
			}
			config.KafkaConfigs = pairs
			continue
		}
		target := setting.value(config)
		text, err := scalar(value, target.Type())
		if err == nil {
			err = target.Set(text)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", where(setting), err)
		}
	}
	return nil
}

// scalar is a YAML value as text. Text settings must be text in YAML too: 010
// would be 8, and 1e3 would be 1000, before we see them.
func scalar(value any, kind string) (string, error) {
	numeric := kind == "number" || kind == "size" || kind == "duration"
	switch v := value.(type) {
	case string:
		return v, nil
	case int:
		if numeric {
			return strconv.Itoa(v), nil
		}
	case float64:
		if numeric {
			return strconv.FormatFloat(v, 'f', -1, 64), nil
		}
	case map[string]any, []any:
		return "", errors.New("want one value, not a list or a map")
	}
	if numeric {
		return "", errors.New("want a number, or text in quotes")
	}
	return "", errors.New("want text; put it in quotes")
}

// kafkaConfigs turns a map from any source into Kafka's names and values.
func kafkaConfigs(value any) (map[string]string, error) {
	m, ok := value.(map[string]any)
	if !ok {
		return nil, errors.New("want a map of Kafka's config names, as in num.partitions: 3")
	}
	pairs := make(map[string]string, len(m))
	for _, key := range slices.Sorted(maps.Keys(m)) {
		switch v := m[key].(type) {
		case string:
			pairs[key] = v
		case int:
			pairs[key] = strconv.Itoa(v)
		case bool:
			pairs[key] = strconv.FormatBool(v)
		default:
			return nil, fmt.Errorf("%s: want one value; write the name with its dots, and put other than numbers and true or false in quotes", key)
		}
	}
	return pairs, nil
}
