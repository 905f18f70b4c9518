package bench

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/wadi-log/wadi/test/harness"
)

const (
	// endings are measured for each number of partitions, commits by Postgres as many.
	endings = 1000
	// transactFor is how long small transactions are counted.
	transactFor = 6 * time.Second
)

// BenchmarkEndTxn is one producer that writes a record to each of some partitions and then
// waits for the end of its transaction. Postgres' own time is that of an update of one row, which
// commits by itself, on the same server, one after each end. An end must ask nothing of the object store.
func BenchmarkEndTxn(b *testing.B) {
	for _, partitions := range []int32{1, 10, 100} {
		b.Run(fmt.Sprintf("partitions=%d", partitions), func(b *testing.B) {
			options, _ := places[1].open(b)
			a := harness.Agent(b, options)
			createTopic(b, a.Bootstrap(), "ends", partitions)
			client := transactional(b, a.Bootstrap(), "ends")
			update := oneRowUpdate(b, options.Metadata)
			var ends, commits []time.Duration
			asked := 0.0
			for range endings {
				begin(b, client)
				for p := range partitions {
					client.Produce(b.Context(), &kgo.Record{Topic: "ends", Partition: p, Value: []byte("x")}, nil)
				}
				if err := client.Flush(b.Context()); err != nil {
					b.Fatal(err)
				}
				before := a.Metrics()["wadi_objstore_requests_total"]
				start := time.Now()
				if err := client.EndTransaction(b.Context(), kgo.TryCommit); err != nil {
					b.Fatal(err)
				}
				ends = append(ends, time.Since(start))
				asked += a.Metrics()["wadi_objstore_requests_total"] - before
				commits = append(commits, update())
			}
			if asked != 0 {
				b.Errorf("%v requests to the object store while transactions ended", asked)
			}
			b.ReportMetric(quantile(ends, 0.5), "p50-ms")
			b.ReportMetric(quantile(ends, 0.99), "p99-ms")
			b.ReportMetric(quantile(commits, 0.5), "postgres-p50-ms")
			b.ReportMetric(quantile(commits, 0.99), "postgres-p99-ms")
			b.ReportMetric(quantile(ends, 0.5)/quantile(commits, 0.5), "p50/postgres")
			b.ReportMetric(quantile(ends, 0.99)/quantile(commits, 0.99), "p99/postgres")
			b.ReportMetric(asked, "object-requests")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkTransactions is producers that each write a record to one partition in a
// transaction, and another one when that has ended.
func BenchmarkTransactions(b *testing.B) {
	for _, producers := range []int{1, 10, 50} {
		b.Run(fmt.Sprintf("producers=%d", producers), func(b *testing.B) {
			options, _ := places[1].open(b)
			a := harness.Agent(b, options)
			createTopic(b, a.Bootstrap(), "small", int32(producers))
			waits := make([][]time.Duration, producers)
			clients := make([]*kgo.Client, producers)
			for i := range clients {
				clients[i] = transactional(b, a.Bootstrap(), fmt.Sprint("small-", i))
				if _, err := transact(b.Context(), clients[i], int32(i)); err != nil { // now it is connected
					b.Fatal(err)
				}
			}
			ctx, cancel := context.WithTimeout(b.Context(), transactFor)
			defer cancel()
			start := time.Now()
			var running sync.WaitGroup
			for i, client := range clients {
				running.Go(func() {
					for ctx.Err() == nil {
						wait, err := transact(b.Context(), client, int32(i))
						if err != nil {
							b.Error(err)
							return
						}
						waits[i] = append(waits[i], wait)
					}
				})
			}
			running.Wait()
			took := time.Since(start)
			all := slices.Concat(waits...)
			b.ReportMetric(float64(len(all))/took.Seconds(), "transactions/s")
			b.ReportMetric(quantile(all, 0.5), "p50-ms")
			b.ReportMetric(quantile(all, 0.99), "p99-ms")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// transactional returns a client with a transactional ID, which is initialised.
func transactional(b *testing.B, bootstrap, id string) *kgo.Client {
	b.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.TransactionalID(id), kgo.ProducerLinger(0),
		kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(client.Close)
	if _, _, err := client.ProducerID(b.Context()); err != nil {
		b.Fatal(err)
	}
	return client
}

func begin(b *testing.B, client *kgo.Client) {
	b.Helper()
	if err := client.BeginTransaction(); err != nil {
		b.Fatal(err)
	}
}

// transact is one small transaction, from its begin to its end.
func transact(ctx context.Context, client *kgo.Client, partition int32) (time.Duration, error) {
	start := time.Now()
	if err := client.BeginTransaction(); err != nil {
		return 0, err
	}
	if err := client.ProduceSync(ctx, &kgo.Record{Topic: "small", Partition: partition, Value: []byte("x")}).FirstErr(); err != nil {
		return 0, err
	}
	err := client.EndTransaction(ctx, kgo.TryCommit)
	return time.Since(start), err
}

// oneRowUpdate returns a function that updates one row and commits, and says how long that took.
func oneRowUpdate(b *testing.B, url string) func() time.Duration {
	b.Helper()
	conn, err := pgx.Connect(b.Context(), url)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close(context.WithoutCancel(b.Context())) })
	exec := func(statement string) {
		if _, err := conn.Exec(b.Context(), statement); err != nil {
			b.Fatal(err)
		}
	}
	exec(`CREATE TABLE bare_commit (id int PRIMARY KEY, n int NOT NULL)`)
	exec(`INSERT INTO bare_commit VALUES (1, 0)`)
	return func() time.Duration {
		start := time.Now()
		exec(`UPDATE bare_commit SET n = n + 1 WHERE id = 1`)
		return time.Since(start)
	}
}
