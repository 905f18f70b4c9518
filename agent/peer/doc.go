// Package peer lets the agents of a zone read from the object store for one another, so that the
// zone pays for each part of a data file once, however many of its agents have consumers for it.
//
// Each part has an owner among the agents of the zone, which all of them work out for themselves by
// rendezvous hashing. The others ask the owner ([Client]), which answers from its cache or reads
// the part from the object store ([Server]) and never asks on. What is asked of one owner at the same time
// goes together.
//
// Guarantees: an owner costs those who ask it little when it is dead, frozen or lost in the network. While it
// works on an answer it says so several times a second; who hears nothing for a moment gives up, leaves it
// alone for some seconds, and finds out in the background when it is back. Only those who know the
// cluster's secret can ask or answer ([Identity]): connections are TLS 1.3, with certificates of both
// sides that an authority has signed whose key is made from the secret.
//
// The package knows nothing of caches, records or the register of agents. That an answer is what the object
// store has is for whoever checks the records' CRCs to say.
package peer
