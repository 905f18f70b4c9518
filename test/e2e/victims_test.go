package e2e

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/wadi-log/wadi/test/harness"
)

// victims are servers that are killed and come again.
type victims struct {
	bootstrap string
	agents    []*harness.AgentProcess
	postgres  *harness.PostgresServer // nil for none
	// How often it happened.
	killed, stopped, killedPostgres int
}

// String counts what happened.
func (v *victims) String() string {
	return fmt.Sprintf("agents: %d killed, %d stopped for a while; Postgres: %d killed", v.killed, v.stopped, v.killedPostgres)
}

// victimFlags let groups and transactions time out in seconds.
var victimFlags = append([]string{"--kafka-config=transaction.abort.timed.out.transaction.cleanup.interval.ms=500"}, groupFlags...)

func loneVictim(t *testing.T) *victims {
	options := setups[0].options(t)
	options.Flags = append(options.Flags, victimFlags...)
	agent := harness.Agent(t, options)
	return &victims{bootstrap: agent.Bootstrap(), agents: []*harness.AgentProcess{agent}}
}

func victimFleet(t *testing.T) *victims {
	options := setups[1].options(t)
	postgres := harness.StartPostgres(t)
	options.Metadata = postgres.URL()
	options.Flags = append(options.Flags, victimFlags...)
	f := startFleet(t, options, 3)
	return &victims{bootstrap: f.balancer.Address(), agents: f.agents, postgres: postgres}
}

// suffer does something to a server every few seconds for d, and leaves all running. What is
// done comes in rounds, each in another order, the first of which is always whole: a short run has all of it.
func (v *victims) suffer(r *rand.Rand, d time.Duration) {
	over := time.Now().Add(d)
	for first := true; first || time.Now().Before(over); first = false {
		for _, do := range v.round(r) {
			<-time.After(time.Duration(500+r.IntN(1500)) * time.Millisecond)
			if !first && time.Now().After(over) {
				break
			}
			do()
		}
	}
	for _, agent := range v.agents {
		agent.Ready()
	}
}

func (v *victims) round(r *rand.Rand) []func() {
	kill := func() { v.kill(v.agents[r.IntN(len(v.agents))]) }
	stop := func() {
		v.stop(v.agents[r.IntN(len(v.agents))], time.Duration(500+r.IntN(4000))*time.Millisecond)
	}
	round := []func(){kill, stop}
	if v.postgres != nil {
		round = append(round, kill, v.killPostgres)
	}
	r.Shuffle(len(round), func(i, k int) { round[i], round[k] = round[k], round[i] })
	return round
}

func (v *victims) kill(agent *harness.AgentProcess) {
	agent.Kill()
	agent.Restart()
	v.killed++
}

// stop lets an agent hang: its connections stay, and it goes on in the middle of what it did.
func (v *victims) stop(agent *harness.AgentProcess, d time.Duration) {
	agent.Signal(syscall.SIGSTOP)
	<-time.After(d)
	agent.Signal(syscall.SIGCONT)
	v.stopped++
}

func (v *victims) killPostgres() {
	v.postgres.Kill()
	v.postgres.Start()
	v.killedPostgres++
}
