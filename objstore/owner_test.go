package objstore_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/wadi-log/wadi/objstore"
	"github.com/wadi-log/wadi/objstore/memory"
	"github.com/wadi-log/wadi/objstore/objstoretest"
)

func TestCheckOwnerClaimsNothing(t *testing.T) {
	b := memory.Open()
	err := objstore.CheckOwner(t.Context(), b, "ours")
	if !errors.Is(err, objstore.ErrConfig) || !strings.Contains(err.Error(), "no cluster yet") {
		t.Errorf("bucket that nobody claimed: %v", err)
	}
	// It is still there for another.
	if err := objstore.Claim(t.Context(), b, "another"); err != nil {
		t.Fatal(err)
	}
	if err := objstore.CheckOwner(t.Context(), b, "ours"); !errors.Is(err, objstore.ErrConfig) || !strings.Contains(err.Error(), "another") {
		t.Errorf("another's bucket: %v", err)
	}
	if err := objstore.CheckOwner(t.Context(), b, "another"); err != nil {
		t.Errorf("its own bucket: %v", err)
	}
	faulty := objstoretest.NewFaulty(b)
	faulty.Fail(objstoretest.List, 1, objstoretest.Fault{Err: errors.New("connection reset")})
	if err := objstore.CheckOwner(t.Context(), faulty, "another"); err == nil || errors.Is(err, objstore.ErrConfig) {
		t.Errorf("bucket that can't be listed: %v", err)
	}
}
