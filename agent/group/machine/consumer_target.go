package machine

import (
	"maps"
	"regexp"
	"slices"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/agent/group/assign"
)

// retarget lets the epoch grow if the members (subscribed) or the topics changed, and
// then computes the targets.
//
// With a catalog older than the one that was used last it doesn't compute: then the group
// is Assigning until a heartbeat comes through an agent that knows more. Otherwise two agents could
// take turns in undoing what the other did.
func (c *Consumer) retarget(env Env, subscribed bool) {
	if subscribed || c.Epoch == 0 {
		c.Epoch++
	}
	seq := env.Topics.Seq()
	if seq < c.TopicsSeq || c.current(env.Topics) {
		return
	}
	topics, each := c.resolve(env.Topics)
	if c.Epoch == c.TargetEpoch && !maps.Equal(topics, c.Topics) {
		c.Epoch++
	}
	c.checked = seq
	switch {
	case c.Epoch > c.TargetEpoch:
		c.Topics, c.TopicsSeq = topics, seq
		c.assign(env.Limits, each)
		c.TargetEpoch = c.Epoch
	case slices.ContainsFunc(slices.Collect(maps.Values(c.Members)), func(m *ConsumerMember) bool { return m.Regex != "" }):
		// To match all names is too much for every heartbeat: it is worth storing that it was done.
		c.TopicsSeq = seq
	}
}

// current tells whether the target is that of the members and of the catalog, as far as it was compared.
func (c *Consumer) current(catalog Topics) bool {
	seq := catalog.Seq()
	known := c.TopicsSeq > 0 && seq <= max(c.TopicsSeq, c.checked)
	return c.Epoch > 0 && c.Epoch == c.TargetEpoch && (known || seq < c.TopicsSeq)
}

// resolve returns the topics that members subscribe to, all together and for each member in
// the order of their IDs.
func (c *Consumer) resolve(catalog Topics) (topics map[string]SubscribedTopic, each [][]uuid.UUID) {
	topics = make(map[string]SubscribedTopic)
	take := func(t Topic) uuid.UUID {
		topics[t.Name] = SubscribedTopic{ID: t.ID, Partitions: t.Partitions}
		return t.ID
	}
	byRegex := make(map[string][]uuid.UUID)
	var last *ConsumerMember
	for _, id := range c.members() {
		m := c.Members[id]
		if last != nil && m.Regex == last.Regex && slices.Equal(m.Names, last.Names) {
			each = append(each, each[len(each)-1]) // most groups are of members that are alike
			continue
		}
		last = m
		var ids []uuid.UUID
		for _, name := range m.Names {
			if t, ok := catalog.ByName(name); ok {
				ids = append(ids, take(t))
			}
		}
		if m.Regex != "" {
			matched, known := byRegex[m.Regex]
			if !known {
				matches := m.matcher()
				for _, name := range catalog.Names() {
					if t, ok := catalog.ByName(name); ok && matches(name) {
						matched = append(matched, take(t))
					}
				}
				byRegex[m.Regex] = matched
			}
			if ids = append(ids, matched...); len(m.Names) > 0 {
				slices.SortFunc(ids, func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })
				ids = slices.Compact(ids)
			}
		}
		each = append(each, ids)
	}
	return topics, each
}

// matcher returns what tells whether a topic's name matches the member's regular expression.
func (m *ConsumerMember) matcher() func(name string) bool {
	if m.Regex == "" {
		return func(string) bool { return false }
	}
	regex, err := compile(m.Regex)
	if err != nil {
		// It was checked when it came; a later version of the syntax may disagree. It then matches nothing, as in Kafka.
		regex = regexp.MustCompile(`\z\A.`)
	}
	return regex.MatchString
}

// assign computes the target of every member.
func (c *Consumer) assign(limits Limits, subscriptions [][]uuid.UUID) {
	assignor, ok := assign.ByName(c.assignor(limits))
	if !ok {
		assignor, _ = assign.ByName(assign.Uniform)
	}
	partitions := make(map[uuid.UUID]int32, len(c.Topics))
	for _, topic := range c.Topics {
		partitions[topic.ID] = topic.Partitions
	}
	ids := c.members()
	members := make([]assign.Member, len(ids))
	for i, id := range ids {
		m := c.Members[id]
		members[i] = assign.Member{ID: id, InstanceID: text(m.InstanceID), Topics: subscriptions[i], Target: m.Target}
	}
	for i, target := range assignor(members, partitions) {
		c.Members[ids[i]].Target = target
	}
}

// assignor is the one that most members vote for, of several the one that the configs name
// first. Without votes it is the first of the configs.
func (c *Consumer) assignor(limits Limits) string {
	if len(limits.ConsumerAssignors) == 0 {
		return assign.Uniform
	}
	votes := make(map[string]int)
	for _, m := range c.Members {
		votes[m.Assignor]++
	}
	winner := limits.ConsumerAssignors[0]
	for _, name := range limits.ConsumerAssignors {
		if votes[name] > votes[winner] {
			winner = name
		}
	}
	return winner
}

// subscribed tells whether a member consumes the topic.
func (c *Consumer) subscribed(topic string) bool {
	for _, m := range c.Members {
		if _, named := slices.BinarySearch(m.Names, topic); named || m.matcher()(topic) {
			return true
		}
	}
	return false
}
