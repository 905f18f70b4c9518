package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Paces and sizes of all worlds; the other languages have the same.
const (
	// fillerBytes is how long the rest of a value is at most.
	fillerBytes = 200
	// stayAtLeast and stayAtMost bound how long the second reader is a member, before the next one takes its place.
	stayAtLeast, stayAtMost = 5 * time.Second, 20 * time.Second
	// transactionTimeout is longer than the 45 s after which a group gives up a member that nobody is any more, and goes on. Java and
	// librdkafka have it by default.
	transactionTimeout = time.Minute
	// endTimeout is for the end of a transaction, or what comes before it.
	endTimeout = 2 * time.Minute
)

// GoClients are those of a world in franz-go.
type GoClients struct {
	bootstrap  string
	world      World
	partitions int32
	perSecond  int
	journal    *Journal

	producing, working         sync.WaitGroup
	stopProducing, stopWorking context.CancelFunc
}

// StartGoClients lets the clients of a world loose: its producer writes so many records a second.
func StartGoClients(ctx context.Context, bootstrap string, world World, partitions int32, perSecond int, journal *Journal) *GoClients {
	g := &GoClients{bootstrap: bootstrap, world: world, partitions: partitions, perSecond: perSecond, journal: journal}
	var producing, working context.Context
	producing, g.stopProducing = context.WithCancel(context.WithoutCancel(ctx))
	working, g.stopWorking = context.WithCancel(context.WithoutCancel(ctx))
	g.producing.Go(func() { g.produce(producing, g.name("producer")) })
	g.working.Go(func() { g.read(working, g.name("reader-0")) })
	g.working.Go(func() {
		for n := 1; working.Err() == nil; n++ {
			stay, cancel := context.WithTimeout(working, stayAtLeast+rand.N(stayAtMost-stayAtLeast))
			g.read(stay, g.name(fmt.Sprint("reader-", n)))
			cancel()
		}
	})
	for i := range 2 {
		name := g.name(fmt.Sprint("transformer-", i))
		g.working.Go(func() {
			for working.Err() == nil {
				g.transform(working, name)
			}
		})
	}
	return g
}

func (g *GoClients) name(of string) string { return g.world.Name + "/" + of }

// Stop ends the producer, and returns when everything is acknowledged.
func (g *GoClients) Stop() {
	g.stopProducing()
	g.producing.Wait()
}

// Close ends everything.
func (g *GoClients) Close() {
	g.Stop()
	g.stopWorking()
	g.working.Wait()
}

func (g *GoClients) options(who string) []kgo.Opt {
	return connect(g.bootstrap, strings.ReplaceAll(who, "/", "-"))
}

// connect are the options of a client of that ID, for all that is behind a balancer.
func connect(bootstrap, clientID string) []kgo.Opt {
	return []kgo.Opt{
		kgo.SeedBrokers(bootstrap), kgo.ClientID(clientID),
		// An agent that dies while it greets a client doesn't ask for TLS. A member that took it so would come again as another one,
		// and its group wait for the first.
		kgo.AlwaysRetryEOF(),
	}
}

// met notes an error that a client of ours gave its user.
func (g *GoClients) met(who, doing string, err error) {
	kind := Unexpected
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, kgo.ErrClientClosed):
		return // by ourselves
	case kerr.IsRetriable(err), kgo.IsRetryableBrokerErr(err):
		kind = Retriable
	case errors.Is(err, kerr.TransactionAbortable), errors.Is(err, kerr.OperationNotAttempted), errors.Is(err, kerr.RebalanceInProgress),
		errors.Is(err, kerr.IllegalGeneration), errors.Is(err, kerr.StaleMemberEpoch):
		kind = Abortable
	}
	g.journal.Note(Event{Kind: kind, Who: who, Text: doing + ": " + errorName(err)})
}

// errorName is short, and the same for the same thing.
func errorName(err error) string {
	if known, ok := errors.AsType[*kerr.Error](err); ok {
		return known.Message
	}
	for next := err; next != nil; next = errors.Unwrap(next) {
		err = next
	}
	return err.Error()
}

// produce writes until ctx ends, and returns when everything is acknowledged.
func (g *GoClients) produce(ctx context.Context, who string) {
	client, err := kgo.NewClient(append(g.options(who), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		g.met(who, "start", err)
		return
	}
	defer client.Close()
	tick := time.NewTicker(time.Second / time.Duration(g.perSecond))
	defer tick.Stop()
	n := int64(0)
	for ; ctx.Err() == nil; n++ {
		number := n
		record := &kgo.Record{Topic: g.world.Input(), Partition: rand.Int32N(g.partitions), Value: []byte(value(who, n, strings.Repeat("x", rand.IntN(fillerBytes))))}
		client.Produce(context.WithoutCancel(ctx), record, func(r *kgo.Record, err error) {
			if err != nil {
				g.met(who, "produce", err)
				g.journal.Note(Event{Kind: Failed, Who: who, Number: number})
				return
			}
			g.journal.Note(Event{Kind: Acked, Who: who, Number: number, Partition: r.Partition, Offset: r.Offset})
		})
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	if err := client.Flush(flush); err != nil {
		g.met(who, "flush", err)
	}
	g.journal.Note(Event{Kind: Sent, Who: who, Number: n})
}

// read is a member of the readers' group until ctx ends.
func (g *GoClients) read(ctx context.Context, who string) {
	note := func(kind Kind) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, assignment map[string][]int32) {
			for topic, partitions := range assignment {
				for _, p := range partitions {
					g.journal.Note(Event{Kind: kind, Who: who, Topic: topic, Partition: p})
				}
			}
		}
	}
	client, err := kgo.NewClient(append(g.options(who), kgo.ConsumerGroup(g.world.Name+"-readers"), kgo.ConsumeTopics(g.world.Topics()...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.DisableAutoCommit(),
		// What was polled must not be somebody else's before it is noted.
		kgo.BlockRebalanceOnPoll(), kgo.OnPartitionsAssigned(note(Assigned)), kgo.OnPartitionsRevoked(note(Revoked)), kgo.OnPartitionsLost(note(Revoked)))...)
	if err != nil {
		g.met(who, "start", err)
		return
	}
	defer client.CloseAllowingRebalance()
	for ctx.Err() == nil {
		fetches := client.PollFetches(ctx)
		fetches.EachError(func(_ string, _ int32, err error) { g.met(who, "fetch", err) })
		fetches.EachRecord(func(r *kgo.Record) {
			g.journal.Note(Event{Kind: Got, Who: who, Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Text: string(r.Value)})
		})
		// Not each time, so that a commit is of several fetches, and some records are read again by the next member.
		if fetches.NumRecords() > 0 && rand.IntN(4) > 0 {
			g.commit(ctx, client, who)
		}
		client.AllowRebalance()
	}
}

// commit commits how far the member has read.
func (g *GoClients) commit(ctx context.Context, client *kgo.Client, who string) {
	offsets := client.UncommittedOffsets()
	var failed error
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	client.CommitOffsetsSync(ctx, offsets, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
		if failed = err; err != nil {
			return
		}
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					failed = err
					continue
				}
				g.journal.Note(Event{Kind: Committed, Who: who, Topic: t.Topic, Partition: p.Partition, Offset: offsets[t.Topic][p.Partition].Offset})
			}
		}
	})
	if failed != nil {
		g.met(who, "commit", failed)
	}
}

// transform is one client that copies the input to the output, until ctx ends or it can't go on.
func (g *GoClients) transform(ctx context.Context, who string) {
	session, err := kgo.NewGroupTransactSession(append(g.options(who), kgo.TransactionalID(strings.ReplaceAll(who, "/", "-")),
		kgo.TransactionTimeout(transactionTimeout), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ConsumerGroup(g.world.Name+"-transformers"), kgo.ConsumeTopics(g.world.Input()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))...)
	if err != nil {
		g.met(who, "start", err)
		return
	}
	defer session.Close()
	for ctx.Err() == nil {
		fetches := session.PollRecords(ctx, 50)
		fetches.EachError(func(_ string, _ int32, err error) { g.met(who, "fetch", err) })
		if fetches.NumRecords() == 0 {
			continue
		}
		if err := session.Begin(); err != nil {
			g.met(who, "begin", err)
			return
		}
		commit := rand.IntN(10) > 0
		fetches.EachRecord(func(r *kgo.Record) {
			session.Produce(context.WithoutCancel(ctx), &kgo.Record{Topic: g.world.Output(), Partition: r.Partition, Value: r.Value}, func(_ *kgo.Record, err error) {
				if err != nil && !errors.Is(err, kgo.ErrAborting) {
					g.met(who, "produce in a transaction", err)
				}
			})
		})
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
		committed, err := session.End(end, kgo.TransactionEndTry(commit))
		cancel()
		if err != nil {
			// It may be committed or not. The next client begins at what the group has committed.
			g.met(who, "end", err)
			return
		}
		g.journal.Note(Event{Kind: Ended, Who: who, Text: map[bool]string{true: "commit", false: "abort"}[committed]})
	}
}
