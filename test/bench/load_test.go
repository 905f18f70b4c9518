package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const recordBytes = 1 << 10

// randomBatch returns an uncompressed record batch of about size bytes whose
// values don't compress, neither alone nor beside a batch of another seed, and
// its number of records.
func randomBatch(seed uint64, size int) (batch []byte, records int) {
	random := rand.New(rand.NewPCG(seed, 2))
	batch = make([]byte, 61, size+2*recordBytes)
	for ; records == 0 || len(batch) < size; records++ {
		value := make([]byte, recordBytes)
		for i := range value {
			value[i] = byte(random.Uint32())
		}
		record := []byte{0}                                       // attributes
		record = binary.AppendVarint(record, 0)                   // timestamp delta
		record = binary.AppendVarint(record, int64(records))      // offset delta
		record = append(binary.AppendVarint(record, 4), "key"...) // key, made whole below
		record = append(record, byte(records))
		record = append(binary.AppendVarint(record, int64(len(value))), value...)
		record = binary.AppendVarint(record, 0) // headers
		batch = append(binary.AppendVarint(batch, int64(len(record))), record...)
	}
	now := uint64(time.Now().UnixMilli())
	binary.BigEndian.PutUint32(batch[8:], uint32(len(batch)-12))
	binary.BigEndian.PutUint32(batch[12:], 0xffffffff) // leader epoch
	batch[16] = 2
	binary.BigEndian.PutUint32(batch[23:], uint32(records-1))
	binary.BigEndian.PutUint64(batch[27:], now)
	binary.BigEndian.PutUint64(batch[35:], now)
	for i := 43; i < 57; i++ {
		batch[i] = 0xff // no producer ID, epoch and sequence
	}
	binary.BigEndian.PutUint32(batch[57:], uint32(records))
	binary.BigEndian.PutUint32(batch[17:], crc32.Checksum(batch[21:], crc32.MakeTable(crc32.Castagnoli)))
	return batch, records
}

// produceFrame returns a Produce request as it goes over the wire, with one of
// the batches for each of the partitions in turn.
func produceFrame(topic string, partitions []int32, batches ...[]byte) []byte {
	req := kmsg.NewPtrProduceRequest()
	req.SetVersion(9)
	req.Acks, req.TimeoutMillis = -1, 60_000
	t := kmsg.NewProduceRequestTopic()
	t.Topic = topic
	for i, p := range partitions {
		part := kmsg.NewProduceRequestTopicPartition()
		part.Partition, part.Records = p, batches[i%len(batches)]
		t.Partitions = append(t.Partitions, part)
	}
	req.Topics = append(req.Topics, t)
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("bench")).AppendRequest(nil, req, 1)
}

func partitionRange(from, to int) []int32 {
	var p []int32
	for i := from; i < to; i++ {
		p = append(p, int32(i))
	}
	return p
}

// produceAll sends each connection's frame count times, with at most inFlight
// requests unanswered, and returns how long that took.
func produceAll(b *testing.B, address string, frames [][]byte, count, inFlight int) time.Duration {
	b.Helper()
	errs := make(chan error, len(frames))
	start := time.Now()
	for _, frame := range frames {
		go func() { errs <- produceOver(address, frame, count, inFlight) }()
	}
	for range frames {
		if err := <-errs; err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(start)
}

func produceOver(address string, frame []byte, count, inFlight int) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	window := make(chan struct{}, inFlight)
	sent := make(chan error, 1)
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for range count {
			select {
			case window <- struct{}{}:
			case <-stop:
				return
			}
			if _, err := conn.Write(frame); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	for range count {
		body, err := readFrame(conn)
		if err != nil {
			return errors.Join(err, conn.Close())
		}
		resp := kmsg.NewPtrProduceResponse()
		resp.SetVersion(9)
		if err := resp.ReadFrom(body[5:]); err != nil { // correlation ID, tags
			return err
		}
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					return fmt.Errorf("partition %d: %w", p.Partition, err)
				}
			}
		}
		<-window
	}
	return <-sent
}

func readFrame(r io.Reader) ([]byte, error) { return readFrameInto(r, nil) }

// readFrameInto uses the buffer again, if the frame fits into it.
func readFrameInto(r io.Reader, buffer []byte) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint32(size[:]))
	if cap(buffer) < n {
		buffer = make([]byte, n)
	}
	_, err := io.ReadFull(r, buffer[:n])
	return buffer[:n], err
}

// fetchAll reads the partitions of a topic from the start to the number of
// records given for each, over one connection per group, and returns the bytes
// of batches that came and how long that took.
func fetchAll(b *testing.B, address, topic string, groups [][]int32, recordsEach int64) (int64, time.Duration) {
	b.Helper()
	var total sync.WaitGroup
	bytes := make([]int64, len(groups))
	errs := make([]error, len(groups))
	start := time.Now()
	for i, g := range groups {
		total.Go(func() { bytes[i], errs[i] = fetchOver(address, topic, g, recordsEach) })
	}
	total.Wait()
	if err := errors.Join(errs...); err != nil {
		b.Fatal(err)
	}
	sum := int64(0)
	for _, n := range bytes {
		sum += n
	}
	return sum, time.Since(start)
}

func fetchOver(address, topic string, partitions []int32, recordsEach int64) (bytes int64, err error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	r := reading{conn: conn, topic: topic, turn: slices.Clone(partitions), offsets: map[int32]int64{}, end: recordsEach}
	for _, p := range partitions {
		r.offsets[p] = 0
	}
	for len(r.offsets) > 0 {
		n, err := r.more()
		if err != nil {
			return bytes, err
		}
		bytes += n
	}
	return bytes, nil
}

// reading is a consumer with a connection of its own.
type reading struct {
	conn  net.Conn
	topic string
	// turn are the partitions in the order to ask for them in, offsets where it stands in each. Those that are
	// read up to end are dropped from both.
	turn    []int32
	offsets map[int32]int64
	end     int64
	// minBytes is what a fetch waits for, for half a second; 1 at least.
	minBytes int32
	buffer   []byte
}

// more sends one fetch, and returns the bytes of batches that came.
func (r *reading) more() (bytes int64, err error) {
	req := kmsg.NewPtrFetchRequest()
	req.SetVersion(12)
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = 500, max(1, r.minBytes), 50<<20
	req.SessionEpoch = -1
	t := kmsg.NewFetchRequestTopic()
	t.Topic = r.topic
	for _, p := range r.turn {
		part := kmsg.NewFetchRequestTopicPartition()
		part.Partition, part.FetchOffset, part.PartitionMaxBytes = p, r.offsets[p], 4<<20
		t.Partitions = append(t.Partitions, part)
	}
	req.Topics = append(req.Topics, t)
	if _, err := r.conn.Write(kmsg.NewRequestFormatter(kmsg.FormatterClientID("bench")).AppendRequest(nil, req, 1)); err != nil {
		return 0, err
	}
	body, err := readFrameInto(r.conn, r.buffer)
	if err != nil {
		return 0, err
	}
	r.buffer = body
	if bytes, err = advance(body, r.offsets, r.end); err != nil {
		return 0, err
	}
	r.turn = nextTurn(t.Partitions, r.offsets)
	return bytes, nil
}

// readOn has consumers read until stop is called, which returns the bytes that they got. begin says where each begins
// to read, and again once it has read all that it was to.
func readOn(b *testing.B, address string, consumers int, begin func(r *reading)) (stop func() int64) {
	b.Helper()
	conns := make([]net.Conn, consumers)
	for i := range conns {
		var err error
		if conns[i], err = net.Dial("tcp", address); err != nil {
			b.Fatal(err)
		}
	}
	var all sync.WaitGroup
	bytes := make([]int64, consumers)
	errs := make([]error, consumers)
	for i := range conns {
		all.Go(func() {
			for r := (reading{conn: conns[i]}); errs[i] == nil; {
				if len(r.offsets) == 0 {
					begin(&r)
				}
				var n int64
				n, errs[i] = r.more()
				bytes[i] += n
			}
		})
	}
	return func() (sum int64) {
		for i := range conns {
			if err := conns[i].Close(); err != nil {
				b.Error(err)
			}
		}
		all.Wait()
		for i, err := range errs {
			if !errors.Is(err, net.ErrClosed) {
				b.Fatal(err)
			}
			sum += bytes[i]
		}
		return sum
	}
}

// startAt0 has a consumer begin with offset 0 of the topic's partitions, and stop at the offset end of each.
func startAt0(topic string, partitions int, end int64) func(r *reading) {
	return func(r *reading) {
		r.topic, r.end, r.turn, r.offsets = topic, end, partitionRange(0, partitions), map[int32]int64{}
		for _, p := range r.turn {
			r.offsets[p] = 0
		}
	}
}

// nextTurn is the order to ask in: whoever brought something goes to the end, as in Kafka's clients.
func nextTurn(asked []kmsg.FetchRequestTopicPartition, offsets map[int32]int64) (turn []int32) {
	var served []int32
	for _, p := range asked {
		switch offset, left := offsets[p.Partition]; {
		case !left:
		case offset == p.FetchOffset:
			turn = append(turn, p.Partition)
		default:
			served = append(served, p.Partition)
		}
	}
	return append(turn, served...)
}

// advance moves the offsets behind what an answer brought, and drops the
// partitions that are read to their end.
func advance(body []byte, offsets map[int32]int64, end int64) (bytes int64, err error) {
	resp := kmsg.NewPtrFetchResponse()
	resp.SetVersion(12)
	if err := resp.ReadFrom(body[5:]); err != nil {
		return 0, err
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return 0, fmt.Errorf("partition %d: %w", p.Partition, err)
			}
			for batch := p.RecordBatches; len(batch) >= 61; {
				size := 12 + int(binary.BigEndian.Uint32(batch[8:]))
				if size > len(batch) {
					return 0, fmt.Errorf("partition %d: batch of %d bytes cut at %d", p.Partition, size, len(batch))
				}
				base := int64(binary.BigEndian.Uint64(batch))
				if base != offsets[p.Partition] {
					return 0, fmt.Errorf("partition %d: offset %d, want %d", p.Partition, base, offsets[p.Partition])
				}
				offsets[p.Partition] = base + int64(binary.BigEndian.Uint32(batch[23:])) + 1
				bytes += int64(size)
				batch = batch[size:]
			}
			if offsets[p.Partition] >= end {
				delete(offsets, p.Partition)
			}
		}
	}
	return bytes, nil
}
