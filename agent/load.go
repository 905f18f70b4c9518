package agent

import (
	"bytes"
	"context"
	"os"
	"runtime/metrics"
	"strconv"
	"time"

	"github.com/wadi-log/wadi/agent/produce"
	"github.com/wadi-log/wadi/agent/server"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore"
)

// gauge measures what this agent has to do and how its stores answer, for its beats. It implements
// [cluster.Gauge].
type gauge struct {
	bucket    objstore.Bucket
	clusterID string
	puts      recent
	commits   recent

	// Owned by the goroutine that beats.
	server *server.Server
	last   []traffic // of the last beats, the oldest first
}

// traffic is what went over the sockets by a point in time.
type traffic struct {
	at             time.Time
	received, sent int64
}

// rateBeats is over how many beats the rates of traffic are taken.
const rateBeats = 5

// Load implements cluster.Gauge.
func (g *gauge) Load() metadata.AgentLoad {
	load := metadata.AgentLoad{Put: g.puts.median(), Commit: g.commits.median(), MemoryBytes: residentBytes()}
	if g.server == nil { // it is still being built
		return load
	}
	now := traffic{at: time.Now()}
	load.Connections, now.received, now.sent = g.server.Traffic()
	g.last = append(g.last, now)
	g.last = g.last[max(0, len(g.last)-rateBeats):]
	if over := now.at.Sub(g.last[0].at).Seconds(); over > 0 {
		load.BytesIn = int64(float64(now.received-g.last[0].received) / over)
		load.BytesOut = int64(float64(now.sent-g.last[0].sent) / over)
	}
	return load
}

// Probe implements cluster.Gauge: it puts the object again that says whose the bucket is, with the same
// bytes, since it is a Put that producers wait for. What it answers shows in the next Load.
func (g *gauge) Probe(ctx context.Context) {
	end := g.puts.begin()
	end(objstore.Reclaim(ctx, g.bucket, g.clusterID))
}

// residentBytes is the memory that this process holds of the machine's: what the kernel says, or
// elsewhere than on Linux what Go's runtime has of it.
func residentBytes() int64 {
	if statm, err := os.ReadFile("/proc/self/statm"); err == nil {
		if fields := bytes.Fields(statm); len(fields) > 1 {
			if pages, err := strconv.ParseInt(string(fields[1]), 10, 64); err == nil {
				return pages * int64(os.Getpagesize())
			}
		}
	}
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	return int64(samples[0].Value.Uint64() - samples[1].Value.Uint64())
}

// timedPuts is the object store as the write path sees it, and notes how it answers.
type timedPuts struct {
	produce.Putter
	calls *recent
}

func (t timedPuts) Put(ctx context.Context, key string, body []byte) error {
	end := t.calls.begin()
	err := t.Putter.Put(ctx, key, body)
	end(err)
	return err
}

// timedCommits is the metadata store as the write path sees it, and notes how it answers.
type timedCommits struct {
	produce.Committer
	calls *recent
}

func (t timedCommits) CommitFiles(ctx context.Context, files []metadata.File) (metadata.CommitResult, error) {
	end := t.calls.begin()
	result, err := t.Committer.CommitFiles(ctx, files)
	end(err)
	return result, err
}

// timedBeats is the register as the membership sees it, and notes how it answers: a beat commits
// too, and is all that an agent without producers commits.
type timedBeats struct {
	metadata.Agents
	calls *recent
}

func (t timedBeats) BeatAgent(ctx context.Context, agent metadata.Agent) ([]metadata.Agent, error) {
	end := t.calls.begin()
	alive, err := t.Agents.BeatAgent(ctx, agent)
	end(err)
	return alive, err
}
