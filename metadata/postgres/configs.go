package postgres

import (
	"context"
	"encoding/json"
	"maps"

	"github.com/jackc/pgx/v5"

	"github.com/wadi-log/wadi/metadata"
)

// ListConfigs implements metadata.Configs: one statement, hence one snapshot.
func (s *Store) ListConfigs(ctx context.Context) (map[metadata.ConfigResource]map[string]string, int64, error) {
	return s.configs(ctx, `SELECT s.last_seq, c.kind, c.name, c.configs FROM sequencer s LEFT JOIN configs c ON true`)
}

// ConfigsOf implements metadata.Configs.
func (s *Store) ConfigsOf(ctx context.Context, resources []metadata.ConfigResource) (map[metadata.ConfigResource]map[string]string, int64, error) {
	kinds, names := make([]int16, len(resources)), make([][]byte, len(resources))
	for i, r := range resources {
		kinds[i], names[i] = int16(r.Kind), []byte(r.Name)
	}
	return s.configs(ctx, `SELECT s.last_seq, c.kind, c.name, c.configs FROM sequencer s LEFT JOIN (
			SELECT c.* FROM unnest($1::int2[], $2::bytea[]) AS v (kind, name) JOIN configs c ON c.kind = v.kind AND c.name = v.name
		) c ON true`, kinds, names)
}

func (s *Store) configs(ctx context.Context, sql string, args ...any) (set map[metadata.ConfigResource]map[string]string, seq int64, err error) {
	err = s.read(ctx, "read configs", func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		set = map[metadata.ConfigResource]map[string]string{}
		var kind *int16
		var name []byte
		var configs map[string]string
		_, err = pgx.ForEachRow(rows, []any{&seq, &kind, &name, &configs}, func() error {
			if kind != nil {
				set[metadata.ConfigResource{Kind: metadata.ConfigKind(*kind), Name: string(name)}] = configs
			}
			// The next row is not scanned into this one's map.
			configs = nil
			return nil
		})
		return err
	})
	return set, seq, err
}

// AlterConfigs implements metadata.Configs.
func (s *Store) AlterConfigs(ctx context.Context, resource metadata.ConfigResource, edit metadata.ConfigEdit) (set map[string]string, seq int64, err error) {
	var now map[string]string
	err = s.change(ctx, s.pool, "alter configs", func(b *pgx.Batch) {
		now = map[string]string{}
		b.Queue(`SELECT configs FROM configs WHERE kind = $1 AND name = $2`, int16(resource.Kind), []byte(resource.Name)).Query(func(rows pgx.Rows) error {
			_, err := pgx.ForEachRow(rows, []any{&now}, func() error { return nil })
			return err
		})
	}, func(q *sequencer, b *pgx.Batch) error {
		var err error
		if set, err = edit(maps.Clone(now)); err != nil {
			return err
		}
		seq = q.lastSeq
		if maps.Equal(set, now) {
			return nil
		}
		configs, err := json.Marshal(set)
		if err != nil {
			return err
		}
		if len(set) == 0 {
			b.Queue(`DELETE FROM configs WHERE kind = $1 AND name = $2`, int16(resource.Kind), []byte(resource.Name))
		} else {
			b.Queue(`INSERT INTO configs (kind, name, configs) VALUES ($1, $2, $3::jsonb)
				ON CONFLICT (kind, name) DO UPDATE SET configs = EXCLUDED.configs`, int16(resource.Kind), []byte(resource.Name), string(configs))
		}
		seq = q.add(metadata.Commit{Configs: []metadata.ConfigResource{resource}}, nil, nil).Seq
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	return set, seq, nil
}
