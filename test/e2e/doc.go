// Package e2e tests the whole system from outside: agents as processes, real
// stores, real clients.
//
// Each test says in its name what a user is promised. The real input is the
// flights of the npm package vega-datasets: 200,000 records.
package e2e
