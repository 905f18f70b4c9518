package protocol

import "fmt"

// Codec is how a batch's records are compressed: bits 0 to 2 of its attributes.
type Codec int8

// The codecs of Kafka. Zstandard came with KIP-110: Produce below version 7 and
// Fetch below version 10 know nothing of it.
const (
	CodecNone Codec = iota
	CodecGzip
	CodecSnappy
	CodecLZ4
	CodecZstd
)

var codecNames = [...]string{"none", "gzip", "snappy", "lz4", "zstd"}

func (c Codec) valid() bool { return c >= 0 && int(c) < len(codecNames) }

// String is the codec's name in Kafka's configs.
func (c Codec) String() string {
	if !c.valid() {
		return fmt.Sprintf("codec %d", int8(c))
	}
	return codecNames[c]
}

// ParseCodec takes a name as in producers' compression.type, or "uncompressed",
// which is how the topic config of that name spells none. Errors: ErrUnsupportedCodec.
func ParseCodec(name string) (Codec, error) {
	if name == "uncompressed" {
		return CodecNone, nil
	}
	for i, n := range codecNames {
		if n == name {
			return Codec(i), nil
		}
	}
	return CodecNone, fmt.Errorf("%w: %q", ErrUnsupportedCodec, name)
}

// levelRange is what compression.{gzip,lz4,zstd}.level may be (KIP-390).
type levelRange struct{ min, max, standard int }

// levels of the codecs; those of the others are not looked at. gzip takes -1, its
// own default, besides its range.
var levels = map[Codec]levelRange{
	CodecGzip: {min: 1, max: 9, standard: -1},
	CodecLZ4:  {min: 1, max: 17, standard: 9},
	CodecZstd: {min: -131072, max: 22, standard: 3},
}

// DefaultLevel is the level that Kafka takes where none is configured; 0 for
// codecs without levels.
func (c Codec) DefaultLevel() int { return levels[c].standard }

// checkLevel rejects a level outside of the codec's range.
func (c Codec) checkLevel(level int) error {
	r, leveled := levels[c]
	if !leveled || level == r.standard || level >= r.min && level <= r.max {
		return nil
	}
	return fmt.Errorf("%s level %d: allowed are %d to %d and %d", c, level, r.min, r.max, r.standard)
}
