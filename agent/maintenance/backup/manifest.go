package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore"
)

var (
	// ErrDamaged: an object of a snapshot is missing or not what was written.
	ErrDamaged = errors.New("damaged snapshot")
	// ErrVersion: a newer wadi wrote the snapshot.
	ErrVersion = errors.New("snapshot of a newer wadi")
	// ErrNoSnapshot: there is no whole snapshot, or none of the name.
	ErrNoSnapshot = errors.New("no snapshot")
)

// Manifest says what a snapshot is made of.
type Manifest struct {
	// Version is metadata.SnapshotVersion.
	Version int `json:"version"`
	// Name is the snapshot's, also in its keys.
	Name      string `json:"name"`
	ClusterID string `json:"cluster_id"`
	// At, State and LastSeq are those of its Head; LastSeq is 0 in manifests that were written without.
	At      time.Time `json:"at"`
	State   string    `json:"state"`
	LastSeq int64     `json:"last_seq"`
	Parts   []Part    `json:"parts"`
}

// Part is one object with rows.
type Part struct {
	Rows int64 `json:"rows"`
	// Size is the object's length, RawSize that of the lines in it, both in bytes.
	Size    int64  `json:"size"`
	RawSize int64  `json:"raw_size"`
	CRC     uint32 `json:"crc32c"`
}

// RowCount is the number of rows of all parts.
func (m Manifest) RowCount() (n int64) {
	for _, p := range m.Parts {
		n += p.Rows
	}
	return n
}

// Size is the number of bytes of all parts, as they are stored.
func (m Manifest) Size() (n int64) {
	for _, p := range m.Parts {
		n += p.Size
	}
	return n
}

// maxManifest is more than any manifest has: one of a million parts.
const maxManifest = 128 << 20

const (
	prefix       = "snapshots/"
	manifestFile = "manifest.json"
	nameLayout   = "20060102T150405.000Z"
)

var validName = regexp.MustCompile(`^\d{8}T\d{6}\.\d{3}Z-[0-9a-f]{8}$`)

// newName names the snapshot of the time. Names sort by it, and behind the newest one that there is: should the store's
// clock have gone back, by a later time.
func newName(at time.Time, l Listing) string {
	for _, names := range [][]string{l.Whole, l.Torn} {
		if len(names) > 0 {
			if least := nameTime(names[0]).Add(time.Millisecond); at.Before(least) {
				at = least
			}
		}
	}
	return at.UTC().Format(nameLayout) + "-" + uuid.NewString()[:8]
}

// nameTime is the time in a name.
func nameTime(name string) time.Time {
	at, err := time.Parse(nameLayout, name[:len(nameLayout)])
	if err != nil {
		return time.Time{} // digits that are no time: as old as can be
	}
	return at
}

func manifestKey(name string) string { return prefix + name + "/" + manifestFile }

func partKey(name string, i int) string {
	return fmt.Sprintf("%s%s/part-%05d.jsonl.zst", prefix, name, i)
}

// cutKey takes a key apart; ok is false for what is no snapshot's.
func cutKey(key string) (name, file string, ok bool) {
	rest, ok := strings.CutPrefix(key, prefix)
	if !ok {
		return "", "", false
	}
	name, file, ok = strings.Cut(rest, "/")
	return name, file, ok && validName.MatchString(name)
}

// ReadManifest reads the manifest of the snapshot of the name. Errors: ErrNoSnapshot, ErrDamaged,
// ErrVersion, the bucket's.
func ReadManifest(ctx context.Context, bucket objstore.Bucket, name string) (Manifest, error) {
	if !validName.MatchString(name) {
		return Manifest{}, fmt.Errorf("%w has the name %q", ErrNoSnapshot, name)
	}
	b, err := bucket.Get(ctx, manifestKey(name), 0, maxManifest)
	if errors.Is(err, objstore.ErrNotFound) {
		return Manifest{}, fmt.Errorf("%w has the name %q, or it is torn", ErrNoSnapshot, name)
	}
	if err != nil {
		return Manifest{}, fmt.Errorf("read the manifest of snapshot %s: %w", name, err)
	}
	m, err := parseManifest(b)
	if err == nil && m.Name != name {
		err = fmt.Errorf("%w: it is that of %q", ErrDamaged, m.Name)
	}
	if err != nil {
		return Manifest{}, fmt.Errorf("manifest of snapshot %s: %w", name, err)
	}
	return m, nil
}

func parseManifest(b []byte) (Manifest, error) {
	var m Manifest
	err := json.Unmarshal(b, &m)
	// A newer version may have changed the rest.
	var version struct{ Version int }
	if json.Unmarshal(b, &version) == nil && version.Version > metadata.SnapshotVersion {
		return m, fmt.Errorf("%w: it has version %d, this wadi knows %d; use the newer one", ErrVersion, version.Version, metadata.SnapshotVersion)
	}
	switch {
	case err != nil:
		return m, fmt.Errorf("%w: %w", ErrDamaged, err)
	case m.Version < 1:
		return m, fmt.Errorf("%w: version %d", ErrDamaged, m.Version)
	case len(m.Parts) == 0:
		return m, fmt.Errorf("%w: no parts", ErrDamaged)
	}
	for i, p := range m.Parts {
		if p.Rows < 1 || p.Size < 1 || p.Size > maxPartSize || p.RawSize < 1 || p.RawSize > maxPartRaw {
			return m, fmt.Errorf("%w: part %d has %d rows of %d bytes in %d", ErrDamaged, i, p.Rows, p.RawSize, p.Size)
		}
	}
	return m, nil
}
