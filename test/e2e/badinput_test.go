package e2e

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/wadi-log/wadi/test/harness"
)

// TestAgentSurvivesBytesThatAreNoRequest sends what no Kafka client sends. The
// agent may answer or close the connection; it must not crash, hang or leak.
func TestAgentSurvivesBytesThatAreNoRequest(t *testing.T) {
	agent := harness.Agent(t, harness.AgentOptions{})
	createTopic(t, agent.Bootstrap(), "alive", 1)
	frame := func(size int32, body ...byte) []byte {
		return append(binary.BigEndian.AppendUint32(nil, uint32(size)), body...)
	}
	request := func(key, version int16, body ...byte) []byte {
		b := binary.BigEndian.AppendUint16(nil, uint16(key))
		b = binary.BigEndian.AppendUint16(b, uint16(version))
		b = binary.BigEndian.AppendUint32(b, 7)      // correlation ID
		b = binary.BigEndian.AppendUint16(b, 0xffff) // null client ID
		b = append(b, body...)
		return frame(int32(len(b)), b...)
	}
	cases := map[string][]byte{
		"negative size":               frame(-1),
		"size zero":                   frame(0),
		"two gigabytes":               frame(1<<31 - 1),
		"an HTTP request":             []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
		"a TLS hello":                 {0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 0, 0, 0, 0},
		"a frame cut off":             frame(1000, 0, 3, 0, 0, 0, 0),
		"an unknown API key":          request(9999, 0),
		"a negative API key":          request(-1, 0),
		"an unknown version":          request(3, 200),
		"a lying array count":         request(3, 1, 0x7f, 0xff, 0xff, 0xff),
		"a negative array count":      request(3, 1, 0x80, 0, 0, 0),
		"a lying compact array count": request(3, 9, 0, 0xff, 0xff, 0xff, 0xff, 0x0f),
		"a lying string length":       request(3, 1, 0, 0, 0, 1, 0x7f, 0xff),
		"a body cut off":              request(0, 9, 0, 0),
		"a broker's own API":          request(4, 0),
	}
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(uint64(seed), 0))
	for i := range 200 {
		noise := make([]byte, random.IntN(4000)+1)
		for j := range noise {
			noise[j] = byte(random.Uint32())
		}
		if i%2 == 0 && len(noise) > 8 { // a plausible frame around the noise
			binary.BigEndian.PutUint32(noise, uint32(len(noise)-4))
			binary.BigEndian.PutUint16(noise[4:], uint16(random.IntN(80)))
			binary.BigEndian.PutUint16(noise[6:], uint16(random.IntN(14)))
		}
		cases["noise "+strconv.Itoa(i)] = noise
	}
	before := agent.Metrics()["go_goroutines"]
	for name, bytes := range cases {
		sendAndHangUp(t, name, agent.Bootstrap(), bytes)
	}
	eventually(t, "connections are closed", func() bool { return agent.Metrics()["wadi_connections"] <= 2 })
	eventually(t, "goroutines end", func() bool { return agent.Metrics()["go_goroutines"] <= before+8 })
	eventually(t, "memory is given back", func() bool { return agent.Metrics()["wadi_request_memory_bytes"] == 0 })
	produceOne(t, agent.Bootstrap(), "alive")
}

// sendAndHangUp sends the bytes, ends its side, and reads until the agent ends the other.
func sendAndHangUp(t *testing.T, name, address string, b []byte) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	// The agent may have closed already: then a write fails, which is an answer too.
	if _, err := conn.Write(b); err != nil {
		return
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		return
	}
	if _, err := io.Copy(io.Discard, conn); errors.Is(err, errTimeout(err)) {
		t.Errorf("%s: the agent neither answered nor closed the connection", name)
	}
}

func errTimeout(err error) error {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return err
	}
	return errors.New("no timeout")
}

func produceOne(t *testing.T, bootstrap, topic string) {
	t.Helper()
	c := client(t, kgo.SeedBrokers(bootstrap))
	if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte("alive")}).FirstErr(); err != nil {
		t.Fatalf("the agent no longer takes records: %v", err)
	}
}

// TestBadBatchesGetKafkasErrors sends batches that are wrong in one way each,
// beside a good one that must go through.
func TestBadBatchesGetKafkasErrors(t *testing.T) {
	agent := harness.Agent(t, harness.AgentOptions{})
	createTopic(t, agent.Bootstrap(), "strict", 2)
	change := func(at int, with ...byte) func([]byte) []byte {
		return func(b []byte) []byte {
			copy(b[at:], with)
			return checksum(b)
		}
	}
	cases := []struct {
		name   string
		change func([]byte) []byte
		want   *kerr.Error
	}{
		{"good", checksum, nil},
		{"wrong CRC", func(b []byte) []byte { b[20] ^= 1; return b }, kerr.CorruptMessage},
		{"a bit flipped in the payload", func(b []byte) []byte { b[len(b)-2] ^= 1; return b }, kerr.CorruptMessage},
		{"magic 0", change(16, 0), kerr.InvalidRecord},
		{"magic 1", change(16, 1), kerr.InvalidRecord},
		{"magic 3", change(16, 3), kerr.InvalidRecord},
		{"length too long", change(8, 0x7f, 0xff, 0xff, 0xff), kerr.CorruptMessage},
		{"negative length", change(8, 0xff, 0xff, 0xff, 0xff), kerr.CorruptMessage},
		{"cut off", func(b []byte) []byte { return b[:len(b)-3] }, kerr.CorruptMessage},
		{"a lying record count", change(57, 0, 0, 0, 9), kerr.InvalidRecord},
		{"a huge record count", change(57, 0x7f, 0xff, 0xff, 0xff), kerr.InvalidRecord},
		{"a lying last offset", change(23, 0, 0, 0, 9), kerr.InvalidRecord},
		{"a control batch", change(22, 0x20), kerr.InvalidRecord},
		{"an unknown codec", change(22, 0x07), kerr.InvalidRecord},
		{"nothing", func([]byte) []byte { return nil }, kerr.InvalidRecord},
		{"two batches", func(b []byte) []byte { return append(checksum(b), b...) }, kerr.InvalidRecord},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			err, beside := produceRaw(t, agent.Bootstrap(), "strict", test.change(batch()), 10*time.Second)
			if !sameError(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			if beside != nil {
				t.Errorf("the good batch beside it: %v", beside)
			}
		})
	}
}

// produceRaw sends the records as they are to partition 0 of the topic and a
// good batch to partition 1, and returns what was answered for both.
func produceRaw(t *testing.T, bootstrap, topic string, records []byte, timeout time.Duration) (err, beside error) {
	t.Helper()
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, int32(timeout.Milliseconds())
	rt := kmsg.NewProduceRequestTopic()
	rt.Topic = topic
	for i, b := range [][]byte{records, checksum(batch())} {
		p := kmsg.NewProduceRequestTopicPartition()
		p.Partition, p.Records = int32(i), b
		rt.Partitions = append(rt.Partitions, p)
	}
	req.Topics = append(req.Topics, rt)
	resp, err := client(t, kgo.SeedBrokers(bootstrap)).Request(t.Context(), pin{req})
	if err != nil {
		t.Fatal(err)
	}
	parts := resp.(*kmsg.ProduceResponse).Topics[0].Partitions
	return kerr.ErrorForCode(parts[0].ErrorCode), kerr.ErrorForCode(parts[1].ErrorCode)
}

// pin keeps a request at the version that it says (topics by name).
type pin struct{ *kmsg.ProduceRequest }

func (p pin) MaxVersion() int16 { return 12 }

func sameError(got error, want *kerr.Error) bool {
	if want == nil {
		return got == nil
	}
	return errors.Is(got, want)
}

// checksum puts the right CRC into the batch.
func checksum(b []byte) []byte {
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// batch returns an uncompressed batch of one record, by hand: KIP-98 draws it.
func batch() []byte {
	now := uint64(time.Now().UnixMilli()) // what is older than a week is gone with the next round of retention
	b := make([]byte, 61, 80)
	binary.BigEndian.PutUint32(b[12:], 0xffffffff)          // leader epoch
	b[16] = 2                                               // magic
	binary.BigEndian.PutUint64(b[27:], now)                 // base timestamp
	binary.BigEndian.PutUint64(b[35:], now)                 // max timestamp
	binary.BigEndian.PutUint64(b[43:], 0xffffffff_ffffffff) // producer ID
	binary.BigEndian.PutUint16(b[51:], 0xffff)              // producer epoch
	binary.BigEndian.PutUint32(b[53:], 0xffffffff)          // base sequence
	binary.BigEndian.PutUint32(b[57:], 1)                   // records
	b = append(b,
		9<<1,    // length
		0, 0, 0, // attributes, timestamp delta, offset delta
		1<<1, 'k', // key
		2<<1, 'v', 'w', // value
		0, // headers
	)
	binary.BigEndian.PutUint32(b[8:], uint32(len(b)-12))
	return b
}

// eventually waits until the condition holds, and fails the test when it does
// not even on the slowest machine.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	harness.Eventually(t, time.Minute, func() error {
		if !holds() {
			return fmt.Errorf("never true: %s", what)
		}
		return nil
	})
}
