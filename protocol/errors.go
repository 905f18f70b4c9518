package protocol

import "errors"

// Errors of frames and requests. All of this package's errors wrap one of the
// sentinels of this file with what was wrong.
var (
	// ErrFrameSize: a frame's size is negative, smaller than a header, or
	// above the limit. What follows cannot be found, so the connection is lost.
	ErrFrameSize = errors.New("invalid frame size")
	// ErrMalformed: a header or body that is not what its version says.
	ErrMalformed = errors.New("malformed request")
	// ErrUnknownKey: no such API, or one that is not served. Kafka closes the
	// connection, as the shape of an answer is unknown.
	ErrUnknownKey = errors.New("unknown API key")
	// ErrUnsupportedVersion: the API is served, not in this version. The
	// answer is UNSUPPORTED_VERSION.
	ErrUnsupportedVersion = errors.New("unsupported API version")
)

// Errors of record batches.
var (
	// ErrCorruptBatch: the batch is short, its length or its CRC lies, or its
	// records do not decompress: CORRUPT_MESSAGE.
	ErrCorruptBatch = errors.New("corrupt record batch")
	// ErrMagic: the batch has a format other than magic 2 (magic 0 and 1 are
	// from before Kafka 0.11): UNSUPPORTED_FOR_MESSAGE_FORMAT or INVALID_RECORD.
	ErrMagic = errors.New("unsupported record batch magic")
	// ErrInvalidRecord: whole, but against the rules: INVALID_RECORD.
	ErrInvalidRecord = errors.New("invalid record")
	// ErrUnsupportedCodec: a compression that does not exist:
	// UNSUPPORTED_COMPRESSION_TYPE.
	ErrUnsupportedCodec = errors.New("unsupported compression codec")
	// ErrTooLarge: decompressed it would be larger than the caller's limit.
	ErrTooLarge = errors.New("decompressed size above the limit")
)
