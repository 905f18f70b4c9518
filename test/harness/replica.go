package harness

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// Replica starts a standby of this cluster, which follows it by streaming replication under the name, and is
// stopped after the test. Databases made before have it as their copy; its URL is that of the copy.
func (s *PostgresServer) Replica(name string) *PostgresServer {
	s.t.Helper()
	r := &PostgresServer{bin: s.bin, owner: s.owner, password: s.password, settings: s.settings}
	var err error
	if r.folder, err = current.newFolder("replica"); err != nil {
		s.t.Fatal(err)
	}
	r.belongTo(s.t)
	if err := r.copyFrom(s, name); err != nil {
		s.t.Fatal(err)
	}
	if err := r.startSomewhere(); err != nil {
		s.t.Fatal(err)
	}
	u, err := url.Parse(s.database)
	if err != nil {
		s.t.Fatal(err)
	}
	r.database = r.url(u.Path[1:])
	return r
}

// copyFrom fills the new cluster with what the primary has.
func (s *PostgresServer) copyFrom(primary *PostgresServer, name string) error {
	if s.owner != nil {
		if err := os.Chown(s.folder, int(s.owner.Uid), int(s.owner.Gid)); err != nil {
			return err
		}
	}
	p, err := s.launch("pg_basebackup", "--dbname="+primary.url("postgres")+"&application_name="+name, "--pgdata="+s.dataDir(),
		"--write-recovery-conf", "--checkpoint=fast", "--no-sync")
	if err != nil {
		return err
	}
	if code := p.exitCode(); code != 0 {
		return fmt.Errorf("pg_basebackup failed with code %d:\n%s", code, logTail(filepath.Join(s.folder, "log")))
	}
	return nil
}

// WaitForReplica lets every commit of this cluster wait until the replica of the name has it on its disk.
func (s *PostgresServer) WaitForReplica(name string) {
	s.t.Helper()
	s.mustExec("ALTER SYSTEM SET synchronous_standby_names = '" + name + "'")
	s.mustExec("SELECT pg_reload_conf()")
	Eventually(s.t, time.Minute, func() error {
		var state string
		err := s.ask("SELECT sync_state FROM pg_stat_replication WHERE application_name = '"+name+"'", &state)
		if err == nil && state != "sync" {
			err = fmt.Errorf("the replica is %s", state)
		}
		return err
	})
}

// StopFollowing lets this replica fall behind from now on.
func (s *PostgresServer) StopFollowing() {
	s.t.Helper()
	s.mustExec("ALTER SYSTEM SET primary_conninfo = ''")
	s.mustExec("SELECT pg_reload_conf()")
	Eventually(s.t, time.Minute, func() error {
		var receivers int
		err := s.ask("SELECT count(*) FROM pg_stat_wal_receiver", &receivers)
		if err == nil && receivers > 0 {
			err = fmt.Errorf("the replica still follows")
		}
		return err
	})
}

// Promote makes a primary of this replica, and returns when it is one.
func (s *PostgresServer) Promote() {
	s.t.Helper()
	s.mustExec("SELECT pg_promote(true, 60)")
	Eventually(s.t, time.Minute, func() error {
		var standby bool
		err := s.ask("SELECT pg_is_in_recovery()", &standby)
		if err == nil && standby {
			err = fmt.Errorf("the replica is none yet")
		}
		return err
	})
}

// Demote makes of this primary a standby that follows nobody. It stops and starts again.
func (s *PostgresServer) Demote() {
	s.t.Helper()
	s.Stop()
	signal := filepath.Join(s.dataDir(), "standby.signal")
	if err := os.WriteFile(signal, nil, 0o600); err != nil {
		s.t.Fatal(err)
	}
	if s.owner != nil {
		if err := os.Chown(signal, int(s.owner.Uid), int(s.owner.Gid)); err != nil {
			s.t.Fatal(err)
		}
	}
	s.Start()
}

// FailoverURL is the URL of this cluster's database and of the replica's: of whichever takes writes.
func (s *PostgresServer) FailoverURL(replica *PostgresServer) string {
	s.t.Helper()
	u, err := url.Parse(s.database)
	if err != nil {
		s.t.Fatal(err)
	}
	u.Host += "," + net.JoinHostPort("127.0.0.1", strconv.Itoa(replica.port))
	u.RawQuery += "&target_session_attrs=read-write"
	return u.String()
}

func (s *PostgresServer) mustExec(statement string) {
	s.t.Helper()
	if err := s.exec(context.Background(), statement); err != nil {
		s.t.Fatal(err)
	}
}

// ask runs a query of one value in the database postgres, on a connection of its own.
func (s *PostgresServer) ask(query string, to any) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.url("postgres"))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }() // nothing is left to lose
	return conn.QueryRow(ctx, query).Scan(to)
}
