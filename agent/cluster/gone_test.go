package cluster

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/protocol"
)

// changing is a register that changes.
type changing struct{ alive []metadata.Agent }

func (c *changing) Alive() []metadata.Agent { return c.alive }
func (c *changing) Self() metadata.Agent    { return c.alive[0] }

func standIns(v *View) (list []string) {
	for _, b := range v.StandIns {
		list = append(list, fmt.Sprintf("%d at %s in %s", b.NodeID, b.Host, b.Zone))
	}
	return list
}

// TestNodeIDsOfAgentsThatAreGoneAreShown at the address of one that can serve who was sent there, for a while.
func TestNodeIDsOfAgentsThatAreGoneAreShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		register := &changing{parse("b a", "p b", "c b", "b b")}
		router := NewRouter(register, Zones{})
		if got := standIns(router.View(client)); got != nil {
			t.Errorf("nobody is gone, and shown are %q", got)
		}
		all := register.alive
		register.alive = slices.Delete(slices.Clone(all), 3, 4) // without 4
		want := []string{"4 at agent-3 in b"}
		if got := standIns(router.View(client)); !slices.Equal(got, want) {
			t.Errorf("4 is gone: %q, want %q", got, want)
		}
		register.alive = all[:1]
		time.Sleep(goneFor / 2)
		v := router.View(client)
		want = []string{"2 at agent-1 in b", "3 at agent-1 in b", "4 at agent-1 in b"}
		if got := standIns(v); !slices.Equal(got, want) {
			t.Errorf("all others are gone: %q, want %q", got, want)
		}
		if leaders, others := used(v); !slices.Equal(leaders, []int32{1}) || len(others) > 0 || len(v.Brokers) != 1 {
			t.Errorf("leaders %v, others %v, brokers %v", leaders, others, brokerIDs(v.Brokers))
		}
		if got := standIns(router.View(protocol.Client{Listener: "OTHER"})); len(got) != 0 {
			t.Errorf("on another listener: %q", got)
		}
		register.alive = all[:3] // 2 and 3 are back
		time.Sleep(goneFor / 2)
		if got := standIns(router.View(client)); len(got) != 0 {
			t.Errorf("after an hour: %q", got)
		}
	})
}

// TestWhereAgentsAreAlikeNobodyStandsIn: nobody is sent on there, and leaders change when agents go.
func TestWhereAgentsAreAlikeNobodyStandsIn(t *testing.T) {
	register := &changing{parse("b a", "b a", "b a")}
	router := NewRouter(register, Zones{})
	router.View(client)
	register.alive = register.alive[:2]
	if got := standIns(router.View(client)); len(got) != 0 {
		t.Errorf("%q", got)
	}
}

// TestNobodyStandsInForAnAgentWhoseAddressLives: its broker ID is there, at that of the balancer.
func TestNobodyStandsInForAnAgentWhoseAddressLives(t *testing.T) {
	alive := []metadata.Agent{known(1, "lb-a", 1), known(2, "lb-a", 1), known(3, "lb-b", 3), known(4, "lb-b", 3)}
	for i, zone := range []string{"a", "a", "b", "b"} {
		alive[i].Zone = zone
	}
	register := &changing{alive}
	router := NewRouter(register, Zones{})
	router.View(client)
	register.alive = alive[1:]
	if got := standIns(router.View(client)); len(got) != 0 {
		t.Errorf("1 is gone: %q", got)
	}
	register.alive = alive[1:2]
	if got, want := standIns(router.View(client)), []string{"3 at lb-a in b"}; !slices.Equal(got, want) {
		t.Errorf("all of lb-b are gone: %q, want %q", got, want)
	}
}
