package s3wire

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wadi-log/wadi/objstore"
)

// CallTime is how long a request may take, besides the time for its bytes
// (objstore.TransferTime). It leaves a retry time for a second attempt.
const CallTime = 10 * time.Second

// errTimeout is the cause of a context whose Deadline has passed.
var errTimeout = fmt.Errorf("no answer from the object store in time: %w", context.DeadlineExceeded)

// Deadline ends a call that gets no answer. Unlike a context's deadline it
// can be moved while the call runs: a listing has one for each page.
type Deadline struct {
	timer  *time.Timer
	cancel context.CancelCauseFunc
}

// NewDeadline returns the context for a call that moves so many bytes, and its
// Deadline. Stop must be called.
func NewDeadline(ctx context.Context, bytes int64) (context.Context, *Deadline) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(CallTime+objstore.TransferTime(bytes), func() { cancel(errTimeout) })
	return ctx, &Deadline{timer: timer, cancel: cancel}
}

// Restart gives the call CallTime from now on.
func (d *Deadline) Restart() { d.timer.Reset(CallTime) }

// Pause stops the clock until Restart.
func (d *Deadline) Pause() { d.timer.Stop() }

// Stop releases the Deadline.
func (d *Deadline) Stop() {
	d.timer.Stop()
	d.cancel(nil)
}

// timeout returns err, or errTimeout where a Deadline ended the call:
// "context canceled" would name the wrong reason.
func timeout(ctx context.Context, err error) error {
	if errors.Is(err, context.Canceled) && errors.Is(context.Cause(ctx), errTimeout) {
		return errTimeout
	}
	return err
}
