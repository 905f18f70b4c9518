package txncheck

import (
	"reflect"
	"testing"
)

// TestScriptsDependOnSeedWriterAndNumber: so a seed repeats them, however a run went.
func TestScriptsDependOnSeedWriterAndNumber(t *testing.T) {
	write := func(seed uint64, writer string, number int) script {
		return newScript(random(seed, writer, number), []int32{0, 1, 2, 3, 4})
	}
	seen := map[ending]int{}
	for n := range 1000 {
		s := write(1, "writer-0", n)
		if !reflect.DeepEqual(s, write(1, "writer-0", n)) {
			t.Fatalf("script %d is another one the second time", n)
		}
		if reflect.DeepEqual(s, write(2, "writer-0", n)) || reflect.DeepEqual(s, write(1, "writer-1", n)) || reflect.DeepEqual(s, write(1, "writer-0", n+1)) {
			t.Fatalf("script %d is that of another seed, writer or number", n)
		}
		seen[s.ending]++
		if len(s.flushes) == 0 || len(s.flushes[0]) == 0 {
			t.Fatalf("script %d writes nothing", n)
		}
	}
	for e := range endings {
		if seen[e] < 15 {
			t.Errorf("%d of 1000 scripts end by %d", seen[e], e)
		}
	}
}
