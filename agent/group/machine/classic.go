package machine

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// The states of a classic group, by Kafka's names.
const (
	// Empty: no members. The generation and the protocol type are kept.
	Empty = "Empty"
	// PreparingRebalance: members join; whoever did waits for the others.
	PreparingRebalance = "PreparingRebalance"
	// CompletingRebalance: a generation began; members wait for the leader's assignment.
	CompletingRebalance = "CompletingRebalance"
	// Stable: every member may have its assignment.
	Stable = "Stable"
)

// consumerProtocolType is the protocol type of consumers, the only one whose metadata the group looks into.
const consumerProtocolType = "consumer"

// Classic is a group of the classic protocol (KIP-134, KIP-345, KIP-394, KIP-814).
type Classic struct {
	State string `json:"state"`
	// Since is when State began.
	Since time.Time `json:"since,omitzero"`
	// Generation counts completed join phases. The members and their assignment never change within one,
	// but for a static member that comes back under a new ID.
	Generation   int32  `json:"generation"`
	ProtocolType string `json:"protocol_type,omitempty"`
	// Protocol was chosen when the generation began.
	Protocol string `json:"protocol,omitempty"`
	Leader   string `json:"leader,omitempty"`
	// Members in the order in which they joined first.
	Members []*ClassicMember `json:"members,omitempty"`
	// Pending are member IDs that were handed out and not used yet (KIP-394), oldest first.
	Pending []PendingMember `json:"pending,omitempty"`

	// PhaseEnd is when the join phase ends though members are missing (PreparingRebalance), or when those go
	// that didn't sync (CompletingRebalance, and Stable as long as anyone didn't).
	PhaseEnd time.Time `json:"phase_end,omitzero"`
	// Initial tells that the join phase began with an empty group. Then it lasts until PhaseEnd, so that a fleet which starts
	// has one rebalance, and is extended while new members come (MoreJoined), but not beyond InitialEnd.
	Initial    bool      `json:"initial,omitempty"`
	MoreJoined bool      `json:"more_joined,omitempty"`
	InitialEnd time.Time `json:"initial_end,omitzero"`
}

// ClassicMember is a member of a classic group.
type ClassicMember struct {
	ID string `json:"id"`
	// InstanceID is what a static member keeps when it restarts (KIP-345).
	InstanceID *string `json:"instance_id,omitempty"`
	ClientID   string  `json:"client_id,omitempty"`
	ClientHost string  `json:"client_host,omitempty"`
	// In milliseconds.
	SessionTimeoutMs   int32 `json:"session_timeout_ms"`
	RebalanceTimeoutMs int32 `json:"rebalance_timeout_ms"`
	// Protocols in the order of the member's preference.
	Protocols  []ClassicProtocol `json:"protocols"`
	Assignment []byte            `json:"assignment,omitempty"`
	// Joining: a join waits for the end of the phase. Only in PreparingRebalance.
	Joining bool `json:"joining,omitempty"`
	// Synced: sent a SyncGroup in this generation.
	Synced bool `json:"synced,omitempty"`
	// StoredHeard is when the member was heard of, as of the last request that changed the member. heard
	// is what is known beside the state, and is never stored with it.
	StoredHeard time.Time `json:"heard"`
	heard       time.Time
}

// ClassicProtocol is an assignor that a member supports, and what it tells the leader for it.
type ClassicProtocol struct {
	Name     string `json:"name"`
	Metadata []byte `json:"metadata,omitempty"`
}

// PendingMember is a member ID that was handed out.
type PendingMember struct {
	ID string `json:"id"`
	// A join phase waits for it for pendingPatience from then on; it is forgotten when nobody joins with it in the session timeout.
	Since            time.Time `json:"since"`
	SessionTimeoutMs int32     `json:"session_timeout_ms"`
}

func newClassic() *Classic { return &Classic{State: Empty} }

// check tells whether the state is one that the methods leave behind.
func (c *Classic) check() error {
	ids, instances := map[string]bool{}, map[string]bool{}
	for _, p := range c.Pending {
		if p.ID == "" || ids[p.ID] {
			return fmt.Errorf("pending member ID %q is empty or not the only one", p.ID)
		}
		ids[p.ID] = true
	}
	for _, m := range c.Members {
		switch {
		case m == nil:
			return errors.New("a member is null")
		case m.ID == "" || ids[m.ID]:
			return fmt.Errorf("member ID %q is empty or not the only one", m.ID)
		case m.InstanceID != nil && instances[*m.InstanceID]:
			return fmt.Errorf("instance ID %q belongs to two members", *m.InstanceID)
		case m.Joining && c.State != PreparingRebalance:
			return fmt.Errorf("member %q joins in state %s", m.ID, c.State)
		}
		ids[m.ID] = true
		if m.InstanceID != nil {
			instances[*m.InstanceID] = true
		}
	}
	switch c.State {
	case Empty:
		if len(c.Members) > 0 {
			return errors.New("an empty group has members")
		}
	case PreparingRebalance:
	case CompletingRebalance, Stable:
		if len(c.Members) == 0 || !c.allSupport(c.Protocol) {
			return fmt.Errorf("state %s without members that all support protocol %q", c.State, c.Protocol)
		}
	default:
		return fmt.Errorf("unknown state %q", c.State)
	}
	if len(c.Members) > 0 {
		switch {
		case c.member(c.Leader) == nil:
			return fmt.Errorf("leader %q is no member", c.Leader)
		case c.ProtocolType == "":
			return errors.New("members without a protocol type")
		case len(c.candidates()) == 0:
			return errors.New("the members have no protocol in common")
		}
	}
	return nil
}

func (c *Classic) info() Info {
	return Info{Type: "classic", ProtocolType: c.ProtocolType, Phase: c.State}
}

// empty tells that there is nobody and nobody is expected.
func (c *Classic) empty() bool {
	return c.State == Empty && len(c.Pending) == 0
}

func (c *Classic) members() []string {
	ids := make([]string, len(c.Members))
	for i, m := range c.Members {
		ids[i] = m.ID
	}
	return ids
}

func (c *Classic) member(id string) *ClassicMember {
	for _, m := range c.Members {
		if m.ID == id {
			return m
		}
	}
	return nil
}

// static returns the member with that instance ID.
func (c *Classic) static(instanceID string) *ClassicMember {
	for _, m := range c.Members {
		if m.InstanceID != nil && *m.InstanceID == instanceID {
			return m
		}
	}
	return nil
}

func (c *Classic) pending(id string) bool {
	return slices.ContainsFunc(c.Pending, func(p PendingMember) bool { return p.ID == id })
}

// knownMember returns the member that a request is from, or why it isn't one.
func (c *Classic) knownMember(id string, instanceID *string) (*ClassicMember, *kerr.Error) {
	if instanceID != nil {
		switch m := c.static(*instanceID); {
		case m == nil:
			return nil, kerr.UnknownMemberID
		case m.ID != id:
			return nil, kerr.FencedInstanceID
		}
	}
	if m := c.member(id); m != nil {
		return m, nil
	}
	return nil, kerr.UnknownMemberID
}

func (c *Classic) heardOf(memberID string, at time.Time) {
	if m := c.member(memberID); m != nil && at.After(m.heard) {
		m.heard = at
	}
}

func (c *Classic) sessionTimeout(memberID string) (time.Duration, bool) {
	if m := c.member(memberID); m != nil {
		return millis(m.SessionTimeoutMs), true
	}
	return 0, false
}

// sessionEnd is when the member is gone unless it is heard of before.
func (m *ClassicMember) sessionEnd(env Env) time.Time {
	timeout := millis(m.SessionTimeoutMs)
	return latest(m.StoredHeard, m.heard, env.Since).Add(timeout + BeatEvery(timeout) + env.Lag)
}

// metadata is what the member says for the protocol; ok tells whether it supports it.
func (m *ClassicMember) metadata(protocol string) (b []byte, ok bool) {
	for _, p := range m.Protocols {
		if p.Name == protocol {
			return p.Metadata, true
		}
	}
	return nil, false
}

func (p ClassicProtocol) equal(q ClassicProtocol) bool {
	return p.Name == q.Name && bytes.Equal(p.Metadata, q.Metadata)
}

// allSupport tells whether every member supports the protocol.
func (c *Classic) allSupport(protocol string) bool {
	for _, m := range c.Members {
		if _, ok := m.metadata(protocol); !ok {
			return false
		}
	}
	return true
}

// candidates are the protocols that all members support, in the first one's order.
func (c *Classic) candidates() []string {
	var names []string
	if len(c.Members) > 0 {
		for _, p := range c.Members[0].Protocols {
			if c.allSupport(p.Name) {
				names = append(names, p.Name)
			}
		}
	}
	return names
}

// selectProtocol lets each member vote for the candidate that it likes best. Of those with as many votes it is
// the one that got the first of them, so that every agent comes to the same result.
func (c *Classic) selectProtocol() string {
	candidates := c.candidates()
	votes := map[string]int{}
	var order []string
	for _, m := range c.Members {
		for _, p := range m.Protocols {
			if !slices.Contains(candidates, p.Name) {
				continue
			}
			if votes[p.Name]++; votes[p.Name] == 1 {
				order = append(order, p.Name)
			}
			break
		}
	}
	return slices.MaxFunc(order, func(a, b string) int { return cmp.Compare(votes[a], votes[b]) })
}

func millis(ms int32) time.Duration { return time.Duration(ms) * time.Millisecond }

// stored is a time as the state keeps it: what is decoded again equals it.
func stored(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

func latest(times ...time.Time) time.Time { return slices.MaxFunc(times, time.Time.Compare) }
