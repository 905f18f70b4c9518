package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// errUnreplicated: the server committed, and gave up waiting for the standby that must have the commit.
var errUnreplicated = errors.New("the server was told to wait no longer for its synchronous standby (pg_cancel_backend?), which may lack the commit")

// unreplicated is the key of a connection's custom data under which it is noted that its last commit is errUnreplicated.
const unreplicated = "unreplicated"

// noteUnreplicated is told of all notices. The server says no more than this warning, and that the commit succeeded. All of its
// text is translated, and its SQLSTATE is that of any warning; so it is known by the routine that raises it.
func noteUnreplicated(conn *pgconn.PgConn, notice *pgconn.Notice) {
	if notice.Routine == "SyncRepWaitForLSN" {
		conn.CustomData()[unreplicated] = true
	}
}

// sendCommit runs the statements, of which the last is a COMMIT. With synchronous replication it has succeeded only if the standby
// has it, too.
func sendCommit(ctx context.Context, conn *pgx.Conn, b *pgx.Batch) error {
	custom := conn.PgConn().CustomData()
	delete(custom, unreplicated)
	queueCommit(b)
	err := conn.SendBatch(ctx, b).Close()
	if _, noted := custom[unreplicated]; err == nil && noted {
		err = errUnreplicated
	}
	return classify(err, true)
}

func queueCommit(b *pgx.Batch) {
	b.Queue(`COMMIT`).Exec(func(tag pgconn.CommandTag) error {
		if tag.String() != "COMMIT" {
			return errors.New("the transaction was rolled back: " + tag.String())
		}
		return nil
	})
}
