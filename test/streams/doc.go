// Package streams runs a Kafka Streams application with exactly-once processing
// against Wadi, kills everything that it stands on, and checks every state that was
// ever committed: `make streams`.
//
// The application (java/Totals.java) counts the flights of the data set by distance and adds up
// their delays:
//
//	flights -> by-distance-repartition -> store, with totals-changelog -> totals
//
// Two instances of it run while agents are killed with SIGKILL every few seconds, and now and
// then an instance. Meanwhile an observer reads the topics as consumers of committed
// records do, and notes the group's committed offsets. [History.Verify] says what must hold of
// all that; it relies on nothing but what exactly-once processing promises, and so
// holds with Kafka too: COMPAT_BOOTSTRAP=host:port make streams runs the test against any
// cluster, where it kills instances only.
package streams
