package protocol

import (
	"encoding/binary"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// RequestHeader is what precedes every request's body.
type RequestHeader struct {
	Key           int16
	Version       int16
	CorrelationID int32
	// ClientID is "" when null.
	ClientID string
}

// Client is what the requests of one connection tell of their sender.
type Client struct {
	// ID is the client.id of the request.
	ID string
	// Host is the peer's IP address without the port, Port that.
	Host string
	Port uint16
	// Listener is the name of the listener that the client came to.
	Listener string
	// SoftwareName and SoftwareVersion are "" until an ApiVersions request of
	// version 3 or later told them (KIP-511).
	SoftwareName    string
	SoftwareVersion string
}

// ParseRequestHeader splits a frame (without its size prefix) into header and
// body; the body aliases the frame, the client ID is a copy.
//
// Requests of flexible versions have header version 2, which adds tagged
// fields, the others version 1 (KIP-482). Of a key or a version that nobody
// knows the header version is not known either: then only Key, Version and
// CorrelationID are set, body and err are nil, and [ParseRequest] names the fault.
// With ErrMalformed, Key, Version and CorrelationID are set when the frame
// holds them.
func ParseRequestHeader(frame []byte) (h RequestHeader, body []byte, err error) {
	if len(frame) < minFrameBytes {
		return h, nil, fmt.Errorf("%w: header of %d bytes", ErrMalformed, len(frame))
	}
	h.Key = int16(binary.BigEndian.Uint16(frame))
	h.Version = int16(binary.BigEndian.Uint16(frame[2:]))
	h.CorrelationID = int32(binary.BigEndian.Uint32(frame[4:]))
	form := formOf(h.Key)
	if !form.known || h.Version < 0 || h.Version > form.last {
		return h, nil, nil
	}
	r := reader{src: frame[minFrameBytes:]}
	// The client ID keeps its old form (two bytes of length) in header version
	// 2: a broker must be able to read it before it knows the version.
	h.ClientID = string(r.legacyString())
	if h.Version >= form.flexibleFrom {
		r.tags(nil, h.Version)
	}
	if r.err != nil {
		return h, nil, fmt.Errorf("%w: request header: %w", ErrMalformed, r.err)
	}
	return h, r.src, nil
}

// AppendResponse appends the response's whole frame, with its size prefix, to
// dst. The response's own version decides its form, not the request's: an
// ApiVersions request of an unknown version is answered in version 0 (KIP-511).
//
// Flexible versions take response header version 1, which adds an empty tag
// section. ApiVersions is the exception: its header stays at version 0, for
// a client reads it before it knows what the broker speaks.
func AppendResponse(dst []byte, h RequestHeader, resp kmsg.Response) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(h.CorrelationID))
	if resp.IsFlexible() && resp.Key() != keyApiVersions {
		dst = append(dst, 0)
	}
	dst = resp.AppendTo(dst)
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start-4))
	return dst
}

// SizeHint returns about how many bytes [AppendResponse] will append, not less
// than they are for the one response that is large: a Fetch with batches.
func SizeHint(resp kmsg.Response) int {
	const small, perTopic, perPartition = 1 << 10, 300, 100
	fetch, ok := resp.(*kmsg.FetchResponse)
	if !ok {
		return small
	}
	size := small
	for i := range fetch.Topics {
		size += perTopic + perPartition*len(fetch.Topics[i].Partitions)
		for k := range fetch.Topics[i].Partitions {
			size += len(fetch.Topics[i].Partitions[k].RecordBatches)
		}
	}
	return size
}
