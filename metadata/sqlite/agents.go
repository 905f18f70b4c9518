package sqlite

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
)

// RegisterAgent implements metadata.Agents.
func (s *Store) RegisterAgent(ctx context.Context, agent metadata.Agent) (entered metadata.Agent, err error) {
	err = s.change(ctx, "register the agent", func(t *tx) error {
		if err := t.exec(`DELETE FROM agents WHERE beat_at <= ?`, millis(t.now.Add(-metadata.NodeIDReserved))); err != nil {
			return err
		}
		register, err := t.register()
		if err != nil {
			return err
		}
		if entered, err = metadata.Enter(agent, register); err != nil {
			return err
		}
		details, err := entered.Details(s.history.Schema)
		if err != nil {
			return err
		}
		if err := t.exec(`DELETE FROM agents WHERE name = ? OR node_id = ?`, entered.Name, entered.NodeID); err != nil {
			return err
		}
		first := entered.Listeners[0]
		return t.exec(`INSERT INTO agents (node_id, incarnation, name, host, port, zone, details, beat_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
			entered.NodeID, entered.Incarnation[:], entered.Name, first.Host, first.Port, entered.Zone, string(details), millis(t.now))
	})
	if err != nil {
		return metadata.Agent{}, err
	}
	return entered, nil
}

// BeatAgent implements metadata.Agents.
func (s *Store) BeatAgent(ctx context.Context, agent metadata.Agent) (alive []metadata.Agent, err error) {
	const doing = "renew the agent's registration"
	if err := s.history.Refusal(); errors.Is(err, metadata.ErrSchema) {
		return nil, s.describe(doing, err)
	}
	details, err := agent.Details(s.history.Schema)
	if err != nil {
		return nil, err
	}
	err = s.changeAnyway(ctx, doing, func(t *tx) error {
		first := agent.Listeners[0]
		entered, err := t.affected(`INSERT INTO agents (node_id, incarnation, name, host, port, zone, details, beat_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (node_id) DO UPDATE SET (incarnation, name, host, port, zone, details, beat_at)
				= (excluded.incarnation, excluded.name, excluded.host, excluded.port, excluded.zone, excluded.details, excluded.beat_at)
			WHERE incarnation = excluded.incarnation OR beat_at <= ?`,
			agent.NodeID, agent.Incarnation[:], agent.Name, first.Host, first.Port, agent.Zone, string(details), millis(t.now), t.deadline())
		if err != nil {
			return err
		}
		if alive, err = t.aliveAgents(); err == nil && entered == 0 {
			err = metadata.Refuse(agent, alive)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return alive, nil
}

// RemoveAgent implements metadata.Agents.
func (s *Store) RemoveAgent(ctx context.Context, nodeID int32, incarnation uuid.UUID) error {
	return s.changeAnyway(ctx, "remove the agent from the register", func(t *tx) error {
		return t.exec(`UPDATE agents SET beat_at = min(beat_at, ?) WHERE node_id = ? AND incarnation = ?`, t.deadline(), nodeID, incarnation[:])
	})
}

// ClusterSecret implements metadata.Agents.
func (s *Store) ClusterSecret(ctx context.Context) (secret []byte, err error) {
	err = s.change(ctx, "read the cluster secret", func(t *tx) error {
		if err := t.exec(`INSERT INTO cluster_secret VALUES (1, ?) ON CONFLICT DO NOTHING`, metadata.NewClusterSecret()); err != nil {
			return err
		}
		return t.QueryRowContext(t.ctx, `SELECT secret FROM cluster_secret`).Scan(&secret)
	})
	return secret, err
}

// deadline is the time of the last beat at and before which an agent is dead.
func (t *tx) deadline() int64 { return millis(t.now.Add(-metadata.AgentTimeout)) }

// register reads all agents.
func (t *tx) register() ([]metadata.Registered, error) { return t.agents(`TRUE`) }

func (t *tx) aliveAgents() (alive []metadata.Agent, err error) {
	register, err := t.agents(`beat_at > ? AND COALESCE(details ->> 'schema', 0) >= (SELECT compatible_from FROM sequencer)`, t.deadline())
	for _, r := range register {
		alive = append(alive, r.Agent)
	}
	return alive, err
}

// agents reads those that a condition holds for, by node ID.
func (t *tx) agents(where string, args ...any) (register []metadata.Registered, err error) {
	rows, err := t.QueryContext(t.ctx, `SELECT node_id, incarnation, name, host, port, zone, details, beat_at > ? FROM agents
		WHERE `+where+` ORDER BY node_id`, append([]any{t.deadline()}, args...)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var r metadata.Registered
		var host, details string
		var port int32
		if err := rows.Scan(&r.NodeID, &r.Incarnation, &r.Name, &host, &port, &r.Zone, &details, &r.Alive); err != nil {
			return nil, err
		}
		if err := r.SetDetails([]byte(details), host, port); err != nil {
			return nil, err
		}
		register = append(register, r)
	}
	return register, rows.Err()
}
