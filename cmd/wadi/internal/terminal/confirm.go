package terminal

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// Confirm puts a question to whoever sits at the command's terminal, and
// reports whether the answer was yes. Anything else is a no. The error is why the
// command was interrupted meanwhile.
func Confirm(cmd *cobra.Command, question string) (bool, error) {
	cmd.PrintErr(question + " Type yes: ")
	answer := make(chan string, 1)
	go func() {
		// Ends with the process at the latest: a read from a terminal can't be cancelled.
		line, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			line = ""
		}
		answer <- strings.TrimSpace(line)
	}()
	select {
	case <-cmd.Context().Done():
		return false, context.Cause(cmd.Context())
	case text := <-answer:
		return strings.EqualFold(text, "yes") || strings.EqualFold(text, "y"), nil
	}
}
