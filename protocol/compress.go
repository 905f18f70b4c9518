package protocol

import (
	"fmt"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy/xerial"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// Compress compresses as Kafka clients expect it: gzip (RFC 1952), snappy in
// Java's xerial framing, lz4 in frames of independent 64 KiB blocks, zstd. The
// result is the caller's, except that CodecNone returns src.
//
// level is on the codec's scale: gzip 1 to 9 or -1, lz4 1 to 17, zstd -131072 to
// 22 (KIP-390); [Codec.DefaultLevel] is Kafka's default; snappy has none. The
// libraries have fewer steps than that, the nearest is taken. Errors: a level out of
// range, ErrUnsupportedCodec.
func Compress(codec Codec, level int, src []byte) ([]byte, error) {
	if codec == CodecNone {
		return src, nil
	}
	return appendCompressed(make([]byte, 0, len(src)/2), codec, level, src)
}

// appendCompressed appends the compressed src to dst.
func appendCompressed(dst []byte, codec Codec, level int, src []byte) ([]byte, error) {
	if err := codec.checkLevel(level); err != nil {
		return nil, err
	}
	switch codec {
	case CodecNone:
		return append(dst, src...), nil
	case CodecGzip:
		return appendGzip(dst, level, src)
	case CodecSnappy:
		return appendSnappy(dst, src), nil
	case CodecLZ4:
		return appendLZ4(dst, level, src)
	case CodecZstd:
		return appendZstd(dst, level, src)
	}
	return nil, fmt.Errorf("%w: %d", ErrUnsupportedCodec, codec)
}

// appender is an io.Writer onto a slice.
type appender struct{ buf []byte }

func (a *appender) Write(p []byte) (int, error) {
	a.buf = append(a.buf, p...)
	return len(p), nil
}

// gzipWriters pools by level, which a writer keeps for life: -1 to 9.
var gzipWriters [11]sync.Pool

func appendGzip(dst []byte, level int, src []byte) ([]byte, error) {
	out := &appender{buf: dst}
	pool := &gzipWriters[level+1]
	w, _ := pool.Get().(*gzip.Writer)
	if w == nil {
		var err error
		if w, err = gzip.NewWriterLevel(out, level); err != nil {
			return nil, fmt.Errorf("gzip: %w", err)
		}
	} else {
		w.Reset(out)
	}
	defer pool.Put(w)
	if _, err := w.Write(src); err != nil {
		return nil, fmt.Errorf("gzip: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("gzip: %w", err)
	}
	return out.buf, nil
}

// appendSnappy writes the framing of Java's SnappyOutputStream, as brokers do:
// all clients read it, while not all read bare blocks, whose length is also limited.
func appendSnappy(dst, src []byte) []byte {
	// The encoder writes its header only into an empty slice.
	return append(dst, xerial.Encode(nil, src)...)
}

var lz4Writers sync.Pool

func appendLZ4(dst []byte, level int, src []byte) ([]byte, error) {
	out := &appender{buf: dst}
	w, _ := lz4Writers.Get().(*lz4.Writer)
	if w == nil {
		w = lz4.NewWriter(out)
	} else {
		w.Reset(out)
	}
	defer lz4Writers.Put(w)
	err := w.Apply(
		lz4.CompressionLevelOption(lz4Level(level)),
		// What the Java producer writes: small blocks bound the reader's memory,
		// and the batch's CRC makes a second checksum pointless.
		lz4.BlockSizeOption(lz4.Block64Kb),
		lz4.ChecksumOption(false),
		lz4.ConcurrencyOption(1),
	)
	if err != nil {
		return nil, fmt.Errorf("lz4: %w", err)
	}
	if _, err := w.Write(src); err != nil {
		return nil, fmt.Errorf("lz4: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("lz4: %w", err)
	}
	return out.buf, nil
}

// lz4Level maps Kafka's scale. Kafka's default, 9, means the fast compressor there,
// all other numbers mean the high compression of that effort.
func lz4Level(level int) lz4.CompressionLevel {
	steps := [...]lz4.CompressionLevel{
		lz4.Level1, lz4.Level2, lz4.Level3, lz4.Level4, lz4.Level5,
		lz4.Level6, lz4.Level7, lz4.Level8, lz4.Level9,
	}
	if level == levels[CodecLZ4].standard {
		return lz4.Fast
	}
	return steps[min(level, len(steps))-1]
}

// zstdEncoders holds one encoder for each effort that the library knows, made
// at first use. EncodeAll is safe for concurrent use.
var zstdEncoders = func() (encoders [zstd.SpeedBestCompression + 1]func() (*zstd.Encoder, error)) {
	for effort := zstd.SpeedFastest; effort <= zstd.SpeedBestCompression; effort++ {
		encoders[effort] = sync.OnceValues(func() (*zstd.Encoder, error) {
			// The batch has a checksum of its own.
			return zstd.NewWriter(nil, zstd.WithEncoderLevel(effort), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true))
		})
	}
	return encoders
}()

func appendZstd(dst []byte, level int, src []byte) ([]byte, error) {
	encoder, err := zstdEncoders[zstd.EncoderLevelFromZstd(level)]()
	if err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	return encoder.EncodeAll(src, dst), nil
}
