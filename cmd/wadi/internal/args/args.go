// Package args checks the arguments of wadi's commands that are no flags. Its
// errors say which argument is missing or too many, and how the command reads.
package args

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"
)

// None refuses all arguments.
func None(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%q is one argument too many; %s", args[0], SeeHelp(cmd))
	}
	return nil
}

// One wants exactly one argument, called what in the error, as in "a topic".
func One(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) == 0:
			return fmt.Errorf("name %s, as in: %s", what, cmd.UseLine())
		case len(args) > 1:
			return fmt.Errorf("%q is one argument too many; %s", args[1], SeeHelp(cmd))
		}
		return nil
	}
}

// Some wants one argument or more, called what in the error.
func Some(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return fmt.Errorf("name %s, as in: %s", what, cmd.UseLine())
		}
		return nil
	}
}

// Unique drops names that were given twice, keeping the order.
func Unique(names []string) []string {
	var kept []string
	for _, name := range names {
		if !slices.Contains(kept, name) {
			kept = append(kept, name)
		}
	}
	return kept
}

// Subcommand is for commands that only group others: what is left as an
// argument is a subcommand that does not exist.
func Subcommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	cmd.SuggestionsMinimumDistance = 2 // cobra sets it only for its own check of arguments
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return fmt.Errorf("unknown command %q; did you mean %s %s?", args[0], cmd.CommandPath(), near[0])
	}
	return fmt.Errorf("unknown command %q; %s", args[0], SeeHelp(cmd))
}

// SeeHelp points to the help of the command.
func SeeHelp(cmd *cobra.Command) string { return "see " + cmd.CommandPath() + " --help" }
