// Package agent is Wadi's stateless broker: it builds the parts of its
// subpackages over a metadata store and an object store, and runs them.
//
// An agent holds nothing that another one lacks. What it keeps in memory is
// either on its way into a data file, and not acknowledged, or a copy that can
// be read again. So any agent may serve any request, and may die at any time.
package agent
