package produce

import (
	"fmt"
	"time"

	"github.com/wadi-log/wadi/objstore/datafile"
)

// uploadTimeout bounds a file's way into the object store, all retries
// included. It stays well below metadata.MaxFileAge, which a file that took
// longer would miss anyway.
const uploadTimeout = 2 * time.Minute

// upload encodes and stores the file, and closes f.uploaded. Retrying a Put is
// the bucket's business (package objstore): the key is the same, the bytes too.
func (a *Accumulator) upload(f *file) {
	defer close(f.uploaded)
	a.metrics.buffered.Observe(time.Since(f.opened).Seconds())
	if f.err != nil { // it got no ID
		return
	}
	if f.err = f.encode(a.config.Compression); f.err != nil {
		f.err = fmt.Errorf("encode data file: %w", f.err)
		return
	}
	a.metrics.fileBytes.Observe(float64(len(f.body)))
	a.metrics.rawBytes.Add(float64(f.bytes))
	a.metrics.storedBytes.Add(float64(len(f.body)))

	start := time.Now()
	if f.err = a.bucket.Put(f.uploadCtx, datafile.Key(f.commit.ID), f.body); f.err != nil {
		f.err = fmt.Errorf("put data file: %w", f.err)
		return
	}
	a.metrics.put.Observe(time.Since(start).Seconds())
}
