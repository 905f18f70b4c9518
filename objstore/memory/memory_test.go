package memory_test

import (
	"errors"
	"testing"

	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/memory"
	"github.com/wadi-log/wadi/objstore/objstoretest"
)

func TestContract(t *testing.T) {
	objstoretest.Run(t, func(testing.TB) objstore.Bucket { return memory.Open() })
}

func TestParseURL(t *testing.T) {
	if err := memory.ParseURL("mem:"); err != nil {
		t.Errorf("mem: is refused: %v", err)
	}
	for _, raw := range []string{"", "mem", "mem:x", "mem://", "memory:"} {
		if err := memory.ParseURL(raw); !errors.Is(err, objstore.ErrConfig) {
			t.Errorf("ParseURL(%q): %v, want %v", raw, err, objstore.ErrConfig)
		}
	}
}

func Benchmark(b *testing.B) {
	objstoretest.Bench(b, memory.Open())
}
