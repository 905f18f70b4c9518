// Package compat runs real clients and Kafka's own tools against Wadi: `make compat`.
//
// Each client has a folder with scripts in its own language, which also show how
// that client is used. A script prints a line for each feature that it tried:
//
//	ok NAME
//	differs NAME: how     Wadi answers otherwise than Kafka, and is meant to
//	FAIL NAME: reason
//
// and with --list the names that it knows, each with a tab and what is tried
// where the name does not say it. The scripts are started with the names to run and in their environment
//
//	COMPAT_BOOTSTRAP   host:port, of several brokers with commas between them
//	COMPAT_TARGET      wadi or kafka
//	COMPAT_RUN         a word for names of topics and groups, another one each time
//	COMPAT_JAVA        the folder with Kafka's jars
//
// The test starts Wadi in several ways, runs all scripts against each, prints
// what works and writes it to docs/compatibility.md. A check that fails with a real
// Kafka is a wrong check: COMPAT_BOOTSTRAP=host:port make compat runs everything
// against any cluster, and leaves the document alone. The scripts need a cluster with
// the group settings in setups_test.go, num.partitions=4 and automatic creation of topics.
package compat
