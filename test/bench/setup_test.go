package bench

import (
	"context"
	"os"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/dir"
	"github.com/wadi-log/wadi/objstore/minio"
	"github.com/wadi-log/wadi/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// place is a pair of stores to measure on.
type place struct {
	name string
	// open returns how to run an agent there, and the same bucket to use without one.
	open func(b *testing.B) (harness.AgentOptions, objstore.Bucket)
}

var places = []place{
	{"file", func(b *testing.B) (harness.AgentOptions, objstore.Bucket) {
		folder := b.TempDir()
		bucket, err := dir.Open(b.Context(), folder)
		if err != nil {
			b.Fatal(err)
		}
		return harness.AgentOptions{Objects: "file:" + folder}, bucket
	}},
	{"minio", func(b *testing.B) (harness.AgentOptions, objstore.Bucket) {
		m := harness.MinIO(b)
		config, err := minio.ParseURL(m.MinioURL())
		if err != nil {
			b.Fatal(err)
		}
		config.AccessKey, config.SecretKey = m.AccessKey, m.SecretKey
		bucket, err := minio.Open(b.Context(), config)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = bucket.Close() })
		return harness.AgentOptions{Metadata: harness.Postgres(b), Objects: m.MinioURL(),
			AccessKey: m.AccessKey, SecretKey: m.SecretKey}, bucket
	}},
}

func createTopic(b *testing.B, bootstrap, name string, partitions int32) {
	b.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap))
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).CreateTopic(context.WithoutCancel(b.Context()), partitions, 1, nil, name); err != nil {
		b.Fatal(err)
	}
}
