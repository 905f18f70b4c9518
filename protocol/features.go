package protocol

import (
	"fmt"
	"maps"
	"strconv"
)

// Feature is one of Kafka's cluster-wide features (KIP-584). Clients take its level for
// a promise of everything behind it.
type Feature struct {
	Name string
	// Min and Max are the levels that there are. Max is in force where none was chosen.
	Min, Max int16
	// Fixed: no other can be chosen, since nothing here would go by it.
	Fixed bool
}

// Features returns the features that are served. Those of Kafka's brokers among
// themselves (metadata.version, kraft.version ...) have no meaning here.
func Features() []Feature { return features(Supports) }

func features(supports func(key, version int16) bool) []Feature {
	var served []Feature
	if supports(68, 1) { // all of KIP-848
		served = append(served, Feature{Name: "group.version", Min: 0, Max: 1, Fixed: true})
	}
	// All of KIP-890: Produce, InitProducerId, AddPartitionsToTxn, AddOffsetsToTxn, EndTxn, TxnOffsetCommit.
	// Java's producers use TransactionV2 where the level is 2, and else what they
	// did before; the agents go by the versions of their requests.
	if supports(0, 12) && supports(22, 5) && supports(24, 5) && supports(25, 4) && supports(26, 5) && supports(28, 5) {
		served = append(served, Feature{Name: "transaction.version", Min: 0, Max: 2})
	}
	return served
}

// FinalizedFeatures are the levels in force. The zero value is what holds while
// nobody has chosen any.
type FinalizedFeatures struct {
	// Epoch rises with each change. Of the answers of several agents, clients
	// believe the one with the largest.
	Epoch int64

	chosen map[string]int16
}

// Level is the feature's level in force.
func (f FinalizedFeatures) Level(feature Feature) int16 {
	level, ok := f.chosen[feature.Name]
	if feature.Fixed || !ok {
		return feature.Max
	}
	// Another release of the program may know more levels, or fewer.
	return min(max(level, feature.Min), feature.Max)
}

// With returns the features with other levels, by name, in force.
func (f FinalizedFeatures) With(levels map[string]int16) FinalizedFeatures {
	changed := FinalizedFeatures{Epoch: f.Epoch + 1, chosen: maps.Clone(f.chosen)}
	if changed.chosen == nil {
		changed.chosen = map[string]int16{}
	}
	maps.Copy(changed.chosen, levels)
	return changed
}

// epochKey is the key of the epoch among the names of features.
const epochKey = "epoch"

// Stored is what is stored of the features.
func (f FinalizedFeatures) Stored() map[string]string {
	stored := map[string]string{epochKey: strconv.FormatInt(f.Epoch, 10)}
	for name, level := range f.chosen {
		stored[name] = strconv.Itoa(int(level))
	}
	return stored
}

// ParseFinalizedFeatures reads what Stored returned; nothing at all is the zero value.
func ParseFinalizedFeatures(stored map[string]string) (FinalizedFeatures, error) {
	f := FinalizedFeatures{chosen: make(map[string]int16, len(stored))}
	for name, text := range stored {
		if name == epochKey {
			epoch, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				return FinalizedFeatures{}, fmt.Errorf("epoch of the features: %w", err)
			}
			f.Epoch = epoch
			continue
		}
		level, err := strconv.ParseInt(text, 10, 16)
		if err != nil {
			return FinalizedFeatures{}, fmt.Errorf("level of the feature %q: %w", name, err)
		}
		f.chosen[name] = int16(level)
	}
	return f, nil
}
