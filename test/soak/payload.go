package soak

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
)

const (
	// minValue and maxValue bound the values' sizes: 1 KiB on average.
	minValue, maxValue = 256, 1792
	// poolBytes is the size of each pool that values are cut from.
	poolBytes = 1 << 20
	// headBytes of a value say what it is; the rest is cut from a pool.
	headBytes = 16
	// recordOverhead is more than what a record and its part of a batch take besides the value.
	recordOverhead = 128
)

// Payload makes the records of a run, each from where it is alone.
type Payload struct {
	seed uint64
	// random doesn't compress, text to about three quarters and, as any of it is met again, less.
	random, text []byte
}

// NewPayload makes the records of the seed.
func NewPayload(seed uint64) *Payload {
	r := rand.NewChaCha8([32]byte(binary.LittleEndian.AppendUint64(make([]byte, 24), seed)))
	p := &Payload{seed: seed, random: make([]byte, poolBytes+maxValue)}
	_, _ = r.Read(p.random) // never fails
	p.text = []byte(base64.StdEncoding.EncodeToString(p.random))[:poolBytes+maxValue]
	return p
}

// Value returns the value of the n-th record of a partition. It is not to be changed.
func (p *Payload) Value(topic, partition int32, n int64, compressible bool) []byte {
	h := p.hash(topic, partition, n)
	value := make([]byte, minValue+int(h%(maxValue-minValue+1)))
	binary.BigEndian.PutUint32(value, uint32(topic))
	binary.BigEndian.PutUint32(value[4:], uint32(partition))
	binary.BigEndian.PutUint64(value[8:], uint64(n))
	pool := p.random
	if compressible {
		pool = p.text
	}
	copy(value[headBytes:], pool[(h>>32)%poolBytes:])
	return value
}

// Check returns an error unless the value is that of the n-th record.
func (p *Payload) Check(topic, partition int32, n int64, compressible bool, value []byte) error {
	if bytes.Equal(value, p.Value(topic, partition, n, compressible)) {
		return nil
	}
	if len(value) < headBytes {
		return fmt.Errorf("a value of %d bytes", len(value))
	}
	t, i, m := int32(binary.BigEndian.Uint32(value)), int32(binary.BigEndian.Uint32(value[4:])), int64(binary.BigEndian.Uint64(value[8:]))
	if t == topic && i == partition && m == n {
		return fmt.Errorf("the right record, of %d bytes, with wrong bytes in it", len(value))
	}
	return fmt.Errorf("record %d of partition %d of topic %d, of %d bytes", m, i, t, len(value))
}

// Key returns the key of the n-th record of a partition with so many keys, of which one
// in sixteen records is the end (a tombstone).
func (p *Payload) Key(topic, partition int32, n int64, keys int) (key int, tombstone bool) {
	h := p.hash(topic, partition, n)
	return int((h >> 8) % uint64(keys)), h%16 == 0
}

func (p *Payload) hash(topic, partition int32, n int64) uint64 {
	// SplitMix64 over all of it.
	h := p.seed
	for _, part := range []uint64{uint64(topic), uint64(partition), uint64(n)} {
		h += part + 0x9e3779b97f4a7c15
		h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
		h = (h ^ h>>27) * 0x94d049bb133111eb
		h ^= h >> 31
	}
	return h
}
