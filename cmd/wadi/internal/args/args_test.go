package args

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestErrorsSayWhatToDo(t *testing.T) {
	root := &cobra.Command{Use: "wadi"}
	topic := &cobra.Command{Use: "topic", RunE: func(*cobra.Command, []string) error { return nil }}
	list := &cobra.Command{Use: "list TOPIC", RunE: topic.RunE}
	root.AddCommand(topic)
	topic.AddCommand(list)

	tests := []struct {
		name  string
		cmd   *cobra.Command
		check cobra.PositionalArgs
		args  []string
		want  string // "" for no error
	}{
		{"none of none", list, None, nil, ""},
		{"one of none", list, None, []string{"a"}, `"a" is one argument too many; see wadi topic list --help`},
		{"one of one", list, One("a topic"), []string{"a"}, ""},
		{"none of one", list, One("a topic"), nil, "name a topic, as in: wadi topic list TOPIC"},
		{"two of one", list, One("a topic"), []string{"a", "b"}, `"b" is one argument too many`},
		{"none of some", list, Some("a topic"), nil, "name a topic"},
		{"two of some", list, Some("a topic"), []string{"a", "b"}, ""},
		{"no subcommand", topic, Subcommand, nil, ""},
		{"misspelt subcommand", topic, Subcommand, []string{"lsit"}, "did you mean wadi topic list?"},
		{"unknown subcommand", topic, Subcommand, []string{"frobnicate"}, `unknown command "frobnicate"; see wadi topic --help`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := test.check(test.cmd, test.args)
			switch {
			case test.want == "" && err != nil:
				t.Errorf("got %v", err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}
