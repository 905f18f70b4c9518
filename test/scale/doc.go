// Package scale offers the same load to clusters of 1, 2, 4 and 8 agents and measures what it costs: `make scale`.
//
// Producers with a connection to each agent that Metadata sends them to write records of one size, at a steady rate and
// in all of them together, to partitions that they choose at random; consumers read all of it as it comes. Nobody
// merges meanwhile, so that rows and requests are those that producing makes. All runs on one machine: what grows with the
// agents is the price of having more of them, and CPU that eight agents have no more of than one.
package scale
