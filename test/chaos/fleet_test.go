package chaos_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/wadi-log/wadi/test/harness"
)

// fleet are agents behind a load balancer that gives each connection to another one. They are there to be killed,
// frozen and added.
type fleet struct {
	t      *testing.T
	random *rand.Rand
	agents []*victim
	// atLeast are left alone at any time.
	atLeast int
	// How often it happened.
	killed, frozen, added int
	longestFreeze         time.Duration
}

// victim is an agent: dead, frozen or well.
type victim struct {
	*harness.AgentProcess
	dead bool
	// thaws is when a frozen one goes on, zero for others.
	thaws time.Time
}

// startFleet starts so many agents with Postgres and MinIO, and returns them with the balancer's address.
func startFleet(t *testing.T, random *rand.Rand, agents, atLeast int, longestFreeze time.Duration) (f *fleet, bootstrap string) {
	t.Helper()
	f = &fleet{t: t, random: random, atLeast: atLeast, longestFreeze: longestFreeze}
	processes, bootstrap := startAgents(t, agents, storesOf(t), nil)
	for _, a := range processes {
		f.agents = append(f.agents, &victim{AgentProcess: a})
	}
	t.Cleanup(func() {
		for _, v := range f.agents {
			if !v.thaws.IsZero() {
				f.thaw(v) // of a test that failed: a frozen agent can't stop in order
			}
		}
	})
	return f, bootstrap
}

// storesOf are the options of agents with Postgres and MinIO.
func storesOf(t *testing.T) harness.AgentOptions {
	t.Helper()
	store := harness.MinIO(t)
	return harness.AgentOptions{Metadata: harness.Postgres(t), Objects: store.MinioURL(), AccessKey: store.AccessKey, SecretKey: store.SecretKey}
}

// startAgents starts agents behind a load balancer, whose address it returns. The number of an agent chooses flags of its own, where
// there are some.
func startAgents(t *testing.T, agents int, options harness.AgentOptions, own func(agent int) []string) (processes []*harness.AgentProcess, bootstrap string) {
	t.Helper()
	balancer := harness.NewBalancer(t)
	flags := append(options.Flags, "--advertise="+balancer.Address(), "--kafka-config=group.initial.rebalance.delay.ms=0")
	for i := range agents {
		options.Flags = flags
		if own != nil {
			options.Flags = slices.Concat(flags, own(i))
		}
		processes = append(processes, harness.Agent(t, options))
	}
	balancer.Start(processes...)
	return processes, balancer.Address()
}

// String counts what happened.
func (f *fleet) String() string {
	return fmt.Sprintf("agents: %d killed, %d frozen, %d added", f.killed, f.frozen, f.added)
}

// suffer does something to an agent every few seconds for d, leaves all running, and calls check all the time. What is done
// comes in rounds, each in another order, so that a short run has all of it.
func (f *fleet) suffer(d, pause time.Duration, check func()) {
	f.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	over, next := time.Now().Add(d), time.Now()
	var round []func() bool
	for time.Now().Before(over) {
		<-tick.C
		check()
		for _, v := range f.agents {
			if !v.thaws.IsZero() && time.Now().After(v.thaws) {
				f.thaw(v)
			}
		}
		if time.Now().Before(next) {
			continue
		}
		if len(round) == 0 {
			round = []func() bool{f.kill, f.freeze, f.add}
			f.random.Shuffle(len(round), func(i, k int) { round[i], round[k] = round[k], round[i] })
		}
		if round[0]() {
			next = time.Now().Add(pause/2 + time.Duration(f.random.Int64N(int64(pause))))
		}
		round = round[1:]
	}
	for _, v := range f.agents {
		if !v.thaws.IsZero() {
			f.thaw(v)
		}
	}
	for _, v := range f.agents {
		if v.dead {
			harness.Eventually(f.t, patience, v.TryRestart)
			v.dead = false
		}
		v.Ready()
	}
}

// kill ends an agent with SIGKILL, and tells whether enough were left for that.
func (f *fleet) kill() bool {
	v := f.choose()
	if v == nil {
		return false
	}
	v.Kill()
	v.dead = true
	f.killed++
	return true
}

// freeze lets an agent hang: its connections stay, and it goes on in the middle of what it did. One at a time: each may hold
// locks of the metadata store until that ends its transactions, for seconds in which nobody gets anything done.
func (f *fleet) freeze() bool {
	v := f.choose()
	if v == nil || slices.ContainsFunc(f.agents, func(v *victim) bool { return !v.thaws.IsZero() }) {
		return false
	}
	v.Signal(syscall.SIGSTOP)
	v.thaws = time.Now().Add(f.longestFreeze/20 + time.Duration(f.random.Int64N(int64(f.longestFreeze))))
	f.frozen++
	return true
}

func (f *fleet) thaw(v *victim) {
	v.Signal(syscall.SIGCONT)
	v.thaws = time.Time{}
}

// add starts an agent, if one is dead. On a busy machine its stores may not answer in time; then it ends, and is
// started again another time, as a supervisor does.
func (f *fleet) add() bool {
	for _, i := range f.random.Perm(len(f.agents)) {
		v := f.agents[i]
		if !v.dead {
			continue
		}
		if err := v.TryRestart(); err != nil {
			f.t.Logf("an agent could not start: %v", err)
			return true
		}
		v.dead = false
		f.added++
		return true
	}
	return false
}

// choose returns an agent that is well, if enough are left without it.
func (f *fleet) choose() *victim {
	var well []*victim
	for _, v := range f.agents {
		if !v.dead && v.thaws.IsZero() {
			well = append(well, v)
		}
	}
	if len(well) <= f.atLeast {
		return nil
	}
	return well[f.random.IntN(len(well))]
}
