package objstore_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/memory"
	"github.com/wadi-log/wadi/objstore/objstoretest"
)

func TestClaimedBucketIsRefusedToOtherClusters(t *testing.T) {
	b := memory.Open()
	for range 2 {
		if err := objstore.Claim(t.Context(), b, "ours"); err != nil {
			t.Fatal(err)
		}
	}
	err := objstore.Claim(t.Context(), b, "another")
	if !errors.Is(err, objstore.ErrConfig) {
		t.Fatalf("claim of another's bucket: %v", err)
	}
	for _, part := range []string{"--objects", "cluster ours", "wadi recover", "owner/ours"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in: %v", part, err)
		}
	}
	if err := objstore.Claim(t.Context(), b, "ours"); err != nil {
		t.Errorf("the owner after another's try: %v", err)
	}
}

// TestClaimAtTheSameTime has another cluster claim the bucket between every two
// steps of a claim.
func TestClaimAtTheSameTime(t *testing.T) {
	for _, step := range []struct {
		name string
		op   objstoretest.Op
		call int
	}{
		{"before the first listing", objstoretest.List, 1},
		{"before the put", objstoretest.Put, 1},
		{"before the second listing", objstoretest.List, 2},
	} {
		t.Run(step.name, func(t *testing.T) {
			store := memory.Open()
			b := objstoretest.NewFaulty(store)
			var other error
			calls := map[objstoretest.Op]int{}
			b.Inject(func(op objstoretest.Op, _ string) objstoretest.Fault {
				if calls[op]++; op == step.op && calls[op] == step.call {
					other = objstore.Claim(context.Background(), store, "another")
				}
				return objstoretest.Fault{}
			})
			ours := objstore.Claim(t.Context(), b, "ours")
			if ours == nil && other == nil {
				t.Error("both clusters have the bucket")
			}
			b.Inject(nil)
			for cluster, before := range map[string]error{"ours": ours, "another": other} {
				if now := objstore.Claim(t.Context(), b, cluster); before == nil && now != nil {
					t.Errorf("%s had the bucket and lost it: %v", cluster, now)
				}
			}
		})
	}
}

func TestClaimThatFailsIsRepeatable(t *testing.T) {
	for _, op := range []objstoretest.Op{objstoretest.List, objstoretest.Put} {
		for _, persisted := range []bool{false, true} {
			b := objstoretest.NewFaulty(memory.Open())
			b.Fail(op, 1, objstoretest.Fault{Err: errPassing, Persisted: persisted})
			if err := objstore.Claim(t.Context(), b, "ours"); !errors.Is(err, errPassing) {
				t.Errorf("%s fails: %v", op, err)
			}
			if err := objstore.Claim(t.Context(), b, "ours"); err != nil {
				t.Errorf("after %s failed (persisted: %v): %v", op, persisted, err)
			}
		}
	}
}
