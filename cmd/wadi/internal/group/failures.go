package group

import (
	"iter"
	"maps"
	"slices"
)

// failures are partitions for which something failed, by the text of the
// error: a reason is told once, however many partitions share it.
type failures map[string]*failure

type failure struct {
	err        error
	partitions []partition
}

func (f failures) add(p partition, err error) {
	if f[err.Error()] == nil {
		f[err.Error()] = &failure{err: err}
	}
	f[err.Error()].partitions = append(f[err.Error()].partitions, p)
}

// each yields the partitions of each reason as text, and the reason.
func (f failures) each() iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, text := range slices.Sorted(maps.Keys(f)) {
			if !yield(partitionsText(f[text].partitions), f[text].err) {
				return
			}
		}
	}
}
