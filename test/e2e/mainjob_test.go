package e2e

import (
	"testing"

	"github.com/wadi-log/wadi/test/harness"
)

// TestFlightsAreReadBackOnceAndInOrder is the main job: real records through
// two producers, each read back by three consumers.
func TestFlightsAreReadBackOnceAndInOrder(t *testing.T) {
	kcat := kcat(t)
	file := flightsFile(t)
	eachSetup(t, func(t *testing.T, options harness.AgentOptions) {
		agent := harness.Agent(t, options)
		wadi := harness.Binary(t)
		at := agent.Bootstrap()

		producers := []struct {
			topic, program string
			args           []string
		}{
			{"by-kcat", kcat, []string{"-b", at, "-P", "-t", "by-kcat", "-X", "enable.idempotence=true", "-K", `\t`, "-l", file}},
			{"by-wadi", wadi, []string{"produce", "by-wadi", "--bootstrap", at, "--key-separator", `\t`, "--file", file}},
		}
		for _, p := range producers {
			t.Run(p.topic, func(t *testing.T) {
				createTopic(t, at, p.topic, 12)
				run(t, p.program, p.args...)
				t.Run("kcat", func(t *testing.T) {
					checkFlights(t, parseReceived(t, run(t, kcat, "-b", at, "-C", "-t", p.topic, "-o", "beginning", "-e", "-q", "-f", `%p\t%o\t%k\t%s\n`)))
				})
				t.Run("franz-go", func(t *testing.T) { checkFlights(t, readAll(t, at, p.topic)) })
				t.Run("wadi", func(t *testing.T) {
					checkFlights(t, parseReceived(t, run(t, wadi, "consume", p.topic, "--bootstrap", at, "--offset", "start", "--format", `%p\t%o\t%k\t%v\n`)))
				})
			})
		}
	})
}
