package txncheck

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// versions are those that writers take turns with: the newest, with transaction
// version 2 (KIP-890) where the cluster has it, and older ones with version 1.
var versions = []*kversion.Versions{nil, kversion.V3_8_0(), nil, kversion.V2_4_0()}

var codecs = []kgo.CompressionCodec{kgo.SnappyCompression(), kgo.NoCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()}

// writer is a transactional ID with its producers, one after the other.
type writer struct {
	run    *Run
	number int
	id     string
	// open are the transactions of its present producer and of former ones
	// that nobody has fenced yet.
	open []int32
	// strays is until when an InitProducerId that was never answered may fence the
	// present producer.
	strays Moment
	// scripts and lives count transactions and producers.
	scripts, lives int
	haunting       sync.WaitGroup
}

// producer is one client with the transactional ID.
type producer struct {
	client  *kgo.Client
	line    *line
	timeout time.Duration
	// txn is its transaction, before the one before, -1 for none.
	txn, before int32
	began       atomic.Bool // something of txn was acknowledged
	failed      atomic.Bool // something of txn was not
}

func newWriter(r *Run, number int) *writer {
	return &writer{run: r, number: number, id: fmt.Sprint("writer-", number)}
}

// live plays one script after the other.
func (w *writer) live(ctx context.Context) {
	defer w.haunting.Wait()
	var p *producer
	for ctx.Err() == nil {
		if p == nil {
			if p = w.replace(ctx); p == nil {
				return
			}
		}
		s := newScript(random(w.run.config.Seed, w.id, w.scripts), append([]int32(nil), w.run.written...))
		if w.scripts >= 1 && w.scripts <= 3 {
			s.ending = w.early() // so that a short run has all of them
		}
		w.scripts++
		p = w.play(ctx, p, s)
		pause(ctx, s.pause)
	}
	if p == nil && len(w.open) > 0 {
		// Nobody should have to wait for the timeout of what is still open.
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
		defer cancel()
		p = w.replace(last)
	}
	if p != nil {
		p.client.Close()
	}
}

// early is how some of the writer's first transactions end: with another writer's each
// way, and the rarer ways twice where there are as many writers.
func (w *writer) early() ending {
	if e := ending(w.number); e < endings {
		return e
	}
	return endings - 1 - ending(w.number)%endings
}

// replace makes a producer that fences those before it.
func (w *writer) replace(ctx context.Context) *producer {
	for ctx.Err() == nil {
		p, err := w.newProducer()
		if err != nil {
			w.run.journal.problem(Broken, "%s: %v", w.id, err)
			return nil
		}
		w.run.journal.fencing(w.open)
		call, cancel := context.WithTimeout(ctx, callTimeout)
		_, _, err = p.client.ProducerID(call)
		cancel()
		if err != nil || p.line.strayed(kmsg.InitProducerID) {
			w.strays = w.run.journal.now() + strayFor
		}
		if err == nil {
			w.run.journal.fenced(w.open)
			w.open = nil
			return p
		}
		p.crash()
		pause(ctx, 50*time.Millisecond)
	}
	return nil
}

func (w *writer) newProducer() (*producer, error) {
	p := &producer{txn: -1, before: -1, timeout: w.run.config.LongTimeout}
	if random(w.run.config.Seed, w.id+" life", w.lives).IntN(2) == 0 || w.lives == 0 && w.early() == oversleeps {
		p.timeout = w.run.config.ShortTimeout
	}
	name := fmt.Sprintf("%s.%d", w.id, w.lives)
	w.lives++
	options := append(w.run.producing(w.number), kgo.TransactionalID(w.id), kgo.TransactionTimeout(p.timeout))
	if v := versions[w.number%len(versions)]; v != nil {
		options = append(options, kgo.MaxVersions(v))
	}
	var err error
	p.client, p.line, err = w.run.client(name, w.run.config.Losses, options...)
	return p, err
}

// producing are the options of clients that produce.
func (r *Run) producing(number int) []kgo.Opt {
	return []kgo.Opt{
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0), kgo.ProducerBatchCompression(codecs[number%len(codecs)]),
		kgo.RecordDeliveryTimeout(callTimeout), kgo.ProduceRequestTimeout(requestOverhead),
	}
}

// crash ends the client so that it can tell nobody.
func (p *producer) crash() {
	p.line.sever()
	p.client.Close()
}

// die crashes the client when it sends EndTxn, which end has it do.
func (p *producer) die(delivered bool, end func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	p.line.dieAt(kmsg.EndTxn, delivered, cancel)
	_ = end(ctx) // nobody is left to be told
	p.crash()
}

// play returns the producer to go on with, nil when another one must be made.
func (w *writer) play(ctx context.Context, p *producer, s script) *producer {
	if !w.begin(p) {
		p.crash()
		return nil
	}
	for i, flush := range s.flushes {
		w.send(p, flush)
		if s.ending == crashes && i == len(s.flushes)-1 {
			p.crash()
			return nil
		}
		if !p.flush() {
			p.crash()
			return nil
		}
		if p.failed.Load() {
			return w.abort(p)
		}
	}
	switch s.ending {
	case aborts:
		return w.abort(p)
	case dies:
		w.run.journal.ending(p.txn, true)
		p.die(len(s.flushes)%2 == 0, func(ctx context.Context) error { return p.client.EndTransaction(ctx, kgo.TryCommit) })
		return nil
	case haunts, rises:
		return w.haunt(ctx, p, s)
	case oversleeps:
		if p.timeout < w.run.config.LongTimeout && pause(ctx, p.timeout+s.pause*50) {
			w.run.journal.overslept(p.txn)
		}
	}
	return w.commit(p)
}

func (w *writer) begin(p *producer) bool {
	if err := p.client.BeginTransaction(); err != nil {
		return false
	}
	p.before = p.txn
	// What nothing was acknowledged of, the client may not have ended.
	if p.before >= 0 && !w.run.journal.hasAcked(p.before) {
		p.before = -1
	}
	p.txn = w.run.journal.begin(w.id, true)
	p.began.Store(false)
	p.failed.Store(false)
	w.open = append(w.open, p.txn)
	if w.run.journal.now() < w.strays {
		w.run.journal.fencing([]int32{p.txn})
	}
	return true
}

func (w *writer) send(p *producer, records []send) {
	for _, s := range records {
		w.run.send(p, s, noSource, p.timeout)
	}
}

// send sends one record in the producer's transaction.
func (r *Run) send(p *producer, s send, source Source, timeout time.Duration) {
	txn, before := p.txn, p.before
	id := r.journal.send(txn, s.partition, source, timeout)
	at := r.journal.h.Partitions[s.partition]
	p.client.Produce(context.Background(), &kgo.Record{Topic: at.Topic, Partition: at.Number, Value: id.value(s.filler)}, func(record *kgo.Record, err error) {
		if err != nil {
			p.failed.Store(true)
			return
		}
		r.journal.acked(id, record.Offset)
		if !p.began.Swap(true) && before >= 0 {
			r.journal.superseded(before)
		}
	})
}

// flush returns false when the client can't be waited for.
func (p *producer) flush() bool {
	ctx, cancel := context.WithTimeout(context.Background(), 2*callTimeout)
	defer cancel()
	return p.client.Flush(ctx) == nil
}

// commit returns the producer if it can go on, else nil, as abort does.
func (w *writer) commit(p *producer) *producer {
	w.run.journal.ending(p.txn, true)
	err := p.end(kgo.TryCommit)
	switch {
	case err == nil:
		w.run.journal.ended(p.txn, Committed)
		return p.unlessStrayed()
	case errors.Is(err, kerr.OperationNotAttempted):
		w.run.journal.notCommitted(p.txn)
		return w.abort(p)
	}
	// It may be committed or not. The client wants to be told to abort, to go on.
	if p.end(kgo.TryAbort) != nil {
		p.crash()
		return nil
	}
	return p.unlessStrayed()
}

func (w *writer) abort(p *producer) *producer {
	w.run.journal.ending(p.txn, false)
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	if p.client.AbortBufferedRecords(ctx) != nil || p.end(kgo.TryAbort) != nil {
		p.crash()
		return nil
	}
	// After a failure the client may leave the end to its next request.
	if !p.failed.Load() {
		w.run.journal.ended(p.txn, Aborted)
	}
	return p.unlessStrayed()
}

// unlessStrayed returns the producer, or nil when an EndTxn of its has gone astray:
// carried out late it would, before transaction version 2, end the next transaction.
func (p *producer) unlessStrayed() *producer {
	if !p.line.strayed(kmsg.EndTxn) {
		return p
	}
	p.crash()
	return nil
}

func (p *producer) end(how kgo.TransactionEndTry) error {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	return p.client.EndTransaction(ctx, how)
}

// haunt has the producer go on with its transaction while another one takes over, or
// after that, and returns the other one if it did.
func (w *writer) haunt(ctx context.Context, p *producer, s script) *producer {
	w.haunting.Wait()
	r := random(w.run.config.Seed, w.id+" ghost", w.scripts)
	// The writer itself goes on meanwhile.
	ghost := &writer{run: w.run, id: w.id, number: w.number}
	var next *producer
	if s.ending == rises {
		if next = w.replace(ctx); next == nil {
			p.crash()
			return nil
		}
	}
	w.haunting.Go(func() {
		defer p.crash()
		pause(ctx, time.Duration(r.IntN(20))*time.Millisecond)
		if r.IntN(2) == 0 {
			ghost.send(p, s.flushes[0])
		}
		if !p.flush() || p.failed.Load() {
			return
		}
		if ghost.commit(p) == nil || s.ending == haunts || !ghost.begin(p) {
			return
		}
		// It didn't notice, and begins anew.
		w.run.journal.fenced([]int32{p.txn})
		ghost.send(p, s.flushes[0])
		if p.flush() && !p.failed.Load() {
			ghost.commit(p)
		}
	})
	return next
}
