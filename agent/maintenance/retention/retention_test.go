package retention

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol/configs"
)

// TestRetentionDropsWhatConfigsLetGo writes five runs of 10 records, a minute and 1,000
// bytes each, and looks a minute after the last.
func TestRetentionDropsWhatConfigsLetGo(t *testing.T) {
	for _, test := range []struct {
		name   string
		static map[string]string
		topic  map[string]string
		want   int64
	}{
		{"a week by default", nil, nil, 0},
		{"by time", nil, map[string]string{"retention.ms": "150000"}, 30},
		{"by time, to the millisecond", nil, map[string]string{"retention.ms": "180000"}, 20},
		{"by time, everything", nil, map[string]string{"retention.ms": "1000"}, 50},
		{"no time at all", nil, map[string]string{"retention.ms": "0"}, 50},
		{"no limit of time", map[string]string{"log.retention.ms": "1000"}, map[string]string{"retention.ms": "-1"}, 0},
		{"more time than there was", nil, map[string]string{"retention.ms": "9223372036854775806"}, 0},
		{"by the agent's default", map[string]string{"log.retention.minutes": "4"}, nil, 10},
		{"by size", nil, map[string]string{"retention.bytes": "2500"}, 20},
		{"by size, to the byte", nil, map[string]string{"retention.bytes": "3000"}, 20},
		{"by size, a byte more", nil, map[string]string{"retention.bytes": "3001"}, 10},
		{"by size, smaller than a run", nil, map[string]string{"retention.bytes": "1"}, 40},
		{"no size at all", nil, map[string]string{"retention.bytes": "0"}, 50},
		{"larger than it is", nil, map[string]string{"retention.bytes": "5001"}, 0},
		{"by both, size first", nil, map[string]string{"retention.bytes": "1000", "retention.ms": "200000"}, 40},
		{"by both, time first", nil, map[string]string{"retention.bytes": "4000", "retention.ms": "90000"}, 40},
		{"compacted", nil, map[string]string{"cleanup.policy": "compact", "retention.ms": "0", "retention.bytes": "0"}, 0},
		{"compacted and deleted", nil, map[string]string{"cleanup.policy": "compact,delete", "retention.ms": "150000"}, 30},
		{"kept for ever", nil, map[string]string{"cleanup.policy": "", "retention.ms": "0"}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			run(t, func(c *cluster) {
				var err error
				c.broker, err = configs.ParseBroker(test.static)
				c.must(err)
				topic := c.topic("t", 1, test.topic)
				a := c.agent()
				for range 5 {
					c.write(10, 1000, time.Now(), topic.Partitions...)
					c.sleep(time.Minute)
				}
				c.must(a.look(c.Context()))
				c.wantStarts(topic, test.want)
				if got := a.metric("records_total"); got != float64(test.want) {
					t.Errorf("%v records counted, want %d", got, test.want)
				}
				c.must(a.look(c.Context()))
				c.wantStarts(topic, test.want)
			})
		})
	}
}

// look is a round at once, whoever has the lease.
func (a *agent) look(ctx context.Context) error {
	a.must(a.Store.ReleaseLease(ctx, a.holder, lease))
	_, err := a.job.Round(ctx, a.p)
	return err
}

func TestRetentionTakesOnlyTheFront(t *testing.T) {
	run(t, func(c *cluster) {
		topic := c.topic("t", 3, map[string]string{"retention.ms": "60000"})
		old, young := time.Now().Add(-time.Hour), time.Now()
		c.write(1, 100, old, topic.Partitions[0])
		c.write(1, 100, young, topic.Partitions[0], topic.Partitions[1])
		c.write(1, 100, old, topic.Partitions[0], topic.Partitions[1]) // behind a young one
		c.must(c.agent().look(c.Context()))
		c.wantStarts(topic, 1, 0, 0)
	})
}

func TestRecordsWithoutTimestampsAreAsOldAsTheirFile(t *testing.T) {
	run(t, func(c *cluster) {
		topic := c.topic("t", 1, map[string]string{"retention.ms": "60000"})
		a := c.agent()
		c.write(1, 100, time.UnixMilli(-1), topic.Partitions...)
		c.sleep(50 * time.Second)
		c.must(a.look(c.Context()))
		c.wantStarts(topic, 0)
		c.sleep(11 * time.Second)
		c.must(a.look(c.Context()))
		c.wantStarts(topic, 1)
	})
}

func TestConfigsChangeLive(t *testing.T) {
	run(t, func(c *cluster) {
		topic, other := c.topic("t", 1, nil), c.topic("other", 1, map[string]string{"retention.ms": "-1"})
		a := c.agent()
		c.write(1, 100, time.Now(), topic.Partitions[0], other.Partitions[0])
		c.must(a.round())
		c.wantStarts(topic, 0)
		_, err := c.AlterTopicConfigs(c.Context(), topic.ID, func(map[string]string) (map[string]string, error) {
			return map[string]string{"retention.ms": "1000"}, nil
		})
		c.must(err)
		c.must(a.round())
		c.wantStarts(topic, 1)

		_, err = c.AlterTopicConfigs(c.Context(), topic.ID, func(map[string]string) (map[string]string, error) { return nil, nil })
		c.must(err)
		c.write(1, 100, time.Now(), topic.Partitions...)
		c.must(a.round())
		c.wantStarts(topic, 1)
		c.broker, err = c.broker.With(map[string]string{"log.retention.ms": "1000"}, nil)
		c.must(err)
		c.must(a.round())
		c.wantStarts(topic, 2)
		c.wantStarts(other, 0)
	})
}

// TestTopicWhoseConfigsAreNotUnderstoodKeepsItsRecords: one version of Wadi stores what
// another one does not know.
func TestTopicWhoseConfigsAreNotUnderstoodKeepsItsRecords(t *testing.T) {
	run(t, func(c *cluster) {
		strange := c.topic("strange", 1, map[string]string{"retention.ms": "0", "retention.of.the.future": "1"})
		plain := c.topic("plain", 1, map[string]string{"retention.ms": "0"})
		a := c.agent()
		c.write(1, 100, time.Now(), strange.Partitions[0], plain.Partitions[0])
		c.must(a.round())
		c.must(a.round())
		c.wantStarts(strange, 0)
		c.wantStarts(plain, 1)
		if n := strings.Count(c.logged.String(), "topic=strange"); n != 1 {
			t.Errorf("reported %d times, want once:\n%s", n, c.logged.String())
		}
	})
}

func TestManyPartitionsAreMovedInFewChanges(t *testing.T) {
	run(t, func(c *cluster) {
		const partitions = 2*slice + 1
		topic := c.topic("t", partitions, map[string]string{"retention.ms": "0"})
		quiet := c.topic("quiet", slice, map[string]string{"retention.ms": "0"})
		a := c.agent()
		c.write(3, 10, time.Now(), topic.Partitions...)
		before, err := c.LastSeq(c.Context())
		c.must(err)
		c.must(a.round())
		for i, start := range c.starts(topic) {
			if start != 3 {
				t.Fatalf("partition %d starts at %d", i, start)
			}
		}
		c.must(a.round())
		after, err := c.LastSeq(c.Context())
		c.must(err)
		if n := after - before; n > 4 {
			t.Errorf("%d changes, want 4 at most", n)
		}
		if got := a.metric("records_total"); got != 3*partitions || a.metric("backlog") != 0 {
			t.Errorf("%v records counted, backlog %v", got, a.metric("backlog"))
		}
		c.wantStarts(quiet, make([]int64, slice)...)
	})
}

func TestOneAgentOfAllLooks(t *testing.T) {
	run(t, func(c *cluster) {
		c.topic("t", 1, map[string]string{"retention.ms": "0"})
		agents := []*agent{c.agent(), c.agent(), c.agent()}
		asked := 0
		c.call = func(name string) fault {
			if name == "RetainedFrom" {
				asked++
			}
			return fault{}
		}
		every := agents[0].job.Every()
		if every != 5*time.Minute {
			t.Errorf("every %v, want log.retention.check.interval.ms", every)
		}
		for range 10 {
			for _, a := range agents {
				_, err := a.job.Round(c.Context(), a.p)
				c.must(err)
			}
			c.sleep(every)
		}
		if asked != 10 {
			t.Errorf("3 agents looked %d times in 10 intervals", asked)
		}
	})
}

// TestRoundThatFailsAnywhereIsRepeatable has each call of a round fail, be carried out and
// fail, and be the last that its agent does. Records that retention lets go are dropped
// by the next round, of this agent or another, and no others ever.
func TestRoundThatFailsAnywhereIsRepeatable(t *testing.T) {
	steps := []string{"AcquireLease", "AllTopics", "Now", "RetainedFrom", "Bounds", "DeleteRecords"}
	for _, step := range steps {
		for mode, kind := range map[string]struct{ persisted, killed bool }{
			"failed": {}, "failed but persisted": {persisted: true}, "killed before": {killed: true}, "killed after": {persisted: true, killed: true},
		} {
			t.Run(step+"/"+mode, func(t *testing.T) {
				run(t, func(c *cluster) {
					topic := c.topic("t", slice+1, map[string]string{"retention.ms": "600000"})
					c.write(2, 10, time.Now().Add(-time.Hour), topic.Partitions...)
					c.write(2, 10, time.Now(), topic.Partitions...)
					a := c.agent()
					ctx, kill := context.WithCancel(c.Context())
					defer kill()
					lost := fmt.Errorf("%w: injected", metadata.ErrOutcomeUnknown)
					faults := 0
					c.call = func(name string) fault {
						switch {
						case ctx.Err() != nil:
							t.Errorf("%s is called by an agent that is dead", name)
						case name == step && faults == 0:
							faults++
							if kind.killed {
								kill()
								return fault{ctx.Err(), kind.persisted}
							}
							return fault{lost, kind.persisted}
						}
						return fault{}
					}
					_, err := a.job.Round(ctx, a.p)
					if faults != 1 || !kind.killed && !errors.Is(err, lost) || kind.killed && !errors.Is(err, context.Canceled) {
						t.Errorf("%d faults, the round ends with %v", faults, err)
					}
					c.call = nil
					if kind.killed {
						a = c.agent()
					}
					c.must(a.round())
					wrong := map[int64]int{}
					for _, start := range c.starts(topic) {
						wrong[start]++
					}
					delete(wrong, 2)
					if len(wrong) > 0 {
						t.Errorf("log starts other than 2: %v", wrong)
					}
				})
			})
		}
	}
}

// TestRoundsThatFailSayForHowLong something has been due.
func TestRoundsThatFailSayForHowLong(t *testing.T) {
	run(t, func(c *cluster) {
		topic := c.topic("t", 2, map[string]string{"retention.ms": "0"})
		c.write(1, 10, time.Now(), topic.Partitions...)
		a := c.agent()
		away := fmt.Errorf("%w: injected", metadata.ErrUnavailable)
		c.call = func(name string) (f fault) {
			if name == "DeleteRecords" {
				f.err = away
			}
			return f
		}
		for i := range 3 {
			if err := a.round(); !errors.Is(err, away) {
				t.Fatalf("the round ends with %v", err)
			}
			if due, want := a.metric("oldest_due_seconds"), float64(i)*a.job.Every().Seconds(); a.metric("backlog") != 2 || due != want {
				t.Errorf("round %d: backlog %v, due for %v s, want 2 and %v", i, a.metric("backlog"), due, want)
			}
		}
		c.call = nil
		c.must(a.round())
		if a.metric("backlog") != 0 || a.metric("oldest_due_seconds") != 0 {
			t.Errorf("at the end: backlog %v, due for %v s", a.metric("backlog"), a.metric("oldest_due_seconds"))
		}
	})
}

func TestDeletedTopicIsNoError(t *testing.T) {
	run(t, func(c *cluster) {
		topic, other := c.topic("t", 1, map[string]string{"retention.ms": "0"}), c.topic("other", 1, map[string]string{"retention.ms": "0"})
		c.write(1, 10, time.Now(), topic.Partitions[0], other.Partitions[0])
		a := c.agent()
		for _, step := range []string{"RetainedFrom", "Bounds", "DeleteRecords"} {
			c.call = func(name string) fault {
				if name == step {
					if err := c.DeleteTopic(c.Context(), topic.ID); err != nil && !errors.Is(err, metadata.ErrUnknownTopic) {
						t.Error(err)
					}
				}
				return fault{}
			}
			c.must(a.round())
			topic = c.topic("t", 1, map[string]string{"retention.ms": "0"})
			c.write(1, 10, time.Now(), topic.Partitions[0], other.Partitions[0])
		}
		c.wantStarts(other, 3)
	})
}

// TestTwoAgentsLookAtOnce: the lease only saves work. Here another agent does a whole round before
// each step of the first one.
func TestTwoAgentsLookAtOnce(t *testing.T) {
	for _, step := range []string{"AllTopics", "Now", "RetainedFrom", "Bounds", "DeleteRecords"} {
		t.Run(step, func(t *testing.T) {
			run(t, func(c *cluster) {
				topic := c.topic("t", 2, map[string]string{"retention.ms": "60000"})
				c.write(2, 10, time.Now().Add(-time.Hour), topic.Partitions...)
				c.write(2, 10, time.Now(), topic.Partitions...)
				a, other := c.agent(), c.agent()
				inside := false
				c.call = func(name string) fault {
					if name == step && !inside {
						inside = true
						c.must(c.ReleaseLease(c.Context(), a.holder, lease))
						_, err := other.job.Round(c.Context(), other.p)
						c.must(err)
					}
					return fault{}
				}
				_, err := a.job.Round(c.Context(), a.p)
				c.must(err)
				c.wantStarts(topic, 2, 2)
				if !inside {
					t.Error("the other agent did nothing")
				}
			})
		})
	}
}

// TestAgentsClocksDontCount has the metadata store's clock two hours off the agents', both ways.
func TestAgentsClocksDontCount(t *testing.T) {
	for _, skew := range []time.Duration{-2 * time.Hour, 2 * time.Hour} {
		t.Run(skew.String(), func(t *testing.T) {
			run(t, func(c *cluster) {
				c.skew = skew
				topic := c.topic("t", 1, map[string]string{"retention.ms": "3600000"})
				now := time.Now().Add(skew)
				c.write(1, 10, now.Add(-61*time.Minute), topic.Partitions...)
				c.write(1, 10, now.Add(-59*time.Minute), topic.Partitions...)
				c.must(c.agent().look(c.Context()))
				c.wantStarts(topic, 1)
			})
		})
	}
}
