// Package inspect is `wadi inspect`: it shows what a data file holds, from the
// file alone. It reads damaged files as far as they make sense, and
// verifies every checksum on the way; damage makes the command fail.
package inspect

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/wadi-log/wadi/cmd/wadi/internal/args"
	"github.com/wadi-log/wadi/objstore/datafile"
)

// maxFileBytes is more than any data file may have.
const maxFileBytes = 1 << 30

// Command returns `wadi inspect`.
func Command() *cobra.Command {
	var asJSON, batches bool
	cmd := &cobra.Command{
		Use:   "inspect FILE",
		Short: "Show what a data file holds",
		Long: `Show what a data file (an object of Wadi's store) holds: which partitions, how stored, which batches.
All checksums are verified. FILE - is standard input. In a file from producers there are no offsets: the metadata
store assigns them after it was written. In a merged file there are, with an index of each section, and
the files that it was merged from; offsets and index are verified, too.`,
		Example: `  wadi inspect wadi-data/objects/data/3f/2026112309/01935a2c-...
  wadi inspect --batches FILE
  aws s3 cp s3://bucket/data/3f/2026112309/01935a2c-... - | wadi inspect - --json`,
		Args: args.One("a data file"),
		RunE: func(cmd *cobra.Command, files []string) error {
			file, err := read(cmd.InOrStdin(), files[0])
			if err != nil {
				return err
			}
			footer, err := datafile.ReadFooter(file)
			if err != nil {
				return fmt.Errorf("%s: %w", files[0], err)
			}
			report := inspect(footer, file)
			if asJSON {
				err = writeJSON(cmd.OutOrStdout(), report, batches)
			} else {
				err = writeText(cmd.OutOrStdout(), report, batches)
			}
			if err != nil {
				return err
			}
			if n := report.damaged(); n > 0 {
				return fmt.Errorf("%s is damaged: %d of %d sections", files[0], n, len(report.Sections))
			}
			return nil
		},
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().BoolVar(&batches, "batches", false, "show each batch, too")
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return cmd
}

func read(stdin io.Reader, name string) ([]byte, error) {
	source := io.NopCloser(stdin)
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		source = file
	}
	defer source.Close()
	content, err := io.ReadAll(io.LimitReader(source, maxFileBytes+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if len(content) > maxFileBytes {
		return nil, errors.New(name + " is larger than any data file")
	}
	return content, nil
}

func writeJSON(w io.Writer, r report, batches bool) error {
	if !batches {
		for i := range r.Sections {
			r.Sections[i].List = nil
			if m := r.Sections[i].Merged; m != nil {
				m.Index = nil
			}
		}
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}
