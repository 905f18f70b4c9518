package e2e

import (
	"os"
	"testing"

	"github.com/wadi-log/wadi/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// setup is one way to run Wadi that we promise works the same.
type setup struct {
	name    string
	options func(t *testing.T) harness.AgentOptions
}

// setups are the embedded default, and Postgres with MinIO through both of our clients for it.
var setups = []setup{
	{"embedded", func(*testing.T) harness.AgentOptions { return harness.AgentOptions{} }},
	{"postgres+minio", func(t *testing.T) harness.AgentOptions {
		m := harness.MinIO(t)
		return harness.AgentOptions{Metadata: harness.Postgres(t), Objects: m.MinioURL(), AccessKey: m.AccessKey, SecretKey: m.SecretKey}
	}},
	{"postgres+s3", func(t *testing.T) harness.AgentOptions {
		m := harness.MinIO(t)
		return harness.AgentOptions{Metadata: harness.Postgres(t), Objects: m.S3URL(), AccessKey: m.AccessKey, SecretKey: m.SecretKey}
	}},
}

// eachSetup runs the test on all set-ups.
func eachSetup(t *testing.T, test func(t *testing.T, options harness.AgentOptions)) {
	for _, s := range setups {
		t.Run(s.name, func(t *testing.T) { test(t, s.options(t)) })
	}
}
