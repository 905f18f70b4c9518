// Package machine is a consumer group as a state machine, without I/O: state,
// request and time in, state and answer out.
//
// It refuses to know where groups are stored, how requests arrive and who waits for what.
package machine
