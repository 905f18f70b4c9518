package sqlite

import (
	"context"
	"encoding/json"
	"maps"

	"github.com/wadi-log/wadi/metadata"
)

// ListConfigs implements metadata.Configs.
func (s *Store) ListConfigs(ctx context.Context) (set map[metadata.ConfigResource]map[string]string, seq int64, err error) {
	set = map[metadata.ConfigResource]map[string]string{}
	err = s.read(ctx, "read configs", func(t *tx) error {
		if err := t.stmt(s.prepared.lastSeq).QueryRowContext(t.ctx).Scan(&seq); err != nil {
			return err
		}
		rows, err := t.QueryContext(t.ctx, `SELECT kind, name, configs FROM configs`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var r metadata.ConfigResource
			var name []byte
			var encoded string
			if err := rows.Scan(&r.Kind, &name, &encoded); err != nil {
				return err
			}
			r.Name = string(name)
			if set[r], err = decodeConfigs(encoded); err != nil {
				return err
			}
		}
		return rows.Err()
	})
	if err != nil {
		return nil, 0, err
	}
	return set, seq, nil
}

// ConfigsOf implements metadata.Configs.
func (s *Store) ConfigsOf(ctx context.Context, resources []metadata.ConfigResource) (set map[metadata.ConfigResource]map[string]string, seq int64, err error) {
	set = map[metadata.ConfigResource]map[string]string{}
	err = s.read(ctx, "read configs", func(t *tx) error {
		if err := t.stmt(s.prepared.lastSeq).QueryRowContext(t.ctx).Scan(&seq); err != nil {
			return err
		}
		for _, r := range resources {
			now, err := t.configsOf(r)
			if err != nil {
				return err
			}
			if len(now) > 0 {
				set[r] = now
			}
		}
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	return set, seq, nil
}

// AlterConfigs implements metadata.Configs.
func (s *Store) AlterConfigs(ctx context.Context, resource metadata.ConfigResource, edit metadata.ConfigEdit) (set map[string]string, seq int64, err error) {
	err = s.sequenced(ctx, "alter configs", func(q *sequencer) error {
		now, err := q.configsOf(resource)
		if err != nil {
			return err
		}
		if set, err = edit(maps.Clone(now)); err != nil {
			return err
		}
		seq = q.lastSeq
		if maps.Equal(set, now) {
			return nil
		}
		encoded, err := json.Marshal(set)
		if err != nil {
			return err
		}
		if len(set) == 0 {
			err = q.exec(`DELETE FROM configs WHERE kind = ? AND name = ?`, resource.Kind, []byte(resource.Name))
		} else {
			err = q.exec(`INSERT INTO configs (kind, name, configs) VALUES (?, ?, ?)
				ON CONFLICT (kind, name) DO UPDATE SET configs = excluded.configs`, resource.Kind, []byte(resource.Name), string(encoded))
		}
		if err != nil {
			return err
		}
		commit, err := q.add(metadata.Commit{Configs: []metadata.ConfigResource{resource}}, nil, nil)
		seq = commit.Seq
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	return set, seq, nil
}

// configsOf returns what is set on one resource, an empty map for nothing.
func (t *tx) configsOf(r metadata.ConfigResource) (map[string]string, error) {
	var encoded string
	found, err := scanOptional(t.QueryRowContext(t.ctx, `SELECT configs FROM configs WHERE kind = ? AND name = ?`, r.Kind, []byte(r.Name)), &encoded)
	if err != nil || !found {
		return map[string]string{}, err
	}
	return decodeConfigs(encoded)
}

func decodeConfigs(encoded string) (configs map[string]string, err error) {
	err = json.Unmarshal([]byte(encoded), &configs)
	return configs, err
}
