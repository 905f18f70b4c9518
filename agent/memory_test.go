package agent

import (
	"errors"
	"log/slog"
	"math"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"github.com/wadi-log/wadi/agent/fetch"
)

func TestSizesThatAreLeftOpenFollowFromTheMemory(t *testing.T) {
	const mib = 1 << 20
	type sizes struct{ requests, cache, jobs, merges, answers, reads int64 }
	for _, c := range []struct {
		name   string
		change func(*Config)
		want   sizes
	}{
		{"nothing is known", func(*Config) {}, sizes{224 * mib, 224 * mib, 224 * mib, 56 * mib, 112 * mib, 56 * mib}},
		{"small", func(c *Config) { c.Memory = 512 * mib }, sizes{32 * mib, 32 * mib, 32 * mib, 8 * mib, 16 * mib, 8 * mib}},
		{"least", func(c *Config) { c.Memory = leastMemory }, sizes{32 * mib, 16 * mib, 16 * mib, 4 * mib, 8 * mib, 4 * mib}},
		{"large", func(c *Config) { c.Memory = 16 << 30 }, sizes{2016 * mib, 2016 * mib, 2016 * mib, 64 * mib, 128 * mib, 64 * mib}},
		{"set", func(c *Config) {
			c.Memory, c.MemoryBytes, c.CacheBytes, c.JobMemoryBytes, c.MergeBytes = 1<<30, 99*mib, 98*mib, 97*mib, 3*mib
		}, sizes{99 * mib, 98 * mib, 97 * mib, 3 * mib, 48 * mib, 24 * mib}},
		{"large merges", func(c *Config) { c.Memory, c.MergeBytes = 512*mib, 100*mib }, sizes{32 * mib, 32 * mib, 400 * mib, 100 * mib, 16 * mib, 8 * mib}},
		{"large files", func(c *Config) { c.Memory, c.FlushBytes = 512*mib, 64*mib }, sizes{256 * mib, 32 * mib, 32 * mib, 8 * mib, 16 * mib, 8 * mib}},
	} {
		config := DefaultConfig()
		c.change(&config)
		config = config.sized()
		got := sizes{config.MemoryBytes, config.CacheBytes, config.JobMemoryBytes, config.MergeBytes,
			config.responses(math.MaxInt64).ResponseBytes, config.blocks().ColdBytes}
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
		if blocks := config.blocks(); blocks.RangeBytes < blocks.BlockBytes || blocks.RangeBytes > blocks.ColdBytes {
			t.Errorf("%s: ranges of %d bytes, blocks of %d, %d at once", c.name, blocks.RangeBytes, blocks.BlockBytes, blocks.ColdBytes)
		}
	}
}

func TestAnswersAreNoLargerThanTheirMemory(t *testing.T) {
	config := DefaultConfig()
	if got := config.sized().responses(55 << 20); got.MaxBytes != 55<<20 || got.TailAge != fetch.DefaultConfig().TailAge {
		t.Errorf("%+v", got)
	}
	config.Memory = 512 << 20
	if got := config.sized().responses(55 << 20); got.MaxBytes != 8<<20 {
		t.Errorf("%d bytes an answer", got.MaxBytes)
	}
}

// TestMemoryIsLimited changes the limits of this process, and puts them back.
func TestMemoryIsLimited(t *testing.T) {
	t.Setenv("GOGC", "")
	percent := debug.SetGCPercent(100)
	t.Cleanup(func() { debug.SetGCPercent(percent) })
	limit := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(limit) })

	for _, c := range []struct {
		name         string
		set, already int64 // by --memory and GOMEMLIMIT
		memory       int64
		limit        int64
		percent      int
	}{
		{"by the operator", 500 << 20, math.MaxInt64, 500 << 20, (500 << 20) / 100 * 90, smallGCTarget},
		{"by the runtime's variable", 0, 3 << 30, 3 << 30, 3 << 30, 100},
		{"by both", 2 << 30, 3 << 30, 2 << 30, 3 << 30, 100},
		{"to very little", 0, 64 << 20, leastMemory, 64 << 20, smallGCTarget},
	} {
		debug.SetGCPercent(100)
		debug.SetMemoryLimit(c.already)
		config := DefaultConfig()
		config.Memory = c.set
		config, err := LimitMemory(config, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if limit, percent := debug.SetMemoryLimit(-1), debug.SetGCPercent(100); config.Memory != c.memory || limit != c.limit || percent != c.percent {
			t.Errorf("%s: memory %d, limit %d, GC %d%%; want %d, %d, %d%%", c.name, config.Memory, limit, percent, c.memory, c.limit, c.percent)
		}
		if err := config.Validate(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}

	// By the cgroup or the machine, whatever they are here.
	debug.SetMemoryLimit(math.MaxInt64)
	config, err := LimitMemory(DefaultConfig(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if limit := debug.SetMemoryLimit(-1); config.Memory < leastMemory || limit == math.MaxInt64 {
		t.Errorf("memory %d, limit %d", config.Memory, limit)
	}
}

func TestMemoryIsFoundInTheCgroupOrTheMachine(t *testing.T) {
	is := func(n uint64) memlimit.Provider { return func() (uint64, error) { return n, nil } }
	fails := func(err error) memlimit.Provider { return func() (uint64, error) { return 0, err } }
	odd := errors.New("no mount found")
	for _, c := range []struct {
		name            string
		cgroup, machine memlimit.Provider
		want            int64
		shared, warned  bool
		fails           bool
	}{
		{name: "a limit", cgroup: is(512 << 20), machine: is(8 << 30), want: 512 << 20},
		{name: "a limit above what there is", cgroup: is(64 << 30), machine: is(8 << 30), want: 8 << 30, shared: true},
		{name: "a limit on an unknown machine", cgroup: is(512 << 20), machine: fails(odd), want: 512 << 20},
		{name: "no limit", cgroup: fails(memlimit.ErrNoLimit), machine: is(8 << 30), want: 8 << 30, shared: true},
		{name: "no cgroup", cgroup: fails(memlimit.ErrNoCgroup), machine: is(8 << 30), want: 8 << 30, shared: true},
		{name: "no cgroups at all", cgroup: fails(memlimit.ErrCgroupsNotSupported), machine: is(8 << 30), want: 8 << 30, shared: true},
		{name: "a cgroup that is not to be seen", cgroup: fails(odd), machine: is(8 << 30), want: 8 << 30, shared: true, warned: true},
		{name: "nothing is known", cgroup: fails(memlimit.ErrNoLimit), machine: is(0), fails: true},
	} {
		var log strings.Builder
		there, shared, err := foundMemory(c.cgroup, c.machine, slog.New(slog.NewTextHandler(&log, nil)))
		if there != c.want || shared != c.shared || (err != nil) != c.fails || strings.Contains(log.String(), "no mount found") != c.warned {
			t.Errorf("%s: %d, shared %v, error %v, log %q", c.name, there, shared, err, &log)
		}
	}
}

func TestAgentTakesAPartOfWhatOthersShare(t *testing.T) {
	for _, c := range []struct {
		name         string
		there, cache int64
		shared       bool
		want         int64
	}{
		{"a cgroup's", 3 << 30, 0, false, 3 << 30},
		{"a small machine's", 1 << 30, 0, true, 512 << 20},
		{"a large machine's", 64 << 30, 0, true, 2 << 30},
		{"for a large cache", 64 << 30, 10 << 30, true, 20 << 30},
		{"for a cache that is too large", 8 << 30, 10 << 30, true, 8 << 30},
		{"a tiny machine's", 100 << 20, 0, true, leastMemory},
	} {
		if got := (Config{CacheBytes: c.cache}).memoryOf(c.there, c.shared); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}
