package protocol

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// fill sets every exported field of a request to something random, arrays to
// up to 3 elements, pointers to nil now and then. Versions that lack a field
// don't encode it.
func fill(rng *rand.Rand, v reflect.Value) {
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(rng.IntN(2) == 1)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(rng.IntN(200) - 100))
	case reflect.String:
		v.SetString(fmt.Sprintf("%0*d", rng.IntN(200), 7))
	case reflect.Array:
		for i := range v.Len() {
			v.Index(i).SetUint(rng.Uint64N(256))
		}
	case reflect.Pointer:
		if rng.IntN(3) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(rng, v.Elem())
		}
	case reflect.Slice:
		n := rng.IntN(4)
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return
		}
		for i := range n {
			fill(rng, v.Index(i))
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[kmsg.Tags]() {
			tags := v.Addr().Interface().(*kmsg.Tags)
			for n := rng.IntN(3); n > 0; n-- {
				tags.Set(uint32(100+rng.IntN(1000)), make([]byte, rng.IntN(200)))
			}
			return
		}
		for i := range v.NumField() {
			if v.Type().Field(i).Name != "Version" {
				fill(rng, v.Field(i))
			}
		}
	default:
		panic("no random " + v.Type().String())
	}
}

func randomRequest(rng *rand.Rand, key, version int16) kmsg.Request {
	req := kmsg.RequestForKey(key)
	fill(rng, reflect.ValueOf(req).Elem())
	req.SetVersion(version)
	return req
}

// Every shape takes exactly the bytes that kmsg writes, in every version from
// 0 on; a body cut short anywhere is refused.
func TestShapesAreThoseOfKmsg(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for _, api := range table {
		t.Run(api.Name, func(t *testing.T) {
			for version := int16(0); version <= api.Max; version++ {
				for range 50 {
					body := randomRequest(rng, api.Key, version).AppendTo(nil)
					r := reader{src: body, flexible: version >= formOf(api.Key).flexibleFrom}
					r.walk(api.body, version)
					if r.err != nil || len(r.src) != 0 {
						t.Fatalf("version %d: %v, %d of %d bytes are left:\n%x", version, r.err, len(r.src), len(body), body)
					}
				}
				body := randomRequest(rng, api.Key, version).AppendTo(nil)
				for cut := range body {
					if _, err := api.decode(version, body[:cut]); !errors.Is(err, ErrMalformed) {
						t.Fatalf("version %d: %d of %d bytes: %v", version, cut, len(body), err)
					}
				}
			}
		})
	}
}

func TestParseRequestDecodesWhatAClientEncodes(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for _, v := range Versions() {
		for version := v.Min; version <= v.Max; version++ {
			body := randomRequest(rng, v.Key, version).AppendTo(nil)
			req, err := ParseRequest(RequestHeader{Key: v.Key, Version: version}, body)
			if err != nil {
				t.Fatalf("%s %d: %v", v.Name, version, err)
			}
			if req.Key() != v.Key || req.GetVersion() != version {
				t.Errorf("%s %d became %d, version %d", v.Name, version, req.Key(), req.GetVersion())
			}
			if got := req.AppendTo(nil); !bytes.Equal(got, body) {
				t.Errorf("%s %d: got  %x\nwant %x", v.Name, version, got, body)
			}
		}
	}
}

func TestParseRequestRefusesKeysAndVersions(t *testing.T) {
	for _, c := range []struct {
		name         string
		key, version int16
		err          error
	}{
		{"unknown key", 1000, 0, ErrUnknownKey},
		{"negative key", -1, 0, ErrUnknownKey},
		{"a key between brokers", 4, 0, ErrUnknownKey},
		{"the markers of transactions", 27, 1, ErrUnknownKey},
		{"version above", 0, 14, ErrUnsupportedVersion},
		{"version far above", 18, 100, ErrUnsupportedVersion},
		{"version negative", 18, -1, ErrUnsupportedVersion},
		{"version below, not decodable", 1, 3, ErrUnsupportedVersion},
	} {
		t.Run(c.name, func(t *testing.T) {
			req, err := ParseRequest(RequestHeader{Key: c.key, Version: c.version}, []byte{1, 2, 3})
			if req != nil || !errors.Is(err, c.err) {
				t.Errorf("got %v, %v; want %v", req, err, c.err)
			}
		})
	}
}

// An old client is to be told, topic by topic, that its version is not served.
func TestParseRequestReturnsWhatOldClientsAsked(t *testing.T) {
	for version := int16(0); version < 3; version++ {
		old := kmsg.NewPtrProduceRequest()
		old.Version = version
		old.Acks = 1
		old.Topics = []kmsg.ProduceRequestTopic{{
			Topic:      "t",
			Partitions: []kmsg.ProduceRequestTopicPartition{{Partition: 4, Records: []byte("magic 0 or 1")}},
		}}
		req, err := ParseRequest(RequestHeader{Key: 0, Version: version}, old.AppendTo(nil))
		if !errors.Is(err, ErrUnsupportedVersion) {
			t.Fatalf("version %d: %v", version, err)
		}
		got, ok := req.(*kmsg.ProduceRequest)
		if !ok || len(got.Topics) != 1 || got.Topics[0].Topic != "t" || got.Topics[0].Partitions[0].Partition != 4 {
			t.Errorf("version %d: got %+v", version, req)
		}
	}
}

func TestParseRequestDoesNotCopyRecords(t *testing.T) {
	req := kmsg.NewPtrProduceRequest()
	req.Version = 9
	req.Topics = []kmsg.ProduceRequestTopic{{
		Topic:      "t",
		Partitions: []kmsg.ProduceRequestTopicPartition{{Records: []byte("records")}},
	}}
	body := req.AppendTo(nil)
	parsed, err := ParseRequest(RequestHeader{Key: 0, Version: 9}, body)
	if err != nil {
		t.Fatal(err)
	}
	topic := parsed.(*kmsg.ProduceRequest).Topics[0]
	for i := range body {
		body[i] = 'x'
	}
	if got := string(topic.Partitions[0].Records); got != "xxxxxxx" {
		t.Errorf("records are a copy: %q", got)
	}
	if topic.Topic != "t" {
		t.Errorf("the topic's name aliases the frame: %q", topic.Topic)
	}
}

// Kafka does not look at what follows the last field either.
func TestParseRequestIgnoresTrailingBytes(t *testing.T) {
	for _, v := range Versions() {
		req := kmsg.RequestForKey(v.Key)
		req.SetVersion(v.Max)
		body := append(req.AppendTo(nil), 1, 2, 3)
		if _, err := ParseRequest(RequestHeader{Key: v.Key, Version: v.Max}, body); err != nil {
			t.Errorf("%s: %v", v.Name, err)
		}
	}
}

type lyingBody struct {
	name         string
	key, version int16
	body         []byte
}

// lyingBodies are bodies whose counts lie. zeros is how many bytes they go on with.
func lyingBodies(t testing.TB, zeros int) []lyingBody {
	legacyCount := func(n int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }
	compactCount := func(n uint64) []byte { return binary.AppendUvarint(nil, n+1) }
	join := func(parts ...[]byte) []byte { return bytes.Join(append(parts, make([]byte, zeros)), nil) }
	produceStart := unhex(t, "ffff 0001 00000000")
	flexibleProduceStart := unhex(t, "00 0001 00000000")
	fetchStart := unhex(t, "00000000 00000001 00000000 00 00000000 00000000")
	fetchPartition := unhex(t, "00000000 00000000 0000000000000000 00000000 0000000000000000 00000000")
	topicID := make([]byte, 16)
	return []lyingBody{
		{"topics by the bytes left", 0, 3, join(produceStart, legacyCount(zeros))},
		{"topics by half of the bytes left", 0, 3, join(produceStart, legacyCount(zeros/2))},
		{"topics beyond the bytes left", 0, 3, join(produceStart, legacyCount(1<<31-1))},
		{"negative topics", 0, 3, join(produceStart, legacyCount(-2))},
		{"compact topics by the bytes left", 0, 9, join(flexibleProduceStart, compactCount(uint64(zeros)))},
		{"compact topics of 32 bits", 0, 9, join(flexibleProduceStart, compactCount(1<<32-2))},
		{"compact topics of 64 bits", 0, 9, join(flexibleProduceStart, compactCount(1<<62))},
		{"partitions by the bytes left", 0, 9, join(flexibleProduceStart, compactCount(1), []byte{2, 't'}, compactCount(uint64(zeros)))},
		{"records beyond the bytes left", 0, 3, join(produceStart, legacyCount(1), []byte{0, 1, 't'}, legacyCount(1), legacyCount(0), legacyCount(1<<30))},
		{"negative records", 0, 3, join(produceStart, legacyCount(1), []byte{0, 1, 't'}, legacyCount(1), legacyCount(0), legacyCount(-2))},
		{"negative string", 0, 3, join(unhex(t, "8000"))},
		{"tags of the body", 60, 0, unhex(t, "00 ffffffff0f")},
		{"tags of an element", 75, 0, unhex(t, "02 01 ffffffff0f 00000000 00 00 00 00")},
		{"tags of an optional structure", 75, 0, unhex(t, "01 00000000 01 01 00000000 ffffffff0f")},
		{"tags of one with an odd presence byte", 75, 0, unhex(t, "01 00000000 fe 01 00000000 ffffffff0f")},
		{"a tag's size", 60, 0, unhex(t, "00 01 63 ffffffffffffffff7f")},
		{"tags within a known tag", 1, 18, append(bytes.Clone(fetchStart), unhex(t, "01 01 01 01 01 11 00000000 0000000000000000 ffffffff0f")...)},
		{"a known tag cut short", 1, 18, append(bytes.Clone(fetchStart), unhex(t, "01 01 01 01 01 04 00000000")...)},
		{"a known tag of an element cut short", 1, 18, join(fetchStart, unhex(t, "02"), topicID, unhex(t, "02"), fetchPartition, unhex(t, "01 00 02 0000 00 01 01 00"))},
		{"endless varint", 60, 0, unhex(t, "00 ffffffffffffffffffffff")},
	}
}

// Refused before anything is allocated for the counts, and without counting to
// what they say.
func TestParseRequestRefusesLyingCounts(t *testing.T) {
	for _, zeros := range []int{1 << 10, 1 << 20, 16 << 20} {
		for _, c := range lyingBodies(t, zeros) {
			t.Run(fmt.Sprintf("%s/%d zeros", c.name, zeros), func(t *testing.T) {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				req, err := ParseRequest(RequestHeader{Key: c.key, Version: c.version}, c.body)
				runtime.ReadMemStats(&after)
				if req != nil || !errors.Is(err, ErrMalformed) {
					t.Errorf("got %v, %v; want %v", req, err, ErrMalformed)
				}
				if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 1<<20 {
					t.Errorf("allocated %d bytes", allocated)
				}
			})
		}
	}
}

// Elements that are really there cost kmsg 30 times their bytes.
func TestParseRequestBoundsElements(t *testing.T) {
	names := kmsg.NewPtrMetadataRequest()
	names.Version = 9
	for len(names.Topics) < maxElements {
		names.Topics = append(names.Topics, kmsg.MetadataRequestTopic{Topic: new(string)})
	}
	h := RequestHeader{Key: 3, Version: 9}
	if _, err := ParseRequest(h, names.AppendTo(nil)); err != nil {
		t.Errorf("%d elements: %v", maxElements, err)
	}
	names.Topics = append(names.Topics, kmsg.MetadataRequestTopic{Topic: new(string)})
	if _, err := ParseRequest(h, names.AppendTo(nil)); !errors.Is(err, ErrMalformed) {
		t.Errorf("one more: %v", err)
	}
}
