package objstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
)

// ProbePrefix is where Probe's objects lie. One that is old was left by a process that died.
const ProbePrefix = "probe/"

// Probe finds out whether b can do what will be asked of it: it puts a small
// object under ProbePrefix, reads it back, lists it and deletes it. Four requests
// at the start of an agent name a missing permission before a producer meets it.
func Probe(ctx context.Context, b Bucket) error {
	key, want := ProbePrefix+rand.Text(), []byte("wadi probes whether it can write here")
	if err := b.Put(ctx, key, want); err != nil {
		return err
	}
	got, err := b.Get(ctx, key, 0, -1)
	switch {
	case errors.Is(err, ErrNotFound):
		return fmt.Errorf("%w: --objects: the store lost %q right after it was written; it must be read-after-write consistent", ErrConfig, key)
	case err != nil:
		return err
	case !bytes.Equal(got, want):
		return fmt.Errorf("%w: --objects: %q read back other bytes than were written; does a proxy change them?", ErrConfig, key)
	}
	listed := false
	err = b.List(ctx, key, func(ObjectInfo) error { listed = true; return nil })
	switch {
	case err != nil:
		return err
	case !listed:
		return fmt.Errorf("%w: --objects: a listing misses %q right after it was written; it must be consistent", ErrConfig, key)
	}
	return b.Delete(ctx, key)
}

// ProbeReading finds out whether b can be listed and read, and writes nothing: it asks
// for an object that doesn't exist.
func ProbeReading(ctx context.Context, b Bucket) error {
	key := ProbePrefix + rand.Text()
	if err := b.List(ctx, key, func(ObjectInfo) error { return nil }); err != nil {
		return err
	}
	if _, err := b.Get(ctx, key, 0, -1); !errors.Is(err, ErrNotFound) {
		return err
	}
	return nil
}
