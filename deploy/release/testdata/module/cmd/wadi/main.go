// Command wadi stands in for the real one, which takes minutes to compile.
package main

import "os"

var version, commit string

func main() {
	if _, err := os.Stdout.WriteString("wadi " + version + " commit " + commit + "\n"); err != nil {
		panic(err)
	}
}
