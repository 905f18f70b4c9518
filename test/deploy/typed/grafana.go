package main

import (
	"errors"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

// grafana decodes a dashboard with its panels, their options and their queries.
func grafana(input []byte) (any, error) {
	plugins.RegisterDefaultPlugins()
	var d dashboard.Dashboard
	if err := some(d.UnmarshalJSONStrict(input)); err != nil {
		return nil, err
	}
	return struct{}{}, some(d.Validate())
}

// some returns nil for a list of errors that is empty, which the generated types return as an error too.
func some(err error) error {
	var list cog.BuildErrors
	if errors.As(err, &list) && len(list) == 0 {
		return nil
	}
	return err
}
