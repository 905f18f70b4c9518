// Package configs is Kafka's configuration vocabulary: which configs a topic,
// a broker, a consumer group and a client metrics subscription have in Kafka 4.2, with
// type, default, allowed values, and the broker config from which a topic
// config takes its default.
//
// It guarantees that a name outside the vocabulary and a value outside its
// range are refused with a message that names the config and what is allowed,
// in Kafka's own wording where a client may show it; and that every config of
// Kafka's topics is known, also those without an effect here (segments,
// replicas, flushes): they are kept and shown, so that tools which set them work.
//
// It refuses to know where configs are stored and who may change them.
//
// Sources: https://kafka.apache.org/documentation/#topicconfigs, #brokerconfigs
// and #groupconfigs, and the answers of a Kafka 4.2.0 broker; the documentation
// strings are Wadi's own and say what holds here.
package configs
