// Package backup is `wadi backup`: it writes a snapshot of the metadata store into the object
// store, as agents do by themselves, and lists those that are there.
package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"golang.org/x/time/rate"

	"github.com/wadi-log/wadi/agent"
	"github.com/wadi-log/wadi/agent/maintenance"
	"github.com/wadi-log/wadi/agent/maintenance/backup"
	"github.com/wadi-log/wadi/cmd/wadi/internal/args"
	"github.com/wadi-log/wadi/cmd/wadi/internal/output"
	"github.com/wadi-log/wadi/cmd/wadi/internal/settings"
	"github.com/wadi-log/wadi/metadata"
	"github.com/wadi-log/wadi/objstore"
)

// Command returns `wadi backup`.
func Command() *cobra.Command {
	var list, asJSON bool
	cmd := &cobra.Command{
		Use:   "backup",
		Short: "Write a snapshot of the metadata store into the object store",
		Long: `Write a snapshot of the metadata store into the object store, from which wadi recover rebuilds a metadata store
that was lost. Agents do so by themselves every --snapshot-interval, and the command doesn't disturb them; it is for a
snapshot at a moment of your choice, say before an upgrade. The newest three snapshots stay.`,
		Example: `  WADI_METADATA=postgres://wadi:secret@db/wadi wadi backup --objects s3://bucket/prefix
  wadi backup --config wadi.yaml --list`,
		Args:              args.None,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, _, err := settings.Load(cmd.Flags(), os.Environ())
			if err != nil {
				return err
			}
			if err := config.Validate(); err != nil {
				return err
			}
			run := write
			if list {
				run = show
			}
			return run(cmd.Context(), cmd.OutOrStdout(), config, asJSON)
		},
	}
	settings.Register(cmd.Flags(), "metadata", "objects", "data-dir")
	cmd.Flags().BoolVar(&list, "list", false, "list the snapshots that are there, and write none")
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return cmd
}

// write writes a snapshot and reports it.
func write(ctx context.Context, out io.Writer, config agent.Config, asJSON bool) (err error) {
	store, err := agent.OpenMetadata(ctx, config.MetadataURL(), agent.ReadWrite)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	bucket, err := agent.OpenObjects(ctx, config, agent.ReadWrite, prometheus.NewRegistry())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bucket.Close()) }()
	m, err := writeTo(ctx, store, bucket)
	if err != nil {
		return err
	}
	if asJSON {
		return output.JSON(out, snapshotOf(m))
	}
	_, err = fmt.Fprintf(out, "wrote snapshot %s: %s, %s\n", m.Name, output.Plural(int(m.RowCount()), "row"), humanize.IBytes(uint64(m.Size())))
	return err
}

func writeTo(ctx context.Context, store metadata.Store, bucket objstore.Bucket) (backup.Manifest, error) {
	clusterID, err := store.ClusterID(ctx)
	if err != nil {
		return backup.Manifest{}, err
	}
	// A snapshot of another store would be taken for one of the bucket's own.
	if err := objstore.Claim(ctx, bucket, clusterID); err != nil {
		return backup.Manifest{}, err
	}
	// One of an old copy of the store would push out those that have what the copy lacks.
	if err := backup.CheckNotBehind(ctx, store, bucket); err != nil {
		return backup.Manifest{}, err
	}
	m, err := backup.Write(ctx, store, bucket, progress())
	if err != nil {
		return m, err
	}
	if err := store.NoteSnapshot(ctx, m.At); err != nil {
		return m, err
	}
	l, err := backup.List(ctx, bucket)
	if err != nil {
		return m, err
	}
	return m, backup.Prune(ctx, bucket, l)
}

// progress is of a command that somebody waits for: it knows no bounds.
func progress() *maintenance.Progress {
	return maintenance.NewProgress("snapshot", rate.NewLimiter(rate.Inf, 1), maintenance.NewMetrics(prometheus.NewRegistry()))
}

// snapshot is a line of the list. Error is why it can't be used.
type snapshot struct {
	Name      string    `json:"name"`
	At        time.Time `json:"at,omitzero"`
	ClusterID string    `json:"cluster_id,omitempty"`
	Rows      int64     `json:"rows,omitempty"`
	Parts     int       `json:"parts,omitempty"`
	Size      int64     `json:"size,omitempty"`
	Error     string    `json:"error,omitempty"`
}

func snapshotOf(m backup.Manifest) snapshot {
	return snapshot{Name: m.Name, At: m.At, ClusterID: m.ClusterID, Rows: m.RowCount(), Parts: len(m.Parts), Size: m.Size()}
}

// show lists the snapshots, the newest first. It needs no metadata store.
func show(ctx context.Context, out io.Writer, config agent.Config, asJSON bool) (err error) {
	bucket, err := agent.OpenObjects(ctx, config, agent.ReadOnly, prometheus.NewRegistry())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bucket.Close()) }()
	l, err := backup.List(ctx, bucket)
	if err != nil {
		return err
	}
	snapshots := []snapshot{}
	for _, name := range l.Whole {
		m, err := backup.ReadManifest(ctx, bucket, name)
		switch {
		case err == nil:
			snapshots = append(snapshots, snapshotOf(m))
		case errors.Is(err, backup.ErrDamaged), errors.Is(err, backup.ErrVersion):
			snapshots = append(snapshots, snapshot{Name: name, Error: err.Error()})
		default:
			return err
		}
	}
	for _, name := range l.Torn {
		snapshots = append(snapshots, snapshot{Name: name, Error: "it is being written, or its writer died"})
	}
	if asJSON {
		return output.JSON(out, snapshots)
	}
	var rows [][]string
	for _, s := range snapshots {
		state := "whole"
		if s.Error != "" {
			state = "unusable: " + s.Error
		}
		rows = append(rows, []string{s.Name, strconv.FormatInt(s.Rows, 10), humanize.IBytes(uint64(s.Size)), state})
	}
	return output.Table(out, "SNAPSHOT ROWS SIZE STATE", rows)
}
