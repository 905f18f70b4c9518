package produce

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/schollz/progressbar/v3"

	"github.com/wadi-log/wadi/cmd/wadi/internal/terminal"
)

// progressAfter is how long an input must take to be worth a bar.
const progressAfter = time.Second

// progress draws a bar of acknowledged bytes with their rate, for people only.
type progress struct {
	w       io.Writer
	counts  func() (records, bytes int64)
	total   int64 // bytes of the input, -1 when unknown
	started time.Time
	drawn   time.Time
	bar     *progressbar.ProgressBar
	silent  bool
}

// newProgress makes a progress that starts now. It draws nothing when w is
// no terminal, or when the input is typed by hand.
func newProgress(w io.Writer, in any, counts func() (records, bytes int64), quiet bool) *progress {
	return &progress{
		w: w, counts: counts, total: inputSize(in), started: time.Now(),
		silent: quiet || !terminal.Redraws(w) || terminal.Is(in),
	}
}

// inputSize is what a regular file has left to read from its start, -1 for
// anything else.
func inputSize(in any) int64 {
	file, ok := in.(*os.File)
	if !ok {
		return -1
	}
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return -1
	}
	return info.Size()
}

// update draws the bar, at most ten times a second.
func (p *progress) update() {
	if p.silent {
		return
	}
	now := time.Now()
	if now.Sub(p.started) < progressAfter || now.Sub(p.drawn) < 100*time.Millisecond {
		return
	}
	p.drawn = now
	if p.bar == nil {
		p.bar = progressbar.NewOptions64(p.total,
			progressbar.OptionSetWriter(p.w),
			progressbar.OptionShowBytes(true),
			progressbar.OptionUseIECUnits(true),
			progressbar.OptionSetWidth(30),
			progressbar.OptionSetPredictTime(p.total > 0),
			progressbar.OptionClearOnFinish(),
		)
	}
	_, bytes := p.counts()
	if err := p.bar.Set64(bytes); err != nil {
		p.silent = true // the terminal went away; the records go on
	}
}

// finish takes the bar away.
func (p *progress) finish() {
	if p.bar == nil {
		return
	}
	if err := p.bar.Clear(); err != nil {
		p.silent = true
	}
}

// summary is the line for the end.
func (p *progress) summary(topic string) string {
	records, bytes := p.counts()
	took := time.Since(p.started)
	perSecond := float64(records) / max(took.Seconds(), 1e-3)
	return fmt.Sprintf("produced %s records (%s) to %s in %v, %s a second",
		humanize.Comma(records), humanize.IBytes(uint64(bytes)), topic, took.Round(time.Millisecond), humanize.Comma(int64(perSecond)))
}
