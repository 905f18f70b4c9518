package agent

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"github.com/wadi-log/wadi/agent/fetch"
)

const (
	// machineShare is the part of a machine's memory that an agent takes for its own where nothing says how
	// much is, and machineBytes the most of it: others live there too.
	machineShare = 2
	machineBytes = 2 << 30
	// fixedMemory is what an agent takes whatever the sizes are: its program, connections and indexes.
	fixedMemory = 256 << 20
	// shares is how many parts the rest of the memory has that sizes are made of. Produce requests, the
	// cache, background work and the answers of consumers have one each; reads of the object store, what is asked of other
	// agents, and what they ask, half of one each. The rest is what they need besides: buffers of sockets and clients, and
	// what the garbage collector has not found yet.
	shares = 8
	// heapPercent is how much of what there is the heap may grow to before the garbage collector is made to hurry.
	heapPercent = 90
	// smallMemory is where memory is dearer than the CPU time of the garbage collector, which then
	// runs four times as often. It costs little: nearly all of the heap are records, which it needn't look through.
	smallMemory   = 1 << 30
	smallGCTarget = 25
	// leastMemory is what the sizes that are fixed or have a least value take together.
	leastMemory = 128 << 20
)

// LimitMemory fills in Memory where it is left to the agent, and tells the garbage collector of this process to
// keep within what there is. In this order, that is what the operator says, GOMEMLIMIT, the limit of the cgroup
// that the process is in, and the machine's memory.
func LimitMemory(c Config, log *slog.Logger) (Config, error) {
	there, shared, err := c.availableMemory(log)
	if err != nil {
		return c, err
	}
	c.Memory = c.memoryOf(there, shared)
	if unlimited() { // else GOMEMLIMIT says it
		debug.SetMemoryLimit(there / 100 * heapPercent)
	}
	if c.Memory < smallMemory && os.Getenv("GOGC") == "" {
		debug.SetGCPercent(smallGCTarget)
	}
	return c, nil
}

// memoryOf is how much the agent takes of what there is. Of what others share, it takes more only for sizes that are set.
func (c Config) memoryOf(there int64, shared bool) int64 {
	if !shared {
		return max(there, leastMemory)
	}
	return max(min(there/machineShare, machineBytes), min(2*c.sizes(), there), leastMemory)
}

// unlimited: nobody has set a memory limit for the process.
func unlimited() bool { return debug.SetMemoryLimit(-1) == math.MaxInt64 }

// availableMemory returns how many bytes there are, and whether others share them.
func (c Config) availableMemory(log *slog.Logger) (there int64, shared bool, err error) {
	switch {
	case c.Memory > 0:
		return c.Memory, false, nil
	case !unlimited():
		return debug.SetMemoryLimit(-1), false, nil
	}
	return foundMemory(memlimit.FromCgroup, memlimit.FromSystem, log)
}

// foundMemory is what the cgroup allows, or what the machine has where that is less or nothing limits the cgroup.
func foundMemory(cgroup, machine memlimit.Provider, log *slog.Logger) (there int64, shared bool, err error) {
	limit, limitErr := cgroup()
	if limitErr != nil && !errors.Is(limitErr, memlimit.ErrNoCgroup) && !errors.Is(limitErr, memlimit.ErrNoLimit) && !errors.Is(limitErr, memlimit.ErrCgroupsNotSupported) {
		// Its file system is not mounted in a sandbox, say.
		log.Warn("the memory limit of the cgroup can't be read, so the agent takes as much as on a machine that it shares; --memory says how much it may take",
			"error", limitErr)
	}
	has, err := machine()
	if err == nil && has == 0 {
		err = errors.New("the system does not tell")
	}
	if err != nil && limitErr != nil {
		return 0, false, fmt.Errorf("--memory: the machine's memory is unknown (%w); say how many bytes the agent may use", err)
	}
	if limitErr == nil && (has == 0 || limit < has) {
		return int64(min(limit, math.MaxInt64)), false, nil
	}
	return int64(min(has, math.MaxInt64)), true, nil
}

// sizes is the sum of those that are set.
func (c Config) sizes() int64 { return c.MemoryBytes + c.CacheBytes + c.JobMemoryBytes }

// share is one of the parts of the memory.
func (c Config) share() int64 { return max(0, c.Memory-fixedMemory) / shares }

// sized fills in all sizes that are left to the agent.
func (c Config) sized() Config {
	if c.Memory == 0 {
		c.Memory = machineBytes
	}
	share := c.share()
	if c.MemoryBytes == 0 {
		c.MemoryBytes = max(share, leastRequestBytes(c.FlushBytes))
	}
	if c.CacheBytes == 0 {
		c.CacheBytes = max(share, leastCacheBytes)
	}
	if c.JobMemoryBytes == 0 {
		c.JobMemoryBytes = max(share, leastJobMemoryBytes, mergesInJobMemory*c.MergeBytes)
	}
	if c.MergeBytes == 0 {
		c.MergeBytes = min(c.JobMemoryBytes/mergesInJobMemory, maxMergeBytes)
	}
	return c
}

// Least sizes, and how they hang together.
const (
	leastCacheBytes     = 16 << 20
	leastJobMemoryBytes = 16 << 20
	leastResponseBytes  = 8 << 20
	mergesInJobMemory   = 4
	// maxMergeBytes is the size of merged files where there is memory for it.
	maxMergeBytes = 64 << 20
)

// leastRequestBytes is the memory for produce requests that goes with a size of data files: as many are on their
// way at a time.
func leastRequestBytes(flushBytes int64) int64 { return uploads * flushBytes }

// blocks are the bounds of the block cache and its reads, of which each pool has as much.
func (c Config) blocks() fetch.BlocksConfig {
	blocks := fetch.DefaultBlocksConfig(c.CacheBytes)
	reads := c.share() / 4
	blocks.HotBytes = max(min(blocks.HotBytes, reads), blocks.BlockBytes)
	blocks.ColdBytes = max(min(blocks.ColdBytes, reads), blocks.BlockBytes)
	blocks.PeerBytes = max(min(blocks.PeerBytes, reads/2), blocks.BlockBytes)
	blocks.RangeBytes = max(min(blocks.RangeBytes, blocks.ColdBytes/2), blocks.BlockBytes)
	return blocks
}

// responses are the bounds of answers, of which each pool has as much.
func (c Config) responses(maxBytes int64) fetch.Config {
	config := fetch.DefaultConfig()
	config.ResponseBytes = min(config.ResponseBytes, max(c.share()/2, leastResponseBytes))
	config.MaxBytes = min(maxBytes, config.ResponseBytes/2)
	return config
}
