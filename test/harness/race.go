//go:build race

package harness

// raceDetector: agents are built with the race detector when the tests are.
const raceDetector = true
