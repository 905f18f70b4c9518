// Package output is how wadi's client commands print results: aligned tables,
// indented JSON, and the flag that chooses between them. It knows nothing of what it
// prints.
package output

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/wadi-log/wadi/cmd/wadi/internal/flagvalue"
)

// Register adds -o to the command with the words that it takes, and their
// completion. The value of *format is the default.
func Register(cmd *cobra.Command, format *string, words ...string) {
	cmd.Flags().VarP(flagvalue.OneOf(format, words...), "output", "o", "format of the output")
	if err := cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // the flag was added in the line above
	}
}

// Table writes rows below a header, whose words are separated by spaces, in
// aligned columns.
func Table(w io.Writer, header string, rows [][]string) error {
	var text strings.Builder
	fmt.Fprintln(&text, strings.ReplaceAll(header, " ", "\t"))
	for _, row := range rows {
		fmt.Fprintln(&text, strings.Join(row, "\t"))
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if _, err := io.WriteString(t, text.String()); err != nil {
		return err
	}
	return t.Flush()
}

// JSON writes v as indented JSON.
func JSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

// Plural returns "1 partition" or "3 partitions".
func Plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
