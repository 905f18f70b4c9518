// Command typed decodes what is meant for other programs by the types of those programs, and refuses what they
// don't know. It reads standard input and writes JSON about what was there:
//
//	typed kubernetes   YAML documents: the kind and name of each
//	typed grafana      a dashboard: nothing but {}
//	typed promql       a JSON list of queries: what each of them asks for
//
// It is a module of its own, since the types of Kubernetes, Prometheus and Grafana would bring
// hundreds of modules into Wadi's.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
)

func main() {
	commands := map[string]func(input []byte) (any, error){
		"kubernetes": kubernetes, "grafana": grafana, "promql": queries,
	}
	if len(os.Args) != 2 || commands[os.Args[1]] == nil {
		fail("usage: typed kubernetes | grafana | promql < input")
	}
	input, err := io.ReadAll(os.Stdin)
	if err != nil {
		fail(err)
	}
	answer, err := commands[os.Args[1]](input)
	if err != nil {
		fail(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(answer); err != nil {
		fail(err)
	}
}

func fail(why any) {
	fmt.Fprintln(os.Stderr, "typed:", why)
	os.Exit(1)
}
