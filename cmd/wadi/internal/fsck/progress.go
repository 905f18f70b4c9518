package fsck

import (
	"fmt"
	"io"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/wadi-log/wadi/agent/maintenance/fsck"
	"github.com/wadi-log/wadi/cmd/wadi/internal/terminal"
)

// progress tells how far a check is: a terminal has a line that changes, a log a line now and then.
type progress struct {
	w       io.Writer
	redraws bool
	every   time.Duration
	now     func() time.Time
	last    time.Time
	drawn   bool
}

func newProgress(w io.Writer) *progress {
	p := &progress{w: w, redraws: terminal.Redraws(w), every: 30 * time.Second, now: time.Now}
	if p.redraws {
		p.every = 200 * time.Millisecond
	}
	p.last = p.now()
	return p
}

func (p *progress) show(u fsck.Progress) {
	now := p.now()
	if now.Sub(p.last) < p.every {
		return
	}
	p.last = now
	what := map[string]string{"index": "rows of the index", "objects": "objects", "files": "data files"}[u.Step]
	// Nobody is worse off for a line that can't be written.
	text := fmt.Sprintf("checked %s %s, findings so far: %s", humanize.Comma(u.Done), what, humanize.Comma(u.Findings))
	if p.redraws {
		p.drawn = true
		_, _ = fmt.Fprintf(p.w, "\r\x1b[K%s", text)
	} else {
		_, _ = fmt.Fprintln(p.w, text)
	}
}

// end clears the line.
func (p *progress) end() {
	if p.drawn {
		_, _ = fmt.Fprint(p.w, "\r\x1b[K")
	}
}
