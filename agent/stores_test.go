package agent

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/wadi-log/wadi/metadata"
)

// clockOff is a store whose clock is so much ahead of ours, or fails.
type clockOff struct {
	by  time.Duration
	err error
}

func (c clockOff) Now(context.Context) (time.Time, error) { return time.Now().Add(c.by), c.err }

// TestClockThatIsFarOffIsRefused: as that of a Raspberry Pi before it has asked for the time.
func TestClockThatIsFarOffIsRefused(t *testing.T) {
	for _, tc := range []struct {
		store clockOff
		want  string // "" for no error
	}{
		{clockOff{}, ""},
		{clockOff{by: mostSkew - time.Minute}, ""},
		{clockOff{by: time.Minute - mostSkew}, ""},
		{clockOff{by: time.Hour}, "1h0m0s behind the metadata store's"},
		{clockOff{by: -time.Hour}, "1h0m0s ahead of the metadata store's"},
		{clockOff{err: metadata.ErrUnavailable}, metadata.ErrUnavailable.Error()},
	} {
		err := checkClock(t.Context(), tc.store)
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%+v: %v, want %q", tc.store, err, tc.want)
		}
		if tc.store.err != nil && !errors.Is(err, tc.store.err) {
			t.Errorf("%v hides %v", err, tc.store.err)
		}
	}
}
