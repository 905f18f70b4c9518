package settings

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	yamlparser "github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"github.com/wadi-log/wadi/agent"
	"github.com/wadi-log/wadi/cmd/wadi/internal/flagvalue"
)

// delimiter separates levels of koanf's keys. Kafka's config names hold dots,
// so koanf's usual one would cut them apart.
const delimiter = "\x00"

// Load reads the settings. flags are those of Register after parsing; environ is
// like os.Environ. Values from the environment that are empty count as not
// set. Variables that look like misspelt settings may as well belong to somebody
// else (Kubernetes sets WADI_PORT for a service named wadi), so they are no errors.
//
// Errors name the source and the setting, and never the value of a secret.
func Load(flags *pflag.FlagSet, environ []string) (config agent.Config, odd []Misspelt, err error) {
	merged := koanf.New(delimiter)

	path := lookup(environ, ConfigEnv)
	if flag := flags.Lookup(ConfigFlag); flag != nil && flag.Changed {
		path = flag.Value.String()
	}
	if path != "" {
		layer, err := loadFile(path)
		if err != nil {
			return config, nil, err
		}
		if err := merged.Merge(layer); err != nil {
			return config, nil, fmt.Errorf("merging %s: %w", path, err)
		}
	}

	layer, err := loadEnv(environ)
	if err != nil {
		return config, nil, err
	}
	if err := merged.Merge(layer); err != nil {
		return config, nil, fmt.Errorf("merging the environment: %w", err)
	}

	provider := posflag.ProviderWithFlag(flags, delimiter, nil, flagValue)
	if err := merged.Load(provider, nil); err != nil {
		return config, nil, fmt.Errorf("reading the flags: %w", err)
	}

	config = agent.DefaultConfig()
	if err := apply(&config, merged.Raw(), func(s Setting) string { return "--" + s.Name }); err != nil {
		return config, nil, err
	}
	return config, misspelt(environ), nil
}

// loadFile reads the YAML file and checks it on its own, so that errors name it.
func loadFile(path string) (*koanf.Koanf, error) {
	layer := koanf.New(delimiter)
	if err := layer.Load(file.Provider(path), yamlparser.Parser()); err != nil {
		var pathError *fs.PathError
		var typeError *yaml.TypeError
		switch {
		case errors.As(err, &pathError):
			return nil, fmt.Errorf("--%s %s: %w; name a file that can be read", ConfigFlag, path, pathError.Err)
		case errors.As(err, &typeError):
			// The parser's text repeats what it found, which may be a secret.
			return nil, fmt.Errorf("%s: want a map of settings, each once, as in kafka-listen: localhost:9092", path)
		default:
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	raw := layer.Raw()
	known := names()
	for _, key := range slices.Sorted(maps.Keys(raw)) {
		if slices.Contains(known, key) {
			if raw[key] == nil {
				layer.Delete(key) // "zone:" without a value is not set
			}
			continue
		}
		if near := nearest(key, known); near != "" {
			return nil, fmt.Errorf("%s: unknown setting %q; did you mean %q?", path, key, near)
		}
		return nil, fmt.Errorf("%s: unknown setting %q; see wadi agent --help for those there are", path, key)
	}
	scratch := agent.DefaultConfig()
	if err := apply(&scratch, layer.Raw(), func(s Setting) string { return path + ": " + s.Name }); err != nil {
		return nil, err
	}
	return layer, nil
}

// loadEnv reads the environment and checks it on its own, so that errors name the variable.
func loadEnv(environ []string) (*koanf.Koanf, error) {
	byEnv := map[string]Setting{}
	for _, setting := range All() {
		byEnv[setting.Env()] = setting
	}
	var bad error
	provider := env.Provider(delimiter, env.Opt{
		Prefix: envPrefix,
		TransformFunc: func(variable, value string) (string, any) {
			setting, ok := byEnv[variable]
			if !ok || value == "" {
				return "", nil
			}
			if setting.Name != kafkaConfig {
				return setting.Name, value
			}
			pairs, err := flagvalue.ParseKeyValues(value)
			if err != nil {
				bad = fmt.Errorf("%s: %w", variable, err)
			}
			return setting.Name, mapOfAny(pairs)
		},
		EnvironFunc: func() []string { return environ },
	})
	layer := koanf.New(delimiter)
	if err := layer.Load(provider, nil); err != nil {
		return nil, fmt.Errorf("reading the environment: %w", err)
	}
	if bad != nil {
		return nil, bad
	}
	scratch := agent.DefaultConfig()
	return layer, apply(&scratch, layer.Raw(), Setting.Env)
}

// flagValue hands a flag to koanf as text, or the map that it is.
func flagValue(flag *pflag.Flag) (string, any) {
	if flag.Name == ConfigFlag || !slices.Contains(names(), flag.Name) {
		return "", nil
	}
	if flag.Name != kafkaConfig || !flag.Changed {
		return flag.Name, flag.Value.String()
	}
	pairs, err := flagvalue.ParseKeyValues(flag.Value.String())
	if err != nil {
		panic("a parsed flag does not parse again: " + err.Error()) // String prints what Set reads
	}
	return flag.Name, mapOfAny(pairs)
}

func mapOfAny(pairs map[string]string) map[string]any {
	m := make(map[string]any, len(pairs))
	for key, value := range pairs {
		m[key] = value
	}
	return m
}

func lookup(environ []string, name string) string {
	// The last one wins, as it does for a process that is started with both.
	for _, pair := range slices.Backward(environ) {
		if value, ok := strings.CutPrefix(pair, name+"="); ok {
			return value
		}
	}
	return ""
}

func names() []string {
	var names []string
	for _, setting := range All() {
		names = append(names, setting.Name)
	}
	return names
}
