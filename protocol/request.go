package protocol

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ParseRequest decodes the body that belongs to the header. The request's byte
// slices alias body (a Produce request's records are not copied), so body must
// stay as it is for as long as they are used; its strings are copies.
//
// Bytes after the last field are ignored, as Kafka's broker ignores them.
//
// Errors: ErrUnknownKey, ErrUnsupportedVersion, ErrMalformed. Below the lowest
// version served the request is returned along with ErrUnsupportedVersion where it
// could be decoded, so that an answer can carry the error for each of its topics;
// in all other cases the request is nil with an error.
func ParseRequest(h RequestHeader, body []byte) (kmsg.Request, error) {
	a := lookup(h.Key)
	if a == nil {
		return nil, fmt.Errorf("%w: %d (%s)", ErrUnknownKey, h.Key, kmsg.NameForKey(h.Key))
	}
	if h.Version >= a.Min && h.Version <= a.Max {
		return a.decode(h.Version, body)
	}
	unsupported := fmt.Errorf("%w: %s %d, served are %d to %d", ErrUnsupportedVersion, a.Name, h.Version, a.Min, a.Max)
	if h.Version < 0 || h.Version > a.Max {
		return nil, unsupported
	}
	req, err := a.decode(h.Version, body)
	if err != nil {
		return nil, unsupported
	}
	return req, unsupported
}

// decode checks the body against the API's shape before kmsg allocates by what
// it says.
func (a *api) decode(version int16, body []byte) (kmsg.Request, error) {
	r := reader{src: body, flexible: version >= formOf(a.Key).flexibleFrom}
	r.walk(a.body, version)
	if r.err != nil {
		return nil, fmt.Errorf("%w: %s %d: %w", ErrMalformed, a.Name, version, r.err)
	}
	req := kmsg.RequestForKey(a.Key)
	req.SetVersion(version)
	// ReadFrom copies strings but no bytes. UnsafeReadFrom would let a topic
	// name that somebody keeps hold a frame of 100 MB.
	if err := req.ReadFrom(body); err != nil {
		return nil, fmt.Errorf("%w: %s %d: %w", ErrMalformed, a.Name, version, err)
	}
	return req, nil
}
