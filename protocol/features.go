package protocol

// Feature is one of Kafka's cluster-wide features (KIP-584). Clients take its level for
// a promise of everything behind it.
type Feature struct {
	Name string
	// Min and Max are the levels that could be chosen; Max is the one in force.
	Min, Max int16
}

// Features returns the features that are served. Those of Kafka's brokers among
// themselves (metadata.version, kraft.version ...) have no meaning here.
func Features() []Feature {
	var features []Feature
	if Supports(68, 1) { // all of KIP-848
		features = append(features, Feature{Name: "group.version", Min: 0, Max: 1})
	}
	return features
}
