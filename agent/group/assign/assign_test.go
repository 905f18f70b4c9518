package assign

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
)

// topicID makes IDs that sort by n.
func topicID(n int) uuid.UUID { return uuid.UUID{14: byte(n >> 8), 15: byte(n)} }

// one is a list of partitions from and up to.
func one(topic int, partitions ...int32) Partitions {
	return Partitions{topicID(topic): partitions}
}

func TestAssignorsByName(t *testing.T) {
	for name, want := range map[string]bool{Uniform: true, Range: true, "": false, "sticky": false, "Uniform": false} {
		if _, ok := ByName(name); ok != want {
			t.Errorf("ByName(%q): %v, want %v", name, ok, want)
		}
	}
}

func TestUniform(t *testing.T) {
	t1, t2, t3 := topicID(1), topicID(2), topicID(3)
	for name, test := range map[string]struct {
		members    []Member
		partitions map[uuid.UUID]int32
		want       []Partitions
	}{
		"no members": {nil, map[uuid.UUID]int32{t1: 3}, []Partitions{}},
		"no topics": {
			[]Member{{ID: "a"}, {ID: "b"}}, nil, []Partitions{{}, {}},
		},
		"a topic that doesn't exist": {
			[]Member{{ID: "a", Topics: []uuid.UUID{t1, t2}, Target: one(2, 0, 1)}}, map[uuid.UUID]int32{t1: 1}, []Partitions{one(1, 0)},
		},
		"one member gets all": {
			[]Member{{ID: "a", Topics: []uuid.UUID{t1}}}, map[uuid.UUID]int32{t1: 3}, []Partitions{one(1, 0, 1, 2)},
		},
		"the order of members doesn't matter": {
			[]Member{{ID: "b", Topics: []uuid.UUID{t1}}, {ID: "a", Topics: []uuid.UUID{t1}}},
			map[uuid.UUID]int32{t1: 3},
			[]Partitions{one(1, 1), one(1, 0, 2)},
		},
		"more members than partitions": {
			[]Member{{ID: "a", Topics: []uuid.UUID{t1}}, {ID: "b", Topics: []uuid.UUID{t1}}, {ID: "c", Topics: []uuid.UUID{t1}}},
			map[uuid.UUID]int32{t1: 2},
			[]Partitions{one(1, 0), one(1, 1), {}},
		},
		"the extra partition stays where it is": {
			[]Member{{ID: "a", Topics: []uuid.UUID{t1}, Target: one(1, 0)}, {ID: "b", Topics: []uuid.UUID{t1}, Target: one(1, 1, 2)}},
			map[uuid.UUID]int32{t1: 3},
			[]Partitions{one(1, 0), one(1, 1, 2)},
		},
		"a new member takes only its share": {
			[]Member{{ID: "a", Topics: []uuid.UUID{t1}, Target: one(1, 0, 1, 2)}, {ID: "b", Topics: []uuid.UUID{t1}, Target: one(1, 3, 4, 5)}, {ID: "c", Topics: []uuid.UUID{t1}}},
			map[uuid.UUID]int32{t1: 6},
			[]Partitions{one(1, 0, 1), one(1, 3, 4), one(1, 2, 5)},
		},
		"what is claimed twice goes to the first": {
			[]Member{{ID: "a", Topics: []uuid.UUID{t1}, Target: one(1, 0)}, {ID: "b", Topics: []uuid.UUID{t1}, Target: one(1, 0, 1)}},
			map[uuid.UUID]int32{t1: 2},
			[]Partitions{one(1, 0), one(1, 1)},
		},
		"partitions that don't exist": {
			[]Member{{ID: "a", Topics: []uuid.UUID{t1}, Target: one(1, -1, 0, 7)}},
			map[uuid.UUID]int32{t1: 1},
			[]Partitions{one(1, 0)},
		},
		"different subscriptions": {
			[]Member{{ID: "a", Topics: []uuid.UUID{t1, t2}}, {ID: "b", Topics: []uuid.UUID{t2}}, {ID: "c", Topics: []uuid.UUID{t3}}},
			map[uuid.UUID]int32{t1: 2, t2: 4, t3: 5},
			[]Partitions{{t1: {0, 1}, t2: {2}}, one(2, 0, 1, 3), one(3, 0, 1, 2, 3, 4)},
		},
		"level off where subscriptions overlap": {
			[]Member{{ID: "a", Topics: []uuid.UUID{t1}, Target: one(1, 0, 1, 2, 3)}, {ID: "b", Topics: []uuid.UUID{t1, t2}}},
			map[uuid.UUID]int32{t1: 4, t2: 1},
			[]Partitions{one(1, 0, 1, 2), {t1: {3}, t2: {0}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := uniform(test.members, test.partitions)
			if !slices.EqualFunc(got, test.want, Partitions.Equal) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestRange(t *testing.T) {
	t1, t2 := topicID(1), topicID(2)
	both := []uuid.UUID{t1, t2}
	for name, test := range map[string]struct {
		members    []Member
		partitions map[uuid.UUID]int32
		want       []Partitions
	}{
		"no members": {nil, map[uuid.UUID]int32{t1: 3}, []Partitions{}},
		"topics of the same size are co-partitioned": {
			[]Member{{ID: "b", Topics: both}, {ID: "a", Topics: both}},
			map[uuid.UUID]int32{t1: 5, t2: 5},
			[]Partitions{{t1: {3, 4}, t2: {3, 4}}, {t1: {0, 1, 2}, t2: {0, 1, 2}}},
		},
		"more members than partitions": {
			[]Member{{ID: "a", Topics: both}, {ID: "b", Topics: both}, {ID: "c", Topics: both}},
			map[uuid.UUID]int32{t1: 2, t2: 1},
			[]Partitions{{t1: {0}, t2: {0}}, {t1: {1}}, {}},
		},
		"only subscribers count": {
			[]Member{{ID: "a", Topics: []uuid.UUID{t1}}, {ID: "b", Topics: both}, {ID: "c", Topics: []uuid.UUID{t2}}},
			map[uuid.UUID]int32{t1: 3, t2: 3},
			[]Partitions{{t1: {0, 1}}, {t1: {2}, t2: {0, 1}}, {t2: {2}}},
		},
		"static members come first, by instance": {
			[]Member{{ID: "a", Topics: both}, {ID: "x", InstanceID: "2", Topics: both}, {ID: "y", InstanceID: "1", Topics: both}},
			map[uuid.UUID]int32{t1: 3},
			[]Partitions{one(1, 2), one(1, 1), one(1, 0)},
		},
		"what members had doesn't matter": {
			[]Member{{ID: "a", Topics: both}, {ID: "b", Topics: both, Target: one(1, 0)}},
			map[uuid.UUID]int32{t1: 2},
			[]Partitions{one(1, 0), one(1, 1)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := ranges(test.members, test.partitions)
			if !slices.EqualFunc(got, test.want, Partitions.Equal) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

// TestAssignorsOnRandomGroups lets groups live through random changes and
// checks after each what both assignors promise.
func TestAssignorsOnRandomGroups(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for n := range 300 {
		random := rand.New(rand.NewPCG(seed, uint64(n)))
		for _, name := range []string{Uniform, Range} {
			live(t, random, name, random.IntN(3) > 0)
		}
	}
}

// live changes a group twenty times. In a group that is alike all members
// subscribe to all topics.
func live(t *testing.T, random *rand.Rand, name string, alike bool) {
	t.Helper()
	assignor, _ := ByName(name)
	partitions := make(map[uuid.UUID]int32)
	all := func() []uuid.UUID { return slices.SortedFunc(maps.Keys(partitions), compareIDs) }
	var members []Member
	for step := range 20 {
		change := random.IntN(6)
		switch {
		case change <= 1 || len(members) == 0:
			members = append(members, Member{ID: fmt.Sprintf("m%03d", random.IntN(1000)*100+step)})
		case change == 2:
			members = slices.Delete(members, 0, 1)
		case change == 3:
			partitions[topicID(random.IntN(8))] = 1 + random.Int32N(30)
		case change == 4 && len(partitions) > 0:
			delete(partitions, all()[0])
		case change == 5 && len(partitions) > 0:
			partitions[all()[0]]++
		}
		for i := range members {
			switch {
			case alike:
				members[i].Topics = all()
			case members[i].Topics == nil || random.IntN(8) == 0:
				members[i].Topics = slices.DeleteFunc(all(), func(uuid.UUID) bool { return random.IntN(3) == 0 })
			}
		}
		random.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })

		got := assignor(members, partitions)
		checkComplete(t, members, partitions, got)
		shuffled := slices.Clone(members)
		slices.Reverse(shuffled)
		again := assignor(shuffled, partitions)
		slices.Reverse(again)
		if !slices.EqualFunc(got, again, Partitions.Equal) {
			t.Fatalf("%s depends on the order of members:\n%v\n%v", name, got, again)
		}
		if name == Uniform {
			checkBalance(t, members, got, alike)
			if alike {
				checkFewestMoves(t, members, partitions, got)
			}
		}
		for i := range members {
			members[i].Target = got[i]
		}
		if again := assignor(members, partitions); !slices.EqualFunc(got, again, Partitions.Equal) {
			t.Fatalf("%s changed without a change of the group:\n%v\n%v", name, got, again)
		}
	}
}

// checkComplete checks that each partition of a subscribed topic is assigned
// once, to a subscriber.
func checkComplete(t *testing.T, members []Member, partitions map[uuid.UUID]int32, got []Partitions) {
	t.Helper()
	owners := make(map[string]int)
	want := make(map[string]int)
	for i, member := range members {
		for _, topic := range member.Topics {
			for p := range partitions[topic] {
				want[fmt.Sprint(topic, p)] = 1
			}
		}
		for topic, list := range got[i] {
			if !slices.Contains(member.Topics, topic) {
				t.Fatalf("%s got a topic that it doesn't subscribe to", member.ID)
			}
			if len(list) == 0 || !slices.IsSorted(list) {
				t.Fatalf("%s got the list %v", member.ID, list)
			}
			for _, p := range list {
				owners[fmt.Sprint(topic, p)]++
			}
		}
	}
	if !maps.Equal(owners, want) {
		t.Fatalf("assigned %v, want %v", owners, want)
	}
}

// checkBalance checks that no partition could move to a member with two less.
func checkBalance(t *testing.T, members []Member, got []Partitions, alike bool) {
	t.Helper()
	for i := range members {
		for j, to := range members {
			if got[i].Len()-got[j].Len() <= 1 {
				continue
			}
			if alike {
				t.Fatalf("%d and %d partitions", got[i].Len(), got[j].Len())
			}
			for topic := range got[i] {
				if slices.Contains(to.Topics, topic) {
					t.Fatalf("%s has %d partitions, one of a topic of %s, which has %d", members[i].ID, got[i].Len(), to.ID, got[j].Len())
				}
			}
		}
	}
}

// checkFewestMoves checks that as many partitions stayed as any balanced
// assignment can keep: members above their share keep the share.
func checkFewestMoves(t *testing.T, members []Member, partitions map[uuid.UUID]int32, got []Partitions) {
	t.Helper()
	total := 0
	for _, count := range partitions {
		total += int(count)
	}
	if len(members) == 0 {
		return
	}
	kept, most, extras := 0, 0, total%len(members)
	for i, member := range members {
		had := 0
		for topic, list := range member.Target {
			for _, p := range list {
				if p < partitions[topic] {
					had++
				}
				if got[i].Contains(topic, p) {
					kept++
				}
			}
		}
		share := total / len(members)
		if had > share && extras > 0 {
			share++
			extras--
		}
		most += min(had, share)
	}
	if kept != most {
		t.Fatalf("%d partitions stayed where they were, %d could", kept, most)
	}
}

// TestUniformIsFast guards against a quadratic algorithm: a group of this size
// is recomputed within a request.
func TestUniformIsFast(t *testing.T) {
	for name, different := range map[string]bool{"the same subscriptions": false, "different subscriptions": true} {
		t.Run(name, func(t *testing.T) {
			members, partitions := large(different)
			start := time.Now()
			got := uniform(members, partitions)
			for i := range members {
				members[i].Target = got[i]
			}
			uniform(members[1:], partitions)
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

func BenchmarkUniform(b *testing.B) {
	for name, different := range map[string]bool{"Same": false, "Different": true} {
		b.Run(name, func(b *testing.B) {
			members, partitions := large(different)
			for b.Loop() {
				uniform(members, partitions)
			}
		})
	}
}

// large is a group of 1,000 members on 10,000 partitions of 100 topics.
func large(different bool) ([]Member, map[uuid.UUID]int32) {
	partitions := make(map[uuid.UUID]int32)
	var topics []uuid.UUID
	for n := range 100 {
		topics = append(topics, topicID(n))
		partitions[topicID(n)] = 100
	}
	var members []Member
	for n := range 1000 {
		member := Member{ID: fmt.Sprintf("m%04d", n), Topics: topics}
		if different {
			member.Topics = topics[n%50 : n%50+50]
		}
		members = append(members, member)
	}
	return members, partitions
}
