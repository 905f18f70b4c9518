package postgres

import (
	"context"
	"errors"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/wadi-log/wadi/metadata"
)

// RegisterAgent implements metadata.Agents. It takes the sequencer's lock, so
// that two agents which start at once see each other.
func (s *Store) RegisterAgent(ctx context.Context, agent metadata.Agent) (metadata.Agent, error) {
	var register []metadata.Registered
	var entered metadata.Agent
	err := s.change(ctx, s.pool, "register the agent", func(b *pgx.Batch) {
		b.Queue(`SELECT `+agentColumns+`, beat_at > clock_timestamp() - $1::interval FROM agents
			WHERE beat_at > clock_timestamp() - $2::interval`,
			metadata.AgentTimeout, metadata.NodeIDReserved).Query(func(rows pgx.Rows) (err error) {
			register, err = pgx.CollectRows(rows, scanRegistered)
			return err
		})
	}, func(q *sequencer, b *pgx.Batch) (err error) {
		if entered, err = metadata.Enter(agent, register); err != nil {
			return err
		}
		details, err := entered.Details(s.history.Schema)
		if err != nil {
			return err
		}
		b.Queue(`DELETE FROM agents WHERE beat_at <= $1::timestamptz - $2::interval`, q.now, metadata.NodeIDReserved)
		b.Queue(`DELETE FROM agents WHERE name = $1 OR node_id = $2`, entered.Name, entered.NodeID)
		first := entered.Listeners[0]
		b.Queue(`INSERT INTO agents (`+agentColumns+`, beat_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
			entered.NodeID, entered.Incarnation, entered.Name, first.Host, first.Port, entered.Zone, string(details), q.now)
		return nil
	})
	if err != nil {
		return metadata.Agent{}, err
	}
	return entered, nil
}

// BeatAgent implements metadata.Agents. Both statements are one transaction and
// one round trip; the second sees what the first wrote.
func (s *Store) BeatAgent(ctx context.Context, agent metadata.Agent) ([]metadata.Agent, error) {
	const doing = "renew the agent's registration"
	if err := s.history.Refusal(); errors.Is(err, metadata.ErrSchema) {
		return nil, describe(doing, err)
	}
	details, err := agent.Details(s.history.Schema)
	if err != nil {
		return nil, err
	}
	var alive []metadata.Agent
	var entered bool
	first := agent.Listeners[0]
	err = s.readAnyway(ctx, doing, func(ctx context.Context) error {
		b := &pgx.Batch{}
		b.Queue(`INSERT INTO agents AS a (`+agentColumns+`, beat_at) VALUES ($1, $2, $3, $4, $5, $6, $7, clock_timestamp())
			ON CONFLICT (node_id) DO UPDATE SET (incarnation, name, host, port, zone, details, beat_at)
				= (excluded.incarnation, excluded.name, excluded.host, excluded.port, excluded.zone, excluded.details, excluded.beat_at)
			WHERE a.incarnation = excluded.incarnation OR a.beat_at <= clock_timestamp() - $8::interval`,
			agent.NodeID, agent.Incarnation, agent.Name, first.Host, first.Port, agent.Zone, string(details), metadata.AgentTimeout).Exec(func(tag pgconn.CommandTag) error {
			entered = tag.RowsAffected() == 1
			return nil
		})
		b.Queue(`SELECT `+agentColumns+` FROM agents
			WHERE beat_at > clock_timestamp() - $1::interval
				AND COALESCE((details ->> 'schema')::bigint, 0) >= (SELECT compatible_from FROM sequencer)
			ORDER BY node_id`, metadata.AgentTimeout).Query(func(rows pgx.Rows) error {
			var err error
			alive, err = pgx.CollectRows(rows, scanAgent)
			return err
		})
		return s.pool.SendBatch(ctx, b).Close()
	})
	if err == nil && !entered {
		err = metadata.Refuse(agent, alive)
	}
	if err != nil {
		return nil, err
	}
	return alive, nil
}

// agentColumns are the columns that scanAgent reads.
const agentColumns = `node_id, incarnation, name, host, port, zone, details`

func scanRegistered(row pgx.CollectableRow) (r metadata.Registered, err error) {
	r.Agent, err = scanAgentAnd(row, &r.Alive)
	return r, err
}

func scanAgent(row pgx.CollectableRow) (metadata.Agent, error) { return scanAgentAnd(row) }

// scanAgentAnd reads an agent, and what else was asked for behind its columns.
func scanAgentAnd(row pgx.CollectableRow, more ...any) (a metadata.Agent, err error) {
	var host string
	var port int32
	var details []byte
	if err := row.Scan(append([]any{&a.NodeID, &a.Incarnation, &a.Name, &host, &port, &a.Zone, &details}, more...)...); err != nil {
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
