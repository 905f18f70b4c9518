package produce

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/wadi-log/wadi/metadata"
)

const (
	// maxFilesPerCommit and maxAppendsPerCommit bound one metadata transaction.
	maxFilesPerCommit   = 64
	maxAppendsPerCommit = 20_000
	// commitAttempt bounds one try of a commit; after it the outcome is unknown.
	commitAttempt = 15 * time.Second
)

// commitInOrder takes uploaded files from the head of the queue, as many as
// are ready, and commits them together: while one transaction is under way
// the next files gather, so the store sees fewer and larger ones under load.
func (a *Accumulator) commitInOrder() {
	for {
		files, failed, stopped := a.ready()
		switch {
		case failed != nil:
			a.failQueue(failed.err)
		case len(files) > 0:
			a.commit(files)
		case stopped:
			return
		default:
			<-a.commitKick
		}
	}
}

// ready returns the uploaded files at the head of the queue, or the head if
// its upload failed, or that there is nothing left to wait for.
func (a *Accumulator) ready() (files []*file, failed *file, stopped bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	appends := 0
	for _, f := range a.inFlight {
		select {
		case <-f.uploaded:
		default:
			return files, nil, false
		}
		if f.err != nil {
			if len(files) == 0 {
				failed = f
			}
			return files, failed, false
		}
		appends += len(f.commit.Appends)
		if len(files) > 0 && (appends > maxAppendsPerCommit || len(files) == maxFilesPerCommit) {
			return files, nil, false
		}
		files = append(files, f)
	}
	idle := len(a.inFlight) == 0 && a.open == nil && len(a.sealed) == 0
	return files, nil, a.stopping && idle
}

// commit commits the files, and answers their waiters. It tries as long as the
// store may come back: an agent that gave up after an unknown outcome could
// tell a producer "failed" for records that are there.
func (a *Accumulator) commit(files []*file) {
	call := make([]metadata.File, len(files))
	for i, f := range files {
		call[i] = f.commit
	}
	start := time.Now()
	result, err := a.commitUntilKnown(call)
	if err != nil {
		a.failQueue(err)
		return
	}
	a.metrics.commit.Observe(time.Since(start).Seconds())
	a.metrics.filesPerCommit.Observe(float64(len(files)))
	bodies := make([][]byte, len(files))
	for i, f := range files {
		bodies[i] = f.body
	}
	a.committed(call, bodies, result.Commits)
	a.remove(len(files))
	var late error
	for i, f := range files {
		a.metrics.acked.Observe(time.Since(f.opened).Seconds())
		f.finish(result.Files[i], nil)
		late = errors.Join(late, tooLate(result.Files[i]))
	}
	if late != nil {
		a.failQueue(late)
	}
	kick(a.paceKick)
}

// tooLate returns the error of a file that was refused as a whole for its age.
func tooLate(r metadata.FileResult) error {
	if len(r.Outcomes) > 0 && len(r.Outcomes[0]) > 0 && errors.Is(r.Outcomes[0][0].Err, metadata.ErrFileTooOld) {
		return fmt.Errorf("%w; the metadata store was away for long, or this machine's clock is wrong", r.Outcomes[0][0].Err)
	}
	return nil
}

func (a *Accumulator) commitUntilKnown(files []metadata.File) (metadata.CommitResult, error) {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval = 20 * time.Millisecond
	pause.MaxInterval = 2 * time.Second
	for tries := 1; ; tries++ {
		ctx, cancel := context.WithTimeout(a.hard, commitAttempt)
		result, err := a.store.CommitFiles(ctx, files)
		cancel()
		transient := errors.Is(err, metadata.ErrUnavailable) || errors.Is(err, metadata.ErrOutcomeUnknown) ||
			errors.Is(err, context.DeadlineExceeded)
		if err == nil || !transient || a.hard.Err() != nil {
			return result, err
		}
		a.metrics.commitRetries.Inc()
		if tries == 1 {
			a.log.Warn("commit failed; trying again until the metadata store answers", "error", err, "files", len(files))
		}
		select {
		case <-time.After(pause.NextBackOff()):
		case <-a.hard.Done():
			return result, fmt.Errorf("%w (last: %w)", ErrStopped, err)
		}
	}
}

// remove takes the first n files out of the queue.
func (a *Accumulator) remove(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.inFlight = append(a.inFlight[:0:0], a.inFlight[n:]...)
}

// failQueue fails everything that is accumulated and not committed: a later
// batch of a producer must not be committed when an earlier one was not, or the
// producer's retry would come out of order. What is added while uploads are
// being cancelled belongs to it.
func (a *Accumulator) failQueue(cause error) {
	a.mu.Lock()
	a.failing = true
	uploading := slices.Clone(a.inFlight)
	a.mu.Unlock()
	// An upload may still run and write to its file. Whether it succeeds does
	// not matter: an object that is never committed is an orphan.
	for _, f := range uploading {
		f.cancelUpload()
	}
	for _, f := range uploading {
		<-f.uploaded
	}

	a.mu.Lock()
	files := slices.Concat(a.inFlight, a.sealed)
	if a.open != nil {
		files = append(files, a.open)
	}
	a.inFlight, a.sealed, a.open, a.failing = nil, nil, nil, false
	a.mu.Unlock()

	a.metrics.failed.Add(float64(len(files)))
	a.log.Error("data files failed; their producers are told to retry", "error", cause, "files", len(files))
	for _, f := range files {
		f.finish(metadata.FileResult{}, fmt.Errorf("%w: %w", ErrFileFailed, cause))
	}
	kick(a.paceKick)
}
