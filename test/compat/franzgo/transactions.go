package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// isolated reads a topic of one partition with the isolation level and wants exactly the values.
func isolated(ctx context.Context, topic string, level kgo.IsolationLevel, want ...string) error {
	client, err := newClient(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(level))
	if err != nil {
		return err
	}
	defer client.Close()
	records, err := read(ctx, client, len(want))
	if err != nil {
		return err
	}
	var got []string
	for _, r := range records {
		got = append(got, string(r.Value))
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("read %q, want %q", got, want)
	}
	return nil
}

// inTransaction produces the value in a new transaction of the client, which it ends as told.
func inTransaction(ctx context.Context, client *kgo.Client, topic, value string, end kgo.TransactionEndTry) error {
	if err := client.BeginTransaction(); err != nil {
		return err
	}
	if err := client.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte(value)}).FirstErr(); err != nil {
		return err
	}
	return client.EndTransaction(ctx, end)
}

func transactions(ctx context.Context, name string) error {
	if err := createTopic(ctx, name, 1); err != nil {
		return err
	}
	client, err := newClient(kgo.TransactionalID(name))
	if err != nil {
		return err
	}
	defer client.Close()
	for _, value := range numbers(6) {
		end := kgo.TransactionEndTry(value == "0" || value == "2" || value == "4")
		if err := inTransaction(ctx, client, name, value, end); err != nil {
			return fmt.Errorf("transaction %s: %w", value, err)
		}
	}
	if err := client.BeginTransaction(); err != nil {
		return err
	}
	if err := client.ProduceSync(ctx, &kgo.Record{Topic: name, Value: []byte("6")}).FirstErr(); err != nil {
		return err
	}
	if err := isolated(ctx, name, kgo.ReadCommitted(), "0", "2", "4"); err != nil {
		return fmt.Errorf("committed with a transaction open: %w", err)
	}
	if err := isolated(ctx, name, kgo.ReadUncommitted(), numbers(7)...); err != nil {
		return fmt.Errorf("uncommitted: %w", err)
	}
	if err := client.EndTransaction(ctx, kgo.TryCommit); err != nil {
		return err
	}
	return isolated(ctx, name, kgo.ReadCommitted(), "0", "2", "4", "6")
}

// transactionsOffsets reads and writes with franz-go's GroupTransactSession, which is for that.
func transactionsOffsets(ctx context.Context, name string) error {
	out := name + "-out"
	if err := errors.Join(createTopic(ctx, name, 1), createTopic(ctx, out, 1), produce(ctx, name, 1, numbers(3))); err != nil {
		return err
	}
	for _, end := range []kgo.TransactionEndTry{kgo.TryAbort, kgo.TryCommit} {
		if err := copyOnce(ctx, name, out, end); err != nil {
			return err
		}
	}
	if err := isolated(ctx, out, kgo.ReadCommitted(), numbers(3)...); err != nil {
		return err
	}
	return asAdmin(func(admin *kadm.Client) error {
		fetched, err := admin.FetchOffsets(kadm.RequireStable(ctx), name)
		if o, _ := fetched.Lookup(name, 0); err == nil && (o.Err != nil || o.At != 3) {
			return fmt.Errorf("committed %d, %w, want 3", o.At, o.Err)
		}
		return err
	})
}

// copyOnce reads what the group has not read yet, and copies it in one transaction.
func copyOnce(ctx context.Context, from, to string, end kgo.TransactionEndTry) error {
	session, err := kgo.NewGroupTransactSession(options(kgo.TransactionalID(from), kgo.ConsumerGroup(from), kgo.ConsumeTopics(from),
		kgo.DefaultProduceTopic(to), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	if err != nil {
		return err
	}
	defer session.Close()
	records, err := read(ctx, session, 3)
	if err != nil {
		return err
	}
	if err := session.Begin(); err != nil {
		return err
	}
	for _, r := range records {
		if err := session.ProduceSync(ctx, kgo.SliceRecord(r.Value)).FirstErr(); err != nil {
			return err
		}
	}
	committed, err := session.End(ctx, end)
	if err == nil && committed != bool(end) {
		return fmt.Errorf("committed: %t, want %t", committed, end)
	}
	return err
}

func transactionsFencing(ctx context.Context, name string) error {
	if err := createTopic(ctx, name, 1); err != nil {
		return err
	}
	first, err := newClient(kgo.TransactionalID(name))
	if err != nil {
		return err
	}
	defer first.Close()
	if err := first.BeginTransaction(); err != nil {
		return err
	}
	if err := first.ProduceSync(ctx, &kgo.Record{Topic: name, Value: []byte("by the first")}).FirstErr(); err != nil {
		return err
	}
	second, err := newClient(kgo.TransactionalID(name))
	if err != nil {
		return err
	}
	defer second.Close()
	if err := inTransaction(ctx, second, name, "by the second", kgo.TryCommit); err != nil {
		return err
	}
	err = first.EndTransaction(ctx, kgo.TryCommit)
	if err == nil {
		return errors.New("the first producer committed")
	}
	if !errors.Is(err, kerr.ProducerFenced) && !errors.Is(err, kerr.InvalidProducerEpoch) {
		return fmt.Errorf("the first producer's commit: %w", err)
	}
	return isolated(ctx, name, kgo.ReadCommitted(), "by the second")
}
