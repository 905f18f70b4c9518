package postgres

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/wadi-log/wadi/metadata"
)

// RegisterAgent implements metadata.Agents. It takes the sequencer's lock, so
// that two agents which start at once see each other.
func (s *Store) RegisterAgent(ctx context.Context, agent metadata.Agent) (int32, error) {
	details, err := agent.Details(s.history.Schema)
	if err != nil {
		return 0, err
	}
	var held metadata.NodeIDs
	var id int32
	err = s.change(ctx, s.pool, "register the agent", func(b *pgx.Batch) {
		held = metadata.NodeIDs{Others: map[int32]bool{}}
		b.Queue(`SELECT node_id, name = $1, beat_at > clock_timestamp() - $2::interval FROM agents
			WHERE beat_at > clock_timestamp() - $3::interval`,
			agent.Name, metadata.AgentTimeout, metadata.NodeIDReserved).Query(func(rows pgx.Rows) error {
			var row int32
			var same, alive bool
			_, err := pgx.ForEachRow(rows, []any{&row, &same, &alive}, func() error {
				if same {
					held.Ours = row
				} else {
					held.Others[row] = alive
				}
				return nil
			})
			return err
		})
	}, func(q *sequencer, b *pgx.Batch) error {
		var err error
		if id, err = held.Choose(agent.NodeID); err != nil {
			return err
		}
		b.Queue(`DELETE FROM agents WHERE beat_at <= $1::timestamptz - $2::interval`, q.now, metadata.NodeIDReserved)
		b.Queue(`DELETE FROM agents WHERE name = $1 OR node_id = $2`, agent.Name, id)
		first := agent.Listeners[0]
		b.Queue(`INSERT INTO agents (node_id, incarnation, name, host, port, zone, details, beat_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
			id, agent.Incarnation, agent.Name, first.Host, first.Port, agent.Zone, string(details), q.now)
		return nil
	})
	if err != nil {
		return 0, err
	}
	return id, nil
}

// BeatAgent implements metadata.Agents. Both statements are one transaction and
// one round trip; the second sees what the first wrote.
func (s *Store) BeatAgent(ctx context.Context, agent metadata.Agent) ([]metadata.Agent, error) {
	details, err := agent.Details(s.history.Schema)
	if err != nil {
		return nil, err
	}
	var alive []metadata.Agent
	var entered bool
	first := agent.Listeners[0]
	err = s.readAnyway(ctx, "renew the agent's registration", func(ctx context.Context) error {
		b := &pgx.Batch{}
		b.Queue(`INSERT INTO agents AS a (node_id, incarnation, name, host, port, zone, details, beat_at) VALUES ($1, $2, $3, $4, $5, $6, $7, clock_timestamp())
			ON CONFLICT (node_id) DO UPDATE SET (incarnation, name, host, port, zone, details, beat_at)
				= (excluded.incarnation, excluded.name, excluded.host, excluded.port, excluded.zone, excluded.details, excluded.beat_at)
			WHERE a.incarnation = excluded.incarnation OR a.beat_at <= clock_timestamp() - $8::interval`,
			agent.NodeID, agent.Incarnation, agent.Name, first.Host, first.Port, agent.Zone, string(details), metadata.AgentTimeout).Exec(func(tag pgconn.CommandTag) error {
			entered = tag.RowsAffected() == 1
			return nil
		})
		b.Queue(`SELECT node_id, incarnation, name, host, port, zone, details FROM agents
			WHERE beat_at > clock_timestamp() - $1::interval ORDER BY node_id`, metadata.AgentTimeout).Query(func(rows pgx.Rows) error {
			var err error
			alive, err = pgx.CollectRows(rows, scanAgent)
			return err
		})
		return s.pool.SendBatch(ctx, b).Close()
	})
	if err == nil && !entered {
		err = fmt.Errorf("%w: %d", metadata.ErrNodeIDInUse, agent.NodeID)
	}
	if err != nil {
		return nil, err
	}
	return alive, nil
}

func scanAgent(row pgx.CollectableRow) (a metadata.Agent, err error) {
	var host string
	var port int32
	var details []byte
	if err := row.Scan(&a.NodeID, &a.Incarnation, &a.Name, &host, &port, &a.Zone, &details); err != nil {
		return a, err
	}
	return a, a.SetDetails(details, host, port)
}

// ClusterSecret implements metadata.Agents. As with the cluster ID, the first to ask writes a
// proposal and everybody reads it.
func (s *Store) ClusterSecret(ctx context.Context) (secret []byte, err error) {
	err = s.read(ctx, "read the cluster secret", func(ctx context.Context) error {
		b := &pgx.Batch{}
		b.Queue(`INSERT INTO cluster_secret VALUES (1, $1) ON CONFLICT DO NOTHING`, metadata.NewClusterSecret())
		b.Queue(`SELECT secret FROM cluster_secret`).QueryRow(func(row pgx.Row) error { return row.Scan(&secret) })
		return s.pool.SendBatch(ctx, b).Close()
	})
	return secret, err
}

// RemoveAgent implements metadata.Agents.
func (s *Store) RemoveAgent(ctx context.Context, nodeID int32, incarnation uuid.UUID) error {
	return s.readAnyway(ctx, "remove the agent from the register", func(ctx context.Context) error {
		_, err := s.pool.Exec(ctx, `UPDATE agents SET beat_at = least(beat_at, clock_timestamp() - $3::interval)
			WHERE node_id = $1 AND incarnation = $2`, nodeID, incarnation, metadata.AgentTimeout)
		return err
	})
}

func uuidArray(ids []uuid.UUID) []pgtype.UUID {
	out := make([]pgtype.UUID, len(ids))
	for i, id := range ids {
		out[i] = pgtype.UUID{Bytes: id, Valid: true}
	}
	return out
}
