package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/wadi-log/wadi/cmd/wadi/internal/args"
	"github.com/wadi-log/wadi/cmd/wadi/internal/flagvalue"
)

// version and commit are set by release builds (-ldflags "-X main.version=v1.2.3
// -X main.commit=..."); empty, what the Go toolchain recorded is shown.
var version, commit string

// buildVersion is what `wadi version` prints.
type buildVersion struct {
	Version string `json:"version"`
	// Commit is empty when unknown; Modified means the tree had other changes.
	Commit   string `json:"commit,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func currentVersion() buildVersion {
	v := buildVersion{Version: version, Commit: commit, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if ok {
		if v.Version == "" {
			v.Version = info.Main.Version
		}
		for _, setting := range info.Settings {
			switch setting.Key {
			case "vcs.revision":
				if v.Commit == "" {
					v.Commit = setting.Value
				}
			case "vcs.modified":
				v.Modified = setting.Value == "true"
			}
		}
	}
	if v.Version == "" || v.Version == "(devel)" {
		v.Version = "devel"
	}
	return v
}

func (v buildVersion) String() string {
	text := "wadi " + v.Version
	if v.Commit != "" {
		text += " commit " + v.Commit[:min(len(v.Commit), 12)]
	}
	if v.Modified {
		text += " (modified)"
	}
	return fmt.Sprintf("%s %s %s", text, v.Go, v.Platform)
}

func versionCommand() *cobra.Command {
	output := "text"
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Example: `  wadi version
  wadi version -o json`,
		Args:              args.None,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := currentVersion()
			if output == "json" {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(v)
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), v)
			return err
		},
	}
	cmd.Flags().VarP(flagvalue.OneOf(&output, "text", "json"), "output", "o", "format of the output")
	return cmd
}
