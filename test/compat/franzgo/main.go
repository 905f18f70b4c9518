// Command franzgo tries franz-go, the Go client that Wadi itself is built with: the control.
//
// It is called with the names of features to run, all without any, or with
// --list; see package compat for what it prints.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const partitions = 6

// feature fails when it does not work. It may use name for topics and groups.
type feature struct {
	name string
	try  func(ctx context.Context, name string) error
}

var features = []feature{
	{"produce-consume", produceConsume},
	{"codecs", codecs},
	{"idempotence", idempotence},
	{"transactions", transactions},
	{"transactions-offsets", transactionsOffsets},
	{"transactions-fencing", transactionsFencing},
	{"pause-seek", pauseSeek},
	{"topics", topics},
	{"configs", configs},
	{"records", records},
	{"groups", groups},
	{"offsets", offsets},
	{"group-rebalance", with(rebalance, kgo.Balancers(kgo.RangeBalancer()))},
	{"group-crash", with(crash)},
	{"group-commit", with(commit)},
	{"group-static", with(static)},
	{"group-cooperative", with(cooperative)},
	{"group-regex", with(regex)},
	{"consumer-rebalance", with(cooperative, kgo.ServerSideBalancer())},
	{"consumer-crash", with(crash, kgo.ServerSideBalancer())},
	{"consumer-commit", with(commit, kgo.ServerSideBalancer())},
	// No consumer-static: franz-go 1.22 leaves without its instance ID, which Kafka
	// and Wadi refuse, so that the member is missed like one that crashed.
	{"consumer-regex", with(regex, kgo.ServerSideBalancer())},
}

func with(try func(ctx context.Context, name string, options ...kgo.Opt) error, options ...kgo.Opt) func(context.Context, string) error {
	return func(ctx context.Context, name string) error { return try(ctx, name, options...) }
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	wanted := os.Args[1:]
	switch {
	case len(wanted) > 0 && wanted[0] == "--list":
		for _, f := range features {
			fmt.Println(f.name)
		}
		return
	case len(wanted) > 0 && wanted[0] == "--member":
		memberToKill(ctx, wanted[1], wanted[2:]...)
		return
	}
	for _, f := range features {
		if len(wanted) > 0 && !slices.Contains(wanted, f.name) {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
		err := f.try(ctx, "franzgo-"+f.name+"-"+os.Getenv("COMPAT_RUN"))
		cancel()
		if err != nil {
			fmt.Printf("FAIL %s: %s\n", f.name, strings.Join(strings.Fields(err.Error()), " "))
		} else {
			fmt.Printf("ok %s\n", f.name)
		}
	}
}

// newClient connects to the cluster.
func newClient(more ...kgo.Opt) (*kgo.Client, error) { return kgo.NewClient(options(more...)...) }

// options are those of all our clients, and more.
func options(more ...kgo.Opt) []kgo.Opt {
	seeds := strings.Split(os.Getenv("COMPAT_BOOTSTRAP"), ",")
	return append([]kgo.Opt{kgo.SeedBrokers(seeds...), kgo.MetadataMaxAge(time.Second), kgo.MetadataMinAge(100 * time.Millisecond)}, more...)
}

// poller is a client, or what is built on one.
type poller interface {
	PollFetches(ctx context.Context) kgo.Fetches
}

// asAdmin runs f with an admin client.
func asAdmin(f func(*kadm.Client) error) error {
	client, err := newClient()
	if err != nil {
		return err
	}
	defer client.Close()
	return f(kadm.NewClient(client))
}

func createTopic(ctx context.Context, name string, partitions int32) error {
	return asAdmin(func(admin *kadm.Client) error {
		_, err := admin.CreateTopic(ctx, partitions, -1, nil, name)
		return err
	})
}

// produce produces the values round the partitions of the topic.
func produce(ctx context.Context, topic string, partitions int, values []string, options ...kgo.Opt) error {
	client, err := newClient(append([]kgo.Opt{kgo.RecordPartitioner(kgo.ManualPartitioner())}, options...)...)
	if err != nil {
		return err
	}
	defer client.Close()
	var records []*kgo.Record
	for i, value := range values {
		records = append(records, &kgo.Record{Topic: topic, Partition: int32(i % partitions), Value: []byte(value)})
	}
	return client.ProduceSync(ctx, records...).FirstErr()
}

// read reads count records of the client's topics.
func read(ctx context.Context, client poller, count int) ([]*kgo.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var records []*kgo.Record
	for len(records) < count {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return nil, fmt.Errorf("after %d of %d records: %w", len(records), count, err)
		}
		records = append(records, fetches.Records()...)
	}
	if len(records) > count {
		return nil, fmt.Errorf("%d records, want %d", len(records), count)
	}
	return records, nil
}

func numbers(count int) []string {
	values := make([]string, count)
	for i := range values {
		values[i] = fmt.Sprint(i)
	}
	return values
}

// eventually waits until the condition holds.
func eventually(ctx context.Context, what string, holds func() (bool, error)) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(time.Minute)
	for {
		held, err := holds()
		if held || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-limit:
			return fmt.Errorf("%s: not within a minute", what)
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, ctx.Err())
		}
	}
}
