package history

import (
	"errors"
	"reflect"
	"testing"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
)

var here, elsewhere = uuid.UUID{1}, uuid.UUID{2}

// knows is a History that knows the changes 1 to 3 of epoch 1, whose marks are ten times their numbers, and each of which
// added a record to partition 7.
func knows() *History {
	h := &History{}
	_ = h.Check(h.Newest(), Found{Store: here, Epoch: 1})
	for seq := int64(1); seq <= 3; seq++ {
		h.Note(Found{Epoch: 1}, Change{Seq: seq, Mark: 10 * seq, Runs: []metadata.Run{{Partition: 7, BaseOffset: seq - 1, Records: 1}}})
	}
	return h
}

// TestProgramOfTheDayBeforeYesterdayGoesNoFurther once the database is no longer for it.
func TestProgramOfTheDayBeforeYesterdayGoesNoFurther(t *testing.T) {
	h := &History{Schema: 10}
	for _, step := range []struct {
		compatibleFrom int64
		refused        bool
	}{{9, false}, {10, false}, {11, true}} {
		err := h.Check(h.Newest(), Found{Store: here, CompatibleFrom: step.compatibleFrom})
		if errors.Is(err, metadata.ErrSchema) != step.refused || (err != nil) != step.refused || (h.Refusal() != nil) != step.refused {
			t.Errorf("compatible from %d: %v", step.compatibleFrom, err)
		}
	}
}

func mark(m int64) *int64 { return &m }

func TestWhatIsLostAndWhatIsNot(t *testing.T) {
	for name, c := range map[string]struct {
		found Found
		want  error
	}{
		"all is there":                          {Found{here, 1, false, 3, 0, 0, mark(30)}, nil},
		"others went on":                        {Found{here, 1, false, 100, 0, 0, mark(30)}, nil},
		"trimmed while we slept":                {Found{here, 1, false, 100, 0, 0, nil}, nil},
		"the newest is missing":                 {Found{here, 1, false, 2, 0, 0, nil}, ErrLost},
		"another has its number":                {Found{here, 1, false, 3, 0, 0, mark(31)}, ErrLost},
		"another has its number, and more came": {Found{here, 1, false, 100, 0, 0, mark(31)}, ErrLost},
		"nothing is left":                       {Found{here, 1, false, 0, 0, 0, nil}, ErrLost},
		"given up":                              {Found{here, 2, false, 1 << 32, 0, 0, mark(31)}, nil},
		"given up, and then lost":               {Found{here, 0, false, 100, 0, 0, mark(30)}, ErrLost},
		"halted by others":                      {Found{here, 1, true, 100, 0, 0, mark(30)}, metadata.ErrHalted},
		"halted by others, who know less":       {Found{here, 1, true, 2, 0, 0, nil}, ErrLost},
		"given up and halted again":             {Found{here, 2, true, 1 << 32, 0, 0, nil}, metadata.ErrHalted},
	} {
		t.Run(name, func(t *testing.T) {
			h := knows()
			err := h.Check(h.Newest(), c.found)
			if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if err != nil && !errors.Is(err, metadata.ErrUnavailable) {
				t.Errorf("%v is not ErrUnavailable", err)
			}
			if refusal := h.Refusal(); !errors.Is(refusal, c.want) || (refusal == nil) != (c.want == nil) {
				t.Errorf("the store refuses with %v, want %v", refusal, c.want)
			}
		})
	}
}

func TestNothingKnownIsNothingLost(t *testing.T) {
	h := &History{}
	if err := h.Check(h.Newest(), Found{Store: here, Epoch: 3, LastSeq: 0}); err != nil {
		t.Error(err)
	}
}

// TestAnotherDatabaseIsNoLoss: one that was rebuilt under the same URL is neither halted nor used.
func TestAnotherDatabaseIsNoLoss(t *testing.T) {
	h := knows()
	for _, store := range []uuid.UUID{elsewhere, here} {
		if err := h.Check(h.Newest(), Found{Store: store, Epoch: 1, LastSeq: 1}); err == nil || errors.Is(err, ErrLost) || errors.Is(err, metadata.ErrHalted) {
			t.Errorf("got %v, want a refusal for good that is neither", err)
		}
	}
}

// TestComesBackWithTheFormerServer: who noticed goes on by itself if what was lost is there again.
func TestComesBackWithTheFormerServer(t *testing.T) {
	h := knows()
	if err := h.Check(h.Newest(), Found{Store: here, Epoch: 1, LastSeq: 2}); !errors.Is(err, ErrLost) {
		t.Fatal(err)
	}
	if err := h.Reported(); !errors.Is(err, metadata.ErrHalted) {
		t.Fatal(err)
	}
	if err := h.Check(h.Newest(), Found{Store: here, Epoch: 1, Halted: true, LastSeq: 2}); !errors.Is(err, metadata.ErrHalted) || errors.Is(err, ErrLost) {
		t.Errorf("what is on record is not reported again: %v", err)
	}
	if err := h.Check(h.Newest(), Found{Store: here, Epoch: 1, LastSeq: 3, Mark: mark(30)}); err != nil || h.Refusal() != nil {
		t.Errorf("the former server: %v, %v", err, h.Refusal())
	}
	if err := h.Check(h.Newest(), Found{Store: here, Epoch: 1, LastSeq: 2}); !errors.Is(err, ErrLost) {
		t.Errorf("lost again: %v", err)
	}
}

// TestNewEpochForgets what was given up, also what comes to its ears late.
func TestNewEpochForgets(t *testing.T) {
	h := knows()
	if err := h.Check(h.Newest(), Found{Store: here, Epoch: 2, LastSeq: 1 << 32}); err != nil {
		t.Fatal(err)
	}
	h.Note(Found{Epoch: 1}, Change{Seq: 4, Mark: 40})
	if p := h.Newest(); p != (Point{Epoch: 2}) {
		t.Errorf("knows %+v", p)
	}
}

// TestEpochThatIsLostIsMissed, also before anything of it is known.
func TestEpochThatIsLostIsMissed(t *testing.T) {
	h := knows()
	if err := h.Check(h.Newest(), Found{Store: here, Epoch: 2, LastSeq: 1 << 32}); err != nil {
		t.Fatal(err)
	}
	if err := h.Check(h.Newest(), Found{Store: here, Epoch: 1, Halted: true, LastSeq: 2}); !errors.Is(err, ErrLost) {
		t.Errorf("got %v, want ErrLost", err)
	}
}

// TestServerIsTheOneThatShowedTheNewestChange: another one is asked for its mark first.
func TestServerIsTheOneThatShowedTheNewestChange(t *testing.T) {
	h := knows()
	for _, step := range []struct {
		name string
		do   func()
		want Server
	}{
		{"shown by the first", func() { h.Note(Found{Epoch: 1, Server: 5}, Change{Seq: 4, Mark: 40}) }, 5},
		{"an older one, by another", func() { h.Note(Found{Epoch: 1, Server: 6}, Change{Seq: 3, Mark: 30}) }, 5},
		{"asked for something older", func() { _ = h.Check(Point{Epoch: 1, Seq: 3, Mark: 30}, Found{here, 1, false, 4, 6, 0, mark(30)}) }, 5},
		{"the other has it, too", func() { _ = h.Check(h.Newest(), Found{here, 1, false, 4, 6, 0, mark(40)}) }, 6},
		{"a third has not", func() { _ = h.Check(h.Newest(), Found{here, 1, false, 4, 7, 0, mark(41)}) }, 6},
	} {
		if step.do(); h.Newest().Server != step.want {
			t.Errorf("%s: server %d, want %d", step.name, h.Newest().Server, step.want)
		}
	}
}

func TestLossNamesWhatIsGone(t *testing.T) {
	for name, c := range map[string]struct {
		found Found
		marks map[int64]int64
		want  metadata.Loss
	}{
		"the end": {Found{here, 1, false, 2, 0, 0, nil}, map[int64]int64{1: 10, 2: 20},
			metadata.Loss{Had: 3, Has: 2, First: 3, Changes: 1, Records: []metadata.LostRecords{{Partition: 7, Offset: 2, NextOffset: 3}}}},
		"overwritten": {Found{here, 1, false, 9, 0, 0, mark(31)}, map[int64]int64{1: 10, 2: 21, 3: 31},
			metadata.Loss{Had: 3, Has: 9, First: 2, Changes: 2, Records: []metadata.LostRecords{{Partition: 7, Offset: 1, NextOffset: 3}}}},
		"overwritten, and the rest trimmed": {Found{here, 1, false, 9, 0, 0, mark(31)}, map[int64]int64{3: 31},
			metadata.Loss{Had: 3, Has: 9, First: 3, Changes: 1, Records: []metadata.LostRecords{{Partition: 7, Offset: 2, NextOffset: 3}}}},
	} {
		t.Run(name, func(t *testing.T) {
			h := knows()
			if got := h.Loss(h.Newest(), c.found, c.marks); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

// TestMemoryIsBounded, whatever comes, in whatever order, and the newest stays known.
func TestMemoryIsBounded(t *testing.T) {
	h := &History{}
	_ = h.Check(h.Newest(), Found{Store: here})
	h.Note(Found{}, Change{Seq: 2 * maxChanges, Mark: 5})
	for seq := int64(2*maxChanges - 1); seq > 0; seq-- {
		h.Note(Found{}, Change{Seq: seq, Mark: 1})
	}
	if n := len(h.recent); n != maxChanges || h.Newest().Mark != 5 {
		t.Errorf("%d changes, the newest %+v", n, h.Newest())
	}
	h.Note(Found{}, Change{Seq: 3 * maxChanges, Mark: 6, Runs: make([]metadata.Run, 2*maxRuns)})
	if n := len(h.recent); n != 1 || h.runs != 2*maxRuns || h.Newest().Mark != 6 || h.Oldest() != 3*maxChanges {
		t.Errorf("%d changes with %d runs, the newest %+v, the oldest %d", n, h.runs, h.Newest(), h.Oldest())
	}
}
