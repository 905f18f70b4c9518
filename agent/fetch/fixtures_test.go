package fetch

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/wadi-log/wadi/objstore/memory"
	"github.com/wadi-log/wadi/objstore/objstoretest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func memoryBucket() *objstoretest.Faulty { return objstoretest.NewFaulty(memory.Open()) }
