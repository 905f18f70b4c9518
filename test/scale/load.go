package scale

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Config says what is offered.
type Config struct {
	// Bootstrap are the addresses of agents.
	Bootstrap  []string
	Topic      string
	Partitions int32
	// Producers and Consumers are numbers of clients. Each consumer reads its part of the partitions.
	Producers, Consumers int
	// Rate is the bytes of values a second, of all producers together, and ValueBytes the size of each.
	Rate, ValueBytes int
	// Patience is how long the last records may take, to be acknowledged and to be read.
	Patience time.Duration
}

// DefaultConfig is 10 MB/s of 1 KiB records from 32 producers to 1,000 partitions.
func DefaultConfig() Config {
	return Config{Topic: "scale", Partitions: 1000, Producers: 32, Consumers: 4, Rate: 10_000_000, ValueBytes: 1024, Patience: time.Minute}
}

// Load is a load under way. Its methods are for one goroutine.
type Load struct {
	config  Config
	began   time.Time
	stop    context.CancelFunc
	writers sync.WaitGroup
	readers sync.WaitGroup
	clients []*kgo.Client
	acked   atomic.Int64
	read    atomic.Int64
	// next is the offset that is to be read next, by partition; each is for its consumer.
	next []int64

	mu       sync.Mutex
	problems []error
	latest   Waits // since the last call of Waits
}

// Waits are how long records took.
type Waits struct {
	// Acked are from when a record was given to the producer to its acknowledgement, Read to when a
	// consumer got it.
	Acked, Read []time.Duration
}

// headBytes of a value are when it was sent.
const headBytes = 8

// Start creates the topic and begins. ctx bounds Start alone; Close ends what it began.
func Start(ctx context.Context, config Config) (_ *Load, err error) {
	if config.ValueBytes < headBytes {
		return nil, fmt.Errorf("values of %d bytes have no room for the time, which takes %d", config.ValueBytes, headBytes)
	}
	l := &Load{config: config, began: time.Now(), stop: func() {}, next: make([]int64, config.Partitions)}
	defer func() {
		if err != nil {
			l.Close()
		}
	}()
	admin, err := l.client("scale-admin")
	if err != nil {
		return nil, err
	}
	if _, err := kadm.NewClient(admin).CreateTopic(ctx, config.Partitions, 1, nil, config.Topic); err != nil {
		return nil, fmt.Errorf("create topic %s: %w", config.Topic, err)
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.stop = stop
	for i := range config.Consumers {
		from := map[int32]kgo.Offset{}
		for p := int32(i); p < config.Partitions; p += int32(config.Consumers) {
			from[p] = kgo.NewOffset().At(0)
		}
		consumer, err := l.client(fmt.Sprint("scale-consumer-", i), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{config.Topic: from}),
			kgo.ConsumeResetOffset(kgo.NoResetOffset()), kgo.FetchMaxWait(500*time.Millisecond))
		if err != nil {
			return nil, err
		}
		l.readers.Go(func() { l.consume(consumer) })
	}
	for i := range config.Producers {
		producer, err := l.client(fmt.Sprint("scale-producer-", i), kgo.RecordPartitioner(kgo.ManualPartitioner()),
			kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.RecordDeliveryTimeout(config.Patience))
		if err != nil {
			return nil, err
		}
		l.writers.Go(func() { l.produce(background, producer, rand.New(rand.NewPCG(1, uint64(i)))) })
	}
	return l, nil
}

func (l *Load) client(id string, options ...kgo.Opt) (*kgo.Client, error) {
	client, err := kgo.NewClient(append(options, kgo.SeedBrokers(l.config.Bootstrap...), kgo.ClientID(id))...)
	if err == nil {
		l.clients = append(l.clients, client)
	}
	return client, err
}

// pace is how often a producer catches up with its rate.
const pace = 20 * time.Millisecond

// produce writes until ctx ends, and returns when everything is acknowledged.
func (l *Load) produce(ctx context.Context, client *kgo.Client, random *rand.Rand) {
	// Values don't compress, and are cut from anywhere in one that is twice as long.
	pool := make([]byte, 2*l.config.ValueBytes)
	for i := range pool {
		pool[i] = byte(random.Uint32())
	}
	perSecond := float64(l.config.Rate) / float64(l.config.ValueBytes*l.config.Producers)
	tick := time.NewTicker(pace)
	defer tick.Stop()
	start := time.Now()
	for sent := 0; ; {
		select {
		case <-ctx.Done():
			flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.config.Patience)
			defer cancel()
			if err := client.Flush(flush); err != nil {
				l.fail(fmt.Errorf("the last records are not acknowledged within %v: %w", l.config.Patience, err))
			}
			return
		case <-tick.C:
		}
		for ; float64(sent) < time.Since(start).Seconds()*perSecond; sent++ {
			value := slices.Clone(pool[random.IntN(l.config.ValueBytes):][:l.config.ValueBytes])
			at := time.Since(l.began)
			binary.BigEndian.PutUint64(value, uint64(at))
			record := &kgo.Record{Topic: l.config.Topic, Partition: random.Int32N(l.config.Partitions), Value: value}
			client.Produce(context.WithoutCancel(ctx), record, func(_ *kgo.Record, err error) {
				switch {
				case errors.Is(err, kgo.ErrClientClosed): // by Close, of a load that was given up
				case err != nil:
					l.fail(fmt.Errorf("a record was not acknowledged: %w", err))
				default:
					// Counted last: who sees the count finds the wait.
					l.waited(func(w *Waits) { w.Acked = append(w.Acked, time.Since(l.began)-at) })
					l.acked.Add(1)
				}
			})
		}
	}
}

// consume reads until the client is closed.
func (l *Load) consume(client *kgo.Client) {
	for {
		fetches := client.PollFetches(context.Background())
		if fetches.IsClientClosed() {
			return
		}
		fetches.EachError(func(topic string, partition int32, err error) {
			l.fail(fmt.Errorf("fetch of %s/%d: %w", topic, partition, err))
		})
		now := time.Since(l.began)
		var waits []time.Duration
		fetches.EachRecord(func(r *kgo.Record) {
			switch {
			case r.Offset != l.next[r.Partition]:
				l.fail(fmt.Errorf("partition %d: offset %d came after %d", r.Partition, r.Offset, l.next[r.Partition]-1))
			case len(r.Value) != l.config.ValueBytes:
				l.fail(fmt.Errorf("partition %d: a value of %d bytes at offset %d", r.Partition, len(r.Value), r.Offset))
			default:
				waits = append(waits, now-time.Duration(binary.BigEndian.Uint64(r.Value)))
			}
			l.next[r.Partition] = r.Offset + 1
		})
		l.waited(func(w *Waits) { w.Read = append(w.Read, waits...) })
		l.read.Add(int64(len(waits)))
	}
}

func (l *Load) waited(note func(*Waits)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	note(&l.latest)
}

// Waits returns how long the records took that came since it was called last.
func (l *Load) Waits() Waits {
	l.mu.Lock()
	defer l.mu.Unlock()
	latest := l.latest
	l.latest = Waits{}
	return latest
}

// Acked returns the number of records that were acknowledged so far.
func (l *Load) Acked() int64 { return l.acked.Load() }

// Finish ends the producers and returns when all that they wrote is read, once and in order; the error says what
// was wrong at any time.
func (l *Load) Finish(ctx context.Context) error {
	l.stop()
	l.writers.Wait()
	ctx, cancel := context.WithTimeout(ctx, l.config.Patience)
	defer cancel()
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for l.read.Load() < l.acked.Load() && ctx.Err() == nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	if read, acked := l.read.Load(), l.acked.Load(); read != acked {
		l.fail(fmt.Errorf("%d records were acknowledged, and %d read", acked, read))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(l.problems...)
}

// Close ends everything.
func (l *Load) Close() {
	l.stop()
	for _, client := range l.clients {
		client.Close()
	}
	l.writers.Wait()
	l.readers.Wait()
}

// maxProblems is the number of problems that are kept: one fault shows in many records.
const maxProblems = 20

func (l *Load) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.problems) < maxProblems {
		l.problems = append(l.problems, err)
	}
}
