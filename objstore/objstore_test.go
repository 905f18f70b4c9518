package objstore_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/memory"
	"github.com/wadi-log/wadi/objstore/objstoretest"
	"github.com/wadi-log/wadi/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

var errPassing = errors.New("connection reset")

func FuzzCheckKey(f *testing.F) {
	for _, key := range []string{"data/3f/2026112300/0198", "", "/", "a//b", "../x", "ß/😀", "a\x00", ".a", "a/", `\`, strings.Repeat("a", 300)} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		err := objstore.CheckKey(key)
		if err != nil {
			if !errors.Is(err, objstore.ErrKey) {
				t.Fatalf("CheckKey(%q): %v, want an ErrKey", key, err)
			}
			return
		}
		if !utf8.ValidString(key) || len(key) > objstore.MaxKeyBytes || key == "" {
			t.Fatalf("CheckKey accepts %q", key)
		}
		for name := range strings.SplitSeq(key, "/") {
			if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "\x00\\\n") {
				t.Fatalf("CheckKey accepts %q", key)
			}
		}
	})
}

func TestDecoratedBucketKeepsTheContract(t *testing.T) {
	objstoretest.Run(t, func(testing.TB) objstore.Bucket {
		return objstore.Retry(objstore.Hedge(newMetrics(memory.Open()), 0), objstore.DefaultRetryPolicy())
	})
}

func TestProbeReadingWritesNothing(t *testing.T) {
	b := objstoretest.NewFaulty(memory.Open())
	b.Inject(func(op objstoretest.Op, _ string) objstoretest.Fault {
		if op == objstoretest.Put || op == objstoretest.Delete {
			return objstoretest.Fault{Err: objstore.ErrConfig}
		}
		return objstoretest.Fault{}
	})
	if err := objstore.ProbeReading(t.Context(), b); err != nil {
		t.Errorf("a bucket that may only be read: %v", err)
	}
	if puts, deletes := b.Calls(objstoretest.Put), b.Calls(objstoretest.Delete); puts+deletes > 0 {
		t.Errorf("%d puts, %d deletes; want none", puts, deletes)
	}
	for _, op := range []objstoretest.Op{objstoretest.List, objstoretest.Get} {
		b.Fail(op, 1, objstoretest.Fault{Err: errPassing})
		if err := objstore.ProbeReading(t.Context(), b); !errors.Is(err, errPassing) {
			t.Errorf("%s fails: %v, want %v", op, err, errPassing)
		}
	}
}

func TestProbeNamesWhatIsWrong(t *testing.T) {
	for _, test := range []struct {
		name  string
		op    objstoretest.Op
		fault objstoretest.Fault
		want  error
		says  string
	}{
		{"put fails", objstoretest.Put, objstoretest.Fault{Err: errPassing}, errPassing, ""},
		{"get fails", objstoretest.Get, objstoretest.Fault{Err: errPassing}, errPassing, ""},
		{"get finds nothing", objstoretest.Get, objstoretest.Fault{Err: objstore.ErrNotFound}, objstore.ErrConfig, "lost"},
		{"list fails", objstoretest.List, objstoretest.Fault{Err: errPassing}, errPassing, ""},
		{"delete fails", objstoretest.Delete, objstoretest.Fault{Err: errPassing}, errPassing, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := objstoretest.NewFaulty(memory.Open())
			b.Fail(test.op, 1, test.fault)
			err := objstore.Probe(t.Context(), b)
			if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("Probe: %v, want %v that says %q", err, test.want, test.says)
			}
		})
	}
}
