package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/wadi-log/wadi/agent/maintenance/backup"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/metadata/postgres"
	"github.com/wadi-log/wadi/metadata/sqlite"
	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/dir"
	"github.com/wadi-log/wadi/objstore/memory"
	"github.com/wadi-log/wadi/objstore/minio"
	"github.com/wadi-log/wadi/objstore/s3"
)

// openTimeout bounds the wait for a store at the start: long enough for a
// database that starts beside us, short enough for an operator who waits.
const openTimeout = 30 * time.Second

// MetadataURL is the metadata store that the config means: what is set, or
// SQLite in the data folder.
func (c Config) MetadataURL() string {
	if c.Metadata != "" {
		return c.Metadata
	}
	return "sqlite:" + filepath.Join(c.DataDir, "metadata.db")
}

// ObjectsURL is the object store that the config means: what is set, or a
// folder in the data folder.
func (c Config) ObjectsURL() string {
	if c.Objects != "" {
		return c.Objects
	}
	return "file:" + filepath.Join(c.DataDir, "objects")
}

// scheme returns a URL's scheme.
func scheme(url string) string {
	s, _, _ := strings.Cut(url, ":")
	return s
}

// Access is what a store is opened for.
type Access int

const (
	// ReadWrite sets up a store that is empty, and tries out that objects can be written.
	ReadWrite Access = iota
	// ReadOnly is for who calls only what reads. Nothing is written, not even to try
	// it out, so it needs no permission to; a store that doesn't exist is an error.
	ReadOnly
)

// OpenMetadata opens the metadata store of the URL.
func OpenMetadata(ctx context.Context, url string, access Access) (metadata.Store, error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	if scheme(url) != "sqlite" {
		return choose(access, postgres.Open, postgres.OpenReadOnly)(ctx, url)
	}
	path := strings.TrimPrefix(strings.TrimPrefix(url, "sqlite:"), "//")
	if access == ReadOnly {
		return sqlite.OpenReadOnly(ctx, path)
	}
	if err := makeFolder(filepath.Dir(path), "--metadata or --data-dir"); err != nil {
		return nil, err
	}
	return sqlite.Open(ctx, path)
}

// Where the metadata store has no connection to give, agents try again after waits from the one to the other, each
// at its own times.
const (
	openRetryFirst = 250 * time.Millisecond
	openRetryMost  = 10 * time.Second
)

// openMetadata opens the agent's metadata store. Where many agents start at once, or the server itself does, it waits until
// there is a connection; everything else that may be wrong is told at once.
func (a *Agent) openMetadata(ctx context.Context) (metadata.Store, error) {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = openRetryFirst, openRetryMost
	for {
		store, err := OpenMetadata(ctx, a.config.MetadataURL(), ReadWrite)
		if !errors.Is(err, metadata.ErrNoConnection) {
			return store, err
		}
		wait := pause.NextBackOff()
		a.log.Warn("the metadata store has no connection to give; the agent waits for one", "error", err, "next_try_in", wait.Round(time.Millisecond))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// choose returns the function for the access.
func choose[F any](access Access, readWrite, readOnly F) F {
	if access == ReadOnly {
		return readOnly
	}
	return readWrite
}

func makeFolder(path, setting string) error {
	if err := os.MkdirAll(path, 0o750); err != nil {
		return fmt.Errorf("%s: can't make the folder: %w; choose one that this user may write to", setting, err)
	}
	return nil
}

// OpenObjects opens the object store and decorates it, from the outside in: a
// failed call is retried, a slow read of each try is asked for twice, and every
// request that the store sees is counted, as it is on the bill.
func OpenObjects(ctx context.Context, c Config, access Access, reg prometheus.Registerer) (objstore.Bucket, error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	bucket, err := openStore(ctx, c, access)
	if err != nil {
		return nil, err
	}
	bucket = objstore.Metrics(bucket, reg)
	if remote := scheme(c.ObjectsURL()); remote == "s3" || remote == "minio" {
		bucket = objstore.Hedge(bucket, 0)
	}
	return objstore.Retry(bucket, objstore.DefaultRetryPolicy()), nil
}

// mostSkew is how much the clocks of this machine and of the metadata store may differ at the start.
const mostSkew = metadata.MaxFileAge / 2

// storeClock is a metadata store's clock.
type storeClock interface {
	Now(ctx context.Context) (time.Time, error)
}

// checkClock refuses a clock that is so far off that the store would refuse data files for their age: all that
// producers send to such an agent would fail, for as long as it is told to them.
func checkClock(ctx context.Context, store storeClock) error {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	is, err := store.Now(ctx)
	if err != nil {
		return err
	}
	if off := time.Since(is); off.Abs() > mostSkew {
		way := "ahead of"
		if off < 0 {
			way = "behind"
		}
		return fmt.Errorf("this machine's clock is %v %s the metadata store's, which would refuse what is produced; set the clocks, best by NTP", off.Abs().Round(time.Second), way)
	}
	return nil
}

// claimBucket makes sure that the object store goes with the metadata store: what
// the latter doesn't know, background work deletes.
func (a *Agent) claimBucket(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	clusterID, err := a.store.ClusterID(ctx)
	if err != nil {
		return err
	}
	if err := objstore.Claim(ctx, a.bucket, clusterID); err != nil {
		return err
	}
	return backup.CheckNotBehind(ctx, a.store, a.bucket)
}

func openStore(ctx context.Context, c Config, access Access) (objstore.Bucket, error) {
	url := c.ObjectsURL()
	switch scheme(url) {
	case "s3":
		config, err := s3.ParseURL(url)
		if err != nil {
			return nil, err
		}
		config.AccessKey, config.SecretKey = c.ObjectsAccessKey, c.ObjectsSecretKey
		return choose(access, s3.Open, s3.OpenReadOnly)(ctx, config)
	case "minio":
		config, err := minio.ParseURL(url)
		if err != nil {
			return nil, err
		}
		config.AccessKey, config.SecretKey = c.ObjectsAccessKey, c.ObjectsSecretKey
		return choose(access, minio.Open, minio.OpenReadOnly)(ctx, config)
	case "file":
		path, err := dir.ParseURL(url)
		if err != nil {
			return nil, err
		}
		return choose(access, dir.Open, dir.OpenReadOnly)(ctx, path)
	case "mem":
		if err := memory.ParseURL(url); err != nil {
			return nil, err
		}
		return memory.Open(), nil
	}
	return nil, errors.New("--objects: unknown kind of store")
}

// Pace of the write path, by what a PUT costs: on s3:// money and tens of
// milliseconds, elsewhere neither.
const (
	remoteFlushInterval = 250 * time.Millisecond
	localFlushInterval  = 5 * time.Millisecond
	// remotePutRate keeps a busy agent with little data at 4 PUTs a second:
	// about 350,000 a day.
	remotePutRate = 4
)

// pace fills in what the config leaves to us.
func (c Config) pace() (flushInterval time.Duration, putRate float64) {
	flushInterval, putRate = c.FlushInterval, c.PutRate
	paid := scheme(c.ObjectsURL()) == "s3"
	if flushInterval == 0 {
		flushInterval = localFlushInterval
		if paid {
			flushInterval = remoteFlushInterval
		}
	}
	switch {
	case putRate < 0:
		putRate = 0
	case putRate == 0 && paid:
		putRate = remotePutRate
	}
	return flushInterval, putRate
}
