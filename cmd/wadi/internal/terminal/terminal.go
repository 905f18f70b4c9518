// Package terminal tells whether somebody is watching. Progress bars and
// questions are for people only; pipes and logs get neither.
package terminal

import (
	"os"

	"github.com/mattn/go-isatty"
)

// Is reports whether a stream of a command is a terminal.
func Is(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && (isatty.IsTerminal(file.Fd()) || isatty.IsCygwinTerminal(file.Fd()))
}

// Redraws reports whether stream is a terminal that can draw a line over
// itself, as a progress bar does.
func Redraws(stream any) bool { return Is(stream) && os.Getenv("TERM") != "dumb" }
