package sequence

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/wadi-log/wadi/metadata"
)

// transactionPlay lets clients write, begin and end transactions in any order, right and wrong.
type transactionPlay struct {
	*world
	choose  func(n int) int
	clients []*transactionalClient
	newIDs  int64
	seen    map[string]int
}

// transactionalClient is everyone who uses a transactional ID, zombies included: they
// remember all producers that it ever had.
type transactionalClient struct {
	id        string
	version   metadata.TransactionVersion // 0: either
	producers []metadata.ProducerEpoch
	history   []clientBatch
}

type clientBatch struct {
	partition metadata.PartitionID
	batch     metadata.Batch
}

const playPartitions = 3

func newTransactionPlay(t testing.TB, choose func(n int) int, seen map[string]int) *transactionPlay {
	p := &transactionPlay{world: newWorld(t, playPartitions), choose: choose, newIDs: 1000, seen: seen, clients: []*transactionalClient{
		{id: "one", version: metadata.TransactionV1},
		{id: "two", version: metadata.TransactionV2},
		{id: "any"},
		{id: "worn out", version: metadata.TransactionV2},
	}}
	p.groups["g"], p.groups["h"] = 1, 1
	p.wearOut(p.clients[3], 32764)
	return p
}

// wearOut makes a producer that has few epochs left.
func (p *transactionPlay) wearOut(c *transactionalClient, epoch int16) {
	c.producers = []metadata.ProducerEpoch{{ID: p.newID(), Epoch: epoch}}
	p.putTransaction(TransactionChange{New: true, Transaction: metadata.Transaction{
		ID: c.id, ProducerID: c.producers[0].ID, Epoch: epoch, LastProducerID: -1, LastEpoch: -1, Version: c.version, Timeout: time.Minute,
		UpdatedAt: p.state.Now,
	}})
	p.model.ids[c.id] = &modelID{timeout: time.Minute, producers: []modelProducer{{ProducerEpoch: c.producers[0]}}}
}

func (p *transactionPlay) newID() int64 {
	p.newIDs++
	return p.newIDs
}

func (p *transactionPlay) step() {
	p.state.Now = p.state.Now.Add(time.Duration(p.choose(30)) * time.Second)
	switch n := p.choose(40); {
	case n < 18:
		p.write()
	case n < 37:
		p.ask()
	case n == 37:
		p.groups["g"]++
	case n == 38:
		p.deleteRecords()
	default:
		p.dropPartition()
	}
}

// producer is mostly the client's newest, NoProducer if it has none.
func (p *transactionPlay) producer(c *transactionalClient) metadata.ProducerEpoch {
	if len(c.producers) == 0 {
		return metadata.NoProducer
	}
	back := 0
	switch p.choose(12) {
	case 0:
		back = 1
	case 1:
		back = p.choose(len(c.producers))
	}
	return c.producers[max(0, len(c.producers)-1-back)]
}

func (p *transactionPlay) versionOf(c *transactionalClient) metadata.TransactionVersion {
	if c.version == 0 {
		return metadata.TransactionVersion(1 + p.choose(2))
	}
	return c.version
}

// write commits one or two files of batches of all clients, and of others without transactions.
func (p *transactionPlay) write() {
	files := make([]metadata.File, 1+p.choose(2))
	next := map[ProducerKey]metadata.Batch{} // the last batch made in this call
	for i := range files {
		files[i] = metadata.File{ID: p.nextFileID(), Size: 1}
		first := p.choose(playPartitions + 1)
		for j := range 1 + p.choose(3) {
			a := metadata.Append{Partition: metadata.PartitionID(1 + (first+j)%(playPartitions+1))}
			for range 1 + p.choose(3) {
				b := p.batch(a.Partition, next)
				a.Batches = append(a.Batches, b)
				a.StoredSize += b.Size
			}
			files[i].Appends = append(files[i].Appends, a)
		}
	}
	d := p.commit(files)
	for i, f := range files {
		for j, a := range f.Appends {
			for k, b := range a.Batches {
				p.note(b, d.Files[i].Result.Outcomes[j][k])
			}
		}
	}
}

func (p *transactionPlay) note(b metadata.Batch, o metadata.Outcome) {
	switch {
	case !b.Transactional:
	case o.Duplicate:
		p.seen["duplicate"]++
	case o.Err != nil:
		p.seen["batch refused: "+o.Err.Error()]++
	case b.AddsPartition:
		p.seen["batch of V2"]++
	default:
		p.seen["batch of V1"]++
	}
}

func (p *transactionPlay) batch(partition metadata.PartitionID, made map[ProducerKey]metadata.Batch) metadata.Batch {
	b := metadata.Batch{
		Size: 10, Records: int32(1 + p.choose(3)), MaxTimestamp: int64(p.choose(1000)),
		ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1,
	}
	c := p.clients[p.choose(len(p.clients))]
	producer := p.producer(c)
	if producer == metadata.NoProducer || p.choose(8) == 0 {
		return b
	}
	if n := len(c.history); n > 0 && p.choose(8) == 0 {
		if old := c.history[n-1-p.choose(min(n, 8))]; old.partition == partition {
			return old.batch
		}
	}
	key := ProducerKey{Partition: partition, ProducerID: producer.ID}
	b.ProducerID, b.ProducerEpoch, b.BaseSequence = producer.ID, producer.Epoch, 0
	if state, ok := p.state.Producers[key]; ok && state.Epoch == producer.Epoch {
		b.BaseSequence = state.next()
	}
	if last, ok := made[key]; ok && last.ProducerEpoch == producer.Epoch {
		b.BaseSequence = addSequence(last.BaseSequence, last.Records)
	}
	if p.choose(20) == 0 {
		b.BaseSequence++
	}
	// Nobody should write without a transaction under the same producer ID; one may.
	b.Transactional = p.choose(30) > 0
	b.AddsPartition = b.Transactional && p.versionOf(c) == metadata.TransactionV2
	made[key] = b
	c.history = append(c.history, clientBatch{partition, b})
	return b
}

// ask makes a call with requests of some of the clients.
func (p *transactionPlay) ask() {
	first := p.choose(len(p.clients))
	var requests []metadata.TransactionRequest
	var asking []*transactionalClient
	for i := range 1 + p.choose(len(p.clients)) {
		c := p.clients[(first+i)%len(p.clients)]
		requests = append(requests, metadata.TransactionRequest{ID: c.id, Op: p.op(c)})
		asking = append(asking, c)
	}
	before := maps.Clone(p.transactions)
	d := p.change(requests...)
	for i, r := range d.Results {
		op := requests[i].Op
		switch op.(type) {
		case metadata.InitProducer, metadata.EndTransaction:
			p.noteProducer(asking[i], before[asking[i].id], op, r)
		}
		if r.Err != nil {
			p.seen[fmt.Sprintf("%T: %v", op, r.Err)]++
		} else {
			p.seen[fmt.Sprintf("%T", op)]++
		}
	}
	p.noteEnds(d)
}

func (p *transactionPlay) noteProducer(c *transactionalClient, before metadata.Transaction, op metadata.TransactionOp, r metadata.TransactionResult) {
	if r.Err != nil {
		return
	}
	if before.ID != "" && r.Producer == current(before) {
		p.seen[fmt.Sprintf("%T repeated", op)]++
	}
	if before.ID != "" && r.Producer.ID != before.ProducerID {
		p.seen[fmt.Sprintf("%T with a new producer ID", op)]++
	}
	if p.choose(6) > 0 && !slices.Contains(c.producers, r.Producer) { // else the reply is lost
		c.producers = append(c.producers, r.Producer)
	}
}

func (p *transactionPlay) noteEnds(d TransactionsDecision) {
	for _, e := range d.Ended {
		p.seen[fmt.Sprintf("ended, commit %v", e.Commit)]++
	}
	markers := map[metadata.PartitionID]int{}
	for _, r := range d.Commit.Runs {
		if markers[r.Partition]++; markers[r.Partition] == 2 {
			p.seen["several markers in a partition"]++
		}
	}
	for _, a := range d.Commit.Aborted {
		if a.FirstOffset < p.state.Partitions[a.Partition].LogStartOffset {
			p.seen["aborted from before the log start"]++
		}
	}
	if len(d.Commit.Stable) > 0 {
		p.seen["another transaction stays open"]++
	}
}

func (p *transactionPlay) op(c *transactionalClient) metadata.TransactionOp {
	producer := p.producer(c)
	n := p.choose(16)
	if producer == metadata.NoProducer && p.choose(8) > 0 {
		n = 0
	}
	switch {
	case n < 2:
		op := metadata.InitProducer{Timeout: time.Duration(1+p.choose(3)) * time.Minute, Expected: metadata.NoProducer, NewProducerID: p.newID()}
		if p.choose(3) > 0 {
			op.Expected = producer
		}
		return op
	case n < 6:
		op := metadata.AddToTransaction{Producer: producer, VerifyOnly: p.choose(6) == 0}
		for id := 1; id <= playPartitions+1; id++ {
			if p.choose(2) == 0 {
				op.Partitions = append(op.Partitions, metadata.PartitionID(id))
			}
		}
		if !op.VerifyOnly && p.choose(3) == 0 {
			op.Group = p.group()
		}
		return op
	case n < 9:
		op := metadata.TransactionOffsets{Producer: producer, GroupID: *p.group(), Version: p.versionOf(c)}
		op.GroupVersion = p.groups[op.GroupID]
		if op.GroupVersion > 0 && p.choose(8) == 0 {
			op.GroupVersion--
		}
		for range p.choose(3) {
			op.Offsets = append(op.Offsets, metadata.Offset{
				GroupID: op.GroupID, Partition: metadata.PartitionID(1 + p.choose(playPartitions)), Offset: int64(p.choose(100)),
			})
		}
		return op
	case n < 15:
		op := metadata.EndTransaction{Producer: producer, Commit: p.choose(2) == 0, Version: p.versionOf(c), NewProducerID: -1}
		if producer.Epoch >= metadata.LastProducerEpoch {
			op.NewProducerID = p.newID()
		}
		return op
	}
	return metadata.ExpireTransaction{Producer: producer}
}

func (p *transactionPlay) group() *string {
	group := []string{"g", "h", "there is none"}[p.choose(9)/4]
	return &group
}

func (p *transactionPlay) deleteRecords() {
	id := metadata.PartitionID(1 + p.choose(playPartitions))
	partition, ok := p.state.Partitions[id]
	if !ok {
		return
	}
	before := partition.LogStartOffset + int64(p.choose(1+int(partition.NextOffset-partition.LogStartOffset)))
	_, starts := DecideDeletions(p.state.Partitions, []metadata.RecordsDeletion{{Partition: id, Before: before}})
	for _, s := range starts {
		partition.LogStartOffset = s.Offset
		p.state.Partitions[id] = partition
		p.stable[id] = max(p.stable[id], s.Offset)
	}
	p.check()
}

// dropPartition deletes one partition of the play, seldom. What transactions say of it stays.
func (p *transactionPlay) dropPartition() {
	if p.choose(4) > 0 || len(p.state.Partitions) < playPartitions {
		return
	}
	const id = playPartitions
	for key := range p.state.InTransaction {
		if key.Partition == id {
			p.seen["partition of a transaction deleted"]++
		}
	}
	delete(p.state.Partitions, id)
	delete(p.model.partitions, id)
	maps.DeleteFunc(p.state.Producers, func(key ProducerKey, _ Producer) bool { return key.Partition == id })
}

func TestTransactionsAgreeWithNaiveModel(t *testing.T) {
	seen := map[string]int{}
	for i := range 200 {
		seed := rand.Uint64()
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		t.Run(fmt.Sprintf("seed=%d,%d", seed, i), func(t *testing.T) {
			p := newTransactionPlay(t, rng.IntN, seen)
			for range 80 {
				p.step()
			}
		})
	}
	// What never happened was not tested.
	refused := func(op metadata.TransactionOp, err error) string { return fmt.Sprintf("%T: %v", op, err) }
	want := []string{
		"batch of V1", "batch of V2", "duplicate", "ended, commit true", "ended, commit false", "several markers in a partition",
		"aborted from before the log start", "another transaction stays open", "partition of a transaction deleted",
	}
	for _, err := range []error{metadata.ErrProducerIDMapping, metadata.ErrInvalidProducerEpoch, metadata.ErrInvalidTransactionState, metadata.ErrOutOfOrderSequence} {
		want = append(want, "batch refused: "+err.Error())
	}
	for _, op := range []metadata.TransactionOp{
		metadata.InitProducer{}, metadata.AddToTransaction{}, metadata.TransactionOffsets{}, metadata.EndTransaction{}, metadata.ExpireTransaction{},
	} {
		want = append(want, fmt.Sprintf("%T", op), refused(op, metadata.ErrProducerFenced))
		switch op.(type) {
		case metadata.InitProducer, metadata.EndTransaction:
			want = append(want, fmt.Sprintf("%T repeated", op), fmt.Sprintf("%T with a new producer ID", op))
		}
		if _, init := op.(metadata.InitProducer); !init {
			want = append(want, refused(op, metadata.ErrProducerIDMapping))
		}
	}
	want = append(want, refused(metadata.TransactionOffsets{}, metadata.ErrGroupVersion))
	for _, op := range []metadata.TransactionOp{metadata.TransactionOffsets{}, metadata.EndTransaction{}, metadata.ExpireTransaction{}} {
		want = append(want, refused(op, metadata.ErrInvalidTransactionState))
	}
	for _, w := range want {
		if seen[w] == 0 {
			t.Errorf("never happened: %s", w)
		}
	}
	t.Log(seen)
}

func FuzzTransactions(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("two producers begin, write to the same partitions, and end at once; a zombie comes by"))
	f.Add([]byte{9, 20, 1, 3, 0, 0, 1, 9, 2, 1, 0, 2, 1, 1, 0, 1, 0, 30, 1, 12, 0, 200, 100, 50, 25, 12, 6, 3})
	f.Fuzz(func(t *testing.T, choices []byte) {
		steps := 1 + min(len(choices)/8, 40)
		p := newTransactionPlay(t, func(n int) int {
			if len(choices) == 0 {
				return 0
			}
			c := int(choices[0])
			choices = choices[1:]
			return c % n
		}, map[string]int{})
		for range steps {
			p.step()
		}
	})
}
