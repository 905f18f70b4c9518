// Package guard holds the tests that keep the source tree as it was meant: which
// package may import which, that each says what it is for, and that no list
// kept by hand can fall behind. They read the sources and run nothing else; each
// failure says what the rule is good for.
package guard
