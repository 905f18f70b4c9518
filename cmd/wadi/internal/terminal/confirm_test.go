package terminal

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestConfirm(t *testing.T) {
	for answer, want := range map[string]bool{"yes\n": true, "Y\n": true, "yes": true, "no\n": false, "\n": false, "": false} {
		cmd := &cobra.Command{}
		cmd.SetContext(t.Context())
		cmd.SetIn(strings.NewReader(answer))
		var question bytes.Buffer
		cmd.SetErr(&question)
		got, err := Confirm(cmd, "Delete 2 topics?")
		if err != nil || got != want || question.String() != "Delete 2 topics? Type yes: " {
			t.Errorf("%q: got %v, %v, asked %q", answer, got, err, question.String())
		}
	}
}

func TestInterruptEndsTheQuestion(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	r, w := io.Pipe() // nobody answers
	defer func() { _ = w.Close() }()
	cmd := &cobra.Command{}
	cmd.SetContext(ctx)
	cmd.SetIn(r)
	cmd.SetErr(io.Discard)
	interrupted := errors.New("interrupted")
	cancel(interrupted)
	if _, err := Confirm(cmd, "Delete?"); !errors.Is(err, interrupted) {
		t.Errorf("got %v", err)
	}
}
