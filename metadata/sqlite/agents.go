package sqlite

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/wadi-log/wadi/metadata"
)

// RegisterAgent implements metadata.Agents.
func (s *Store) RegisterAgent(ctx context.Context, agent metadata.Agent) (nodeID int32, err error) {
	details, err := agent.Details(s.history.Schema)
	if err != nil {
		return 0, err
	}
	err = s.change(ctx, "register the agent", func(t *tx) error {
		if err := t.exec(`DELETE FROM agents WHERE beat_at <= ?`, millis(t.now.Add(-metadata.NodeIDReserved))); err != nil {
			return err
		}
		held, err := t.nodeIDs(agent.Name)
		if err != nil {
			return err
		}
		if nodeID, err = held.Choose(agent.NodeID); err != nil {
			return err
		}
		if err := t.exec(`DELETE FROM agents WHERE name = ? OR node_id = ?`, agent.Name, nodeID); err != nil {
			return err
		}
		first := agent.Listeners[0]
		return t.exec(`INSERT INTO agents (node_id, incarnation, name, host, port, zone, details, beat_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
			nodeID, agent.Incarnation[:], agent.Name, first.Host, first.Port, agent.Zone, string(details), millis(t.now))
	})
	if err != nil {
		return 0, err
	}
	return nodeID, nil
}

// BeatAgent implements metadata.Agents.
func (s *Store) BeatAgent(ctx context.Context, agent metadata.Agent) (alive []metadata.Agent, err error) {
	details, err := agent.Details(s.history.Schema)
	if err != nil {
		return nil, err
	}
	err = s.changeAnyway(ctx, "renew the agent's registration", func(t *tx) error {
		first := agent.Listeners[0]
		entered, err := t.affected(`INSERT INTO agents (node_id, incarnation, name, host, port, zone, details, beat_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (node_id) DO UPDATE SET (incarnation, name, host, port, zone, details, beat_at)
				= (excluded.incarnation, excluded.name, excluded.host, excluded.port, excluded.zone, excluded.details, excluded.beat_at)
			WHERE incarnation = excluded.incarnation OR beat_at <= ?`,
			agent.NodeID, agent.Incarnation[:], agent.Name, first.Host, first.Port, agent.Zone, string(details), millis(t.now), t.deadline())
		if err != nil {
			return err
		}
		if entered == 0 {
			return fmt.Errorf("%w: %d", metadata.ErrNodeIDInUse, agent.NodeID)
		}
		alive, err = t.aliveAgents()
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

// nodeIDs reads who has which node ID, as the agent of the name sees it.
func (t *tx) nodeIDs(name string) (held metadata.NodeIDs, err error) {
	rows, err := t.QueryContext(t.ctx, `SELECT node_id, name = ?, beat_at > ? FROM agents`, name, t.deadline())
	if err != nil {
		return held, err
	}
	defer rows.Close()
	held.Others = map[int32]bool{}
	for rows.Next() {
		var id int32
		var same, alive bool
		if err := rows.Scan(&id, &same, &alive); err != nil {
			return held, err
		}
		if same {
			held.Ours = id
		} else {
			held.Others[id] = alive
		}
	}
	return held, rows.Err()
}

func (t *tx) aliveAgents() (alive []metadata.Agent, err error) {
	rows, err := t.QueryContext(t.ctx, `SELECT node_id, incarnation, name, host, port, zone, details FROM agents
		WHERE beat_at > ? ORDER BY node_id`, t.deadline())
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var a metadata.Agent
		var host, details string
		var port int32
		if err := rows.Scan(&a.NodeID, &a.Incarnation, &a.Name, &host, &port, &a.Zone, &details); err != nil {
			return nil, err
		}
		if err := a.SetDetails([]byte(details), host, port); err != nil {
			return nil, err
		}
		alive = append(alive, a)
	}
	return alive, rows.Err()
}
