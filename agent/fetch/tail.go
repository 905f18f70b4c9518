package fetch

import (
	"sort"
	"sync"

	"github.com/wadi-log/wadi/metadata"
)

// DefaultTailRuns bounds a Tail: about 25 MB of memory, and up to 10 MB more where
// most transactions are aborted.
const DefaultTailRuns = 256 << 10

// Tail is the newest part of every partition's index in memory: for each
// partition a chain of contiguous runs up to its end. The write path feeds it
// with this agent's commits, the [Follower] with those of all others, and long
// polls wait on it.
//
// A chain's end is the partition's high watermark as of the last commit
// applied. It may lag behind the store, never lead. All methods are safe for
// concurrent use.
type Tail struct {
	// arrived has a token when somebody began to wait while nobody did.
	arrived chan struct{}

	mu     sync.Mutex
	limit  int
	seq    int64
	chains map[metadata.PartitionID]*chain
	// order holds every run (and every empty chain) in order of arrival. The
	// oldest run overall is the front of its chain, so eviction is a queue.
	order arrivals
	// resets dates what was read from the store: see [snapshot].
	resets  int64
	waiters map[*waiter]struct{}
}

// chain is one partition's part of the tail; t.mu guards it.
type chain struct {
	partition metadata.PartitionID
	// runs[head:] are contiguous and end at end.
	runs []metadata.Run
	head int
	end  int64
	// stable is the last stable offset, as of the same commit as end; it may lie
	// before the log start and before the chain's.
	stable int64
	// aborted are the aborted transactions that end in the chain, by LastOffset: each
	// has its marker among the runs, so there are never more of them. Elements
	// aren't changed after they were appended, since plans share them.
	aborted []metadata.AbortedTransaction
	// seq is the last commit that the chain took runs from.
	seq int64
	// logStart is -1 until the store or the feed told it.
	logStart int64
	// waiting is the ring of long polls on this partition.
	waiting waitNode
}

// start is the first offset that the chain can answer for.
func (c *chain) start() int64 {
	if c.head < len(c.runs) {
		return c.runs[c.head].BaseOffset
	}
	return c.end
}

// from returns the runs from the one that contains the offset on, which must
// not lie before start.
func (c *chain) from(offset int64) []metadata.Run {
	runs := c.runs[c.head:]
	i := sort.Search(len(runs), func(i int) bool { return runs[i].NextOffset() > offset })
	return runs[i:]
}

// bounds are the partition's, whose log start is known.
func (c *chain) bounds() metadata.Bounds {
	return metadata.Bounds{Exists: true, LogStartOffset: c.logStart, NextOffset: c.end,
		StableOffset: max(c.stable, c.logStart), MaxTimestamp: -1}
}

// abortedFrom returns the aborted transactions that end at the offset or later, which
// must not lie before start.
func (c *chain) abortedFrom(offset int64) []metadata.AbortedTransaction {
	i := sort.Search(len(c.aborted), func(i int) bool { return c.aborted[i].LastOffset >= offset })
	return c.aborted[i:len(c.aborted):len(c.aborted)]
}

func (c *chain) push(run metadata.Run) {
	c.runs = append(c.runs, run)
	c.end = run.NextOffset()
}

func (c *chain) pop() {
	c.head++
	if c.head >= 32 && c.head*2 >= len(c.runs) {
		c.runs = c.runs[:copy(c.runs, c.runs[c.head:])]
		c.head = 0
	}
	c.trimAborted()
}

// trimAborted drops the aborted transactions that end before the chain.
func (c *chain) trimAborted() {
	for start := c.start(); len(c.aborted) > 0 && c.aborted[0].LastOffset < start; {
		c.aborted = c.aborted[1:]
	}
	if len(c.aborted) == 0 {
		c.aborted = nil // frees what lies before it
	}
}

// NewTail returns a tail of at most limit runs over all partitions. It takes
// no commits before its first Reset.
func NewTail(limit int) *Tail {
	return &Tail{
		arrived: make(chan struct{}, 1),
		limit:   max(limit, 1),
		seq:     -1,
		chains:  map[metadata.PartitionID]*chain{},
		waiters: map[*waiter]struct{}{},
	}
}

// Reset forgets everything and continues after the commit of the number: at
// the start, and when entries of the feed are missing. All long polls wake.
func (t *Tail) Reset(seq int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seq = seq
	t.drop()
}

// Forget forgets everything and continues where it is: the store must be asked before anything is answered. All
// long polls wake.
func (t *Tail) Forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.drop()
}

// drop drops all chains. t.mu is held.
func (t *Tail) drop() {
	t.resets++
	t.wakeAll()
	t.chains = map[metadata.PartitionID]*chain{}
	t.order = arrivals{}
}

// Seq is the number of the last commit applied, -1 before the first Reset.
func (t *Tail) Seq() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.seq
}

// Apply extends the chains by commits in ascending order. Commits that were
// applied before are ignored. It reports a gap when a commit doesn't follow the
// last one, and takes nothing from there on: the follower will bring it again
// ([Follower.Kick] makes that soon). Log starts only rise, so they count at once,
// whatever is missing before them.
func (t *Tail) Apply(commits []metadata.Commit) (gap bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range commits {
		t.raise(commits[i].LogStarts)
	}
	for i := range commits {
		c := &commits[i]
		if c.Seq <= t.seq {
			continue
		}
		if t.seq < 0 || c.Seq > t.seq+1 {
			return true
		}
		t.seq = c.Seq
		for j := range c.Runs {
			t.extend(c, &c.Runs[j])
		}
		t.abort(c)
		t.compact(c.Compacted)
		if len(c.Topics) > 0 {
			// A topic that is fetched may be gone, which its waiters must hear.
			t.wakeAll()
		}
	}
	return false
}

// extend adds a run of the commit to its partition's chain. t.mu is held.
func (t *Tail) extend(commit *metadata.Commit, run *metadata.Run) {
	c := t.chains[run.Partition]
	switch {
	case c == nil:
		c = t.newChain(run.Partition, run.BaseOffset)
	case run.BaseOffset < c.end:
		// The chain was learned from the store after this commit.
		return
	case run.BaseOffset > c.end:
		// Runs of a partition come without holes. Should one come nevertheless,
		// nothing before it is known any more.
		c.runs, c.head, c.aborted = nil, 0, nil
		c.wakeAll()
	}
	c.push(*run)
	c.seq = commit.Seq
	// With several runs of the partition, what the commit decides may show before
	// its last run is here: nobody looks in between.
	c.stable = min(c.end, stableAfter(commit, run.Partition, c.end))
	c.count(run)
	t.arrive(run.Partition, run.BaseOffset)
}

// stableAfter is the partition's last stable offset after the commit: end, unless
// the commit says that it is another.
func stableAfter(commit *metadata.Commit, p metadata.PartitionID, end int64) int64 {
	stable := commit.Stable
	i := sort.Search(len(stable), func(i int) bool { return stable[i].Partition >= p })
	if i < len(stable) && stable[i].Partition == p {
		return stable[i].Offset
	}
	return end
}

// abort enters the transactions that the commit aborts, where chains took its runs. t.mu is held.
func (t *Tail) abort(commit *metadata.Commit) {
	for i := range commit.Aborted {
		a := &commit.Aborted[i]
		if c := t.chains[a.Partition]; c != nil && c.seq == commit.Seq && a.LastOffset >= c.start() {
			c.aborted = append(c.aborted, *a)
		}
	}
}

// raise moves the log starts of partitions. t.mu is held.
func (t *Tail) raise(starts []metadata.LogStart) {
	if len(starts) == 0 {
		return
	}
	// Whoever asked the store before must not teach a chain that comes then what
	// this one would have learned here.
	t.resets++
	for _, l := range starts {
		if c := t.chains[l.Partition]; c != nil && c.logStart < l.Offset {
			c.logStart = l.Offset
			c.wakeAll() // who waits with records planned must not get deleted ones
		}
	}
}

// compact drops the runs that compaction replaced: the store says where the records lie that it left. The
// chains' ends stay, for no offset changed hands, so long polls there need not ask the store anew. t.mu is held.
func (t *Tail) compact(partitions []metadata.CompactedUntil) {
	if len(partitions) == 0 {
		return
	}
	// Whoever asked the store before must not teach a chain that comes then the runs
	// that this one would have dropped here.
	t.resets++
	for _, p := range partitions {
		c := t.chains[p.Partition]
		if c == nil || c.start() >= p.Offset {
			continue
		}
		// The run that the offset lies in was replaced, too.
		for c.head < len(c.runs) && c.runs[c.head].BaseOffset < p.Offset {
			c.pop()
		}
		c.wakeAll() // who waits with those planned must not get them
		if c.head == len(c.runs) {
			t.arrive(p.Partition, c.end)
		}
	}
}

func (t *Tail) newChain(p metadata.PartitionID, end int64) *chain {
	c := &chain{partition: p, end: end, logStart: -1}
	c.waiting.prev, c.waiting.next = &c.waiting, &c.waiting
	t.chains[p] = c
	return c
}

// arrive enters a run, or an empty chain by its end, into the order of
// arrival, and evicts the oldest where that is too many.
func (t *Tail) arrive(p metadata.PartitionID, base int64) {
	for t.order.len() >= t.limit {
		t.evict(t.order.pop())
	}
	t.order.push(arrival{p, base})
}

func (t *Tail) evict(a arrival) {
	c := t.chains[a.partition]
	if c == nil || c.start() != a.base {
		return // left over from a chain that was dropped
	}
	if c.head < len(c.runs) {
		c.pop()
	}
	if c.head == len(c.runs) {
		// What waits here learns the partition's end again from the store.
		c.wakeAll()
		delete(t.chains, a.partition)
	}
}

// snapshot dates a query to the store, so that its answer isn't taken for news
// after the tail has forgotten what came since.
type snapshot struct{ resets, arrivals int64 }

func (t *Tail) snapshot() snapshot {
	t.mu.Lock()
	defer t.mu.Unlock()
	return snapshot{t.resets, t.order.pushed}
}

// learn enters what the store answered at some time after the snapshot: the
// partition's bounds, and a chain where there is none, of the answer's runs if they
// reach the partition's end.
func (t *Tail) learn(at snapshot, p metadata.PartitionID, found *metadata.PartitionRuns) {
	t.mu.Lock()
	defer t.mu.Unlock()
	// Had a chain of this partition been made and evicted since the snapshot,
	// the answer's end would be old, and who waits there would miss commits.
	// Eviction takes limit arrivals; half of that is a safe distance.
	if !found.Exists || at.resets != t.resets || t.order.pushed-at.arrivals > int64(t.limit)/2 {
		return
	}
	c := t.chains[p]
	if c == nil {
		c = t.newChain(p, found.NextOffset)
		c.stable = found.StableOffset
		runs := unmerged(found.Runs)
		if n := len(runs); n > 0 && n <= t.limit/2 && runs[n-1].NextOffset() == found.NextOffset {
			c.runs = append(c.runs, runs...)
			// They are those that end at the offset asked or later. As no marker lies within
			// a run of the tail, none ends before that and still in the first one.
			c.aborted = append(c.aborted, found.Aborted...)
			c.trimAborted()
			for i := range runs {
				t.arrive(p, runs[i].BaseOffset)
			}
		} else {
			t.arrive(p, found.NextOffset)
		}
	}
	c.logStart = max(c.logStart, found.LogStartOffset)
}

// unmerged returns the runs behind the last merged one. The tail has no others: what was merged is
// better read by what the store says, and its runs have what the tail's never have, such as
// markers among their batches.
func unmerged(runs []metadata.Run) []metadata.Run {
	n := len(runs)
	for n > 0 && !runs[n-1].Merged {
		n--
	}
	return runs[n:]
}

// forgetBefore drops a partition's runs that end at the offset or before it, when it turned
// out that they lie elsewhere by now.
func (t *Tail) forgetBefore(p metadata.PartitionID, offset int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.chains[p]
	if c == nil {
		return
	}
	for c.head < len(c.runs) && c.runs[c.head].NextOffset() <= offset {
		c.pop()
	}
	if c.head < len(c.runs) {
		return
	}
	// Whoever asked the store before must not learn an end from it: commits that
	// the chain had taken since would be missing.
	t.resets++
	c.wakeAll()
	delete(t.chains, p)
}

// arrival is one entry of the order of arrival.
type arrival struct {
	partition metadata.PartitionID
	base      int64
}

// arrivals is a queue. pushed counts what was ever entered.
type arrivals struct {
	entries []arrival
	head    int
	pushed  int64
}

func (a *arrivals) len() int { return len(a.entries) - a.head }

func (a *arrivals) push(e arrival) {
	a.entries = append(a.entries, e)
	a.pushed++
}

func (a *arrivals) pop() arrival {
	e := a.entries[a.head]
	a.head++
	if a.head >= 1024 && a.head*2 >= len(a.entries) {
		a.entries = a.entries[:copy(a.entries, a.entries[a.head:])]
		a.head = 0
	}
	return e
}
