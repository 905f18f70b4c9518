package chaos

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// World is what one make of client works in.
type World struct {
	// Name of the make. Whoever belongs to it is called NAME/SOMETHING.
	Name string
	// Transforms: its input is copied to an output.
	Transforms bool
}

// Input is the topic that the world's producer writes to.
func (w World) Input() string { return w.Name + "-input" }

// Output is the topic that the world's transformers write to.
func (w World) Output() string { return w.Name + "-output" }

// Topics are those of the world.
func (w World) Topics() []string {
	if w.Transforms {
		return []string{w.Input(), w.Output()}
	}
	return []string{w.Input()}
}

// has tells whether somebody belongs to the world.
func (w World) has(who string) bool {
	name, _, _ := strings.Cut(who, "/")
	return name == w.Name
}

// Record is a committed record.
type Record struct {
	Offset int64
	Value  string
}

// Logs are the committed records of topics, by partition and in the order of their offsets.
type Logs map[string][][]Record

// History is what happened in a run.
type History struct {
	Worlds []World
	// Log is what lies in the topics in the end, Watched what an observer read of them while it was written.
	Log, Watched Logs
	// Events of all worlds, in the order of their times.
	Events []Event
}

// Journal collects events from any number of goroutines.
type Journal struct {
	mu     sync.Mutex
	events []Event
}

// Note adds an event, which happens now.
func (j *Journal) Note(e Event) {
	e.At = time.Now()
	j.mu.Lock()
	defer j.mu.Unlock()
	j.events = append(j.events, e)
}

// Add adds events that happened before.
func (j *Journal) Add(events ...Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.events = append(j.events, events...)
}

// Count returns how many events of a kind there are so far in a world.
func (j *Journal) Count(world World, kind Kind) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := 0
	for _, e := range j.events {
		if e.Kind == kind && world.has(e.Who) {
			n++
		}
	}
	return n
}

// Events returns those so far, in the order of their times.
func (j *Journal) Events() []Event {
	j.mu.Lock()
	events := slices.Clone(j.events)
	j.mu.Unlock()
	slices.SortStableFunc(events, func(a, b Event) int { return a.At.Compare(b.At) })
	return events
}
