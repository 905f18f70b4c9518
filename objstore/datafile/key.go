package datafile

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"iter"
	"strings"
	"time"

	"github.com/google/uuid"
)

const hourLayout = "2006010215"

// Key returns the object key of a data file:
//
//	data/<2 hex of a hash of the ID>/<YYYYMMDDHH, UTC>/<ID>
//
// The hash comes first because object stores spread load by the front of the
// key, and the hour is that of the ID (a UUIDv7, RFC 9562), so that a sweeper
// lists only hours that are over.
func Key(id uuid.UUID) string {
	return prefix(byte(crc32.Checksum(id[:], castagnoli)), IDTime(id)) + id.String()
}

// ParseKey returns the ID of the data file under key. It refuses every key
// that Key would not have made.
func ParseKey(key string) (uuid.UUID, error) {
	id, err := uuid.Parse(key[strings.LastIndexByte(key, '/')+1:])
	if err != nil {
		return uuid.Nil, fmt.Errorf("key %q names no data file: %w", key, err)
	}
	if !isV7(id) || Key(id) != key {
		return uuid.Nil, fmt.Errorf("key %q names no data file", key)
	}
	return id, nil
}

// Prefixes yields the 256 prefixes under which all data files lie whose IDs
// are of the hour that contains t.
func Prefixes(t time.Time) iter.Seq[string] {
	return func(yield func(string) bool) {
		for hash := range 256 {
			if !yield(prefix(byte(hash), t)) {
				return
			}
		}
	}
}

// NewID makes an ID as of the time, for files whose age somebody else's clock will judge.
func NewID(t time.Time) (uuid.UUID, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return uuid.Nil, fmt.Errorf("make a data file's ID: %w", err)
	}
	ms := uint64(t.UnixMilli())
	binary.BigEndian.PutUint16(id[:], uint16(ms>>32))
	binary.BigEndian.PutUint32(id[2:], uint32(ms))
	return id, nil
}

// IDTime returns when the UUIDv7 was made, to the millisecond, in UTC.
func IDTime(id uuid.UUID) time.Time {
	ms := int64(0)
	for _, b := range id[:6] {
		ms = ms<<8 | int64(b)
	}
	return time.UnixMilli(ms).UTC()
}

func prefix(hash byte, t time.Time) string {
	return "data/" + hex.EncodeToString([]byte{hash}) + "/" + t.UTC().Format(hourLayout) + "/"
}

func isV7(id uuid.UUID) bool { return id.Version() == 7 && id.Variant() == uuid.RFC4122 }
