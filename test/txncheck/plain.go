package txncheck

import (
	"context"
	"fmt"
	"time"
)

// plain is a producer without transactions, but idempotent: what it writes counts
// at once, and once.
type plain struct {
	run           *Run
	number, lives int
}

func (w *plain) live(ctx context.Context) {
	for ctx.Err() == nil {
		w.lives++
		name := fmt.Sprintf("plain-%d.%d", w.number, w.lives)
		client, line, err := w.run.client(name, w.run.config.Losses, w.run.producing(w.number)...)
		if err != nil {
			w.run.journal.problem(Broken, "%s: %v", name, err)
			return
		}
		p := &producer{client: client, line: line, txn: w.run.journal.begin(name, false), before: -1}
		w.produce(ctx, p)
		p.crash()
	}
}

// produce sends bursts until one fails.
func (w *plain) produce(ctx context.Context, p *producer) {
	r := random(w.run.config.Seed, "plain", w.number<<16|w.lives)
	for ctx.Err() == nil && !p.failed.Load() {
		for range 1 + r.IntN(10) {
			w.run.send(p, send{w.run.written[r.IntN(len(w.run.written))], r.IntN(200)}, noSource, 0)
		}
		if !p.flush() || !pause(ctx, time.Duration(20+r.IntN(60))*time.Millisecond) {
			return
		}
	}
}
