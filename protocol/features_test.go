package protocol

import (
	"maps"
	"testing"
)

// Clients take a level for a promise of everything behind it.
func TestFeatureIsServedWithAllOfItsVersions(t *testing.T) {
	all := map[[2]int16]bool{}
	names := func() map[string]bool {
		served := map[string]bool{}
		for _, f := range features(func(key, version int16) bool { return all[[2]int16{key, version}] }) {
			served[f.Name] = true
		}
		return served
	}
	for name, needs := range map[string][][2]int16{
		"group.version":       {{68, 1}},
		"transaction.version": {{0, 12}, {22, 5}, {24, 5}, {25, 4}, {26, 5}, {28, 5}},
	} {
		for _, missing := range needs {
			for _, need := range needs {
				all[need] = true
			}
			if !names()[name] {
				t.Errorf("%s is not served with all that it needs", name)
			}
			delete(all, missing)
			if names()[name] {
				t.Errorf("%s is served without version %d of API %d", name, missing[1], missing[0])
			}
		}
	}
}

func TestFinalizedFeatures(t *testing.T) {
	two, fixed := Feature{Name: "two", Min: 0, Max: 2}, Feature{Name: "fixed", Min: 0, Max: 1, Fixed: true}
	var usual FinalizedFeatures
	if usual.Level(two) != 2 || usual.Level(fixed) != 1 || usual.Epoch != 0 {
		t.Errorf("usually %d and %d, epoch %d", usual.Level(two), usual.Level(fixed), usual.Epoch)
	}
	changed := usual.With(map[string]int16{"two": 0, "fixed": 0})
	again := changed.With(map[string]int16{"two": 1})
	if changed.Level(two) != 0 || changed.Level(fixed) != 1 || again.Level(two) != 1 || changed.Epoch != 1 || again.Epoch != 2 {
		t.Errorf("changed to %+v, then to %+v", changed, again)
	}
	read, err := ParseFinalizedFeatures(again.Stored())
	if err != nil || read.Epoch != 2 || !maps.Equal(read.chosen, again.chosen) {
		t.Errorf("read %+v, %v", read, err)
	}
	if read, err := ParseFinalizedFeatures(nil); err != nil || read.Epoch != 0 || read.Level(two) != 2 {
		t.Errorf("nothing stored is read as %+v, %v", read, err)
	}
	// A newer release chose it.
	if level := usual.With(map[string]int16{"two": 9}).Level(two); level != 2 {
		t.Errorf("a level that is not known here is taken for %d", level)
	}
	for _, broken := range []map[string]string{{"epoch": "x"}, {"two": "x"}, {"two": "70000"}} {
		if read, err := ParseFinalizedFeatures(broken); err == nil || read.Level(two) != 2 {
			t.Errorf("%v is read as %+v, %v", broken, read, err)
		}
	}
}
