package postgres

import (
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/wadi-log/wadi/metadata"
)

// newFiles are data files that enter the store, with their runs: into files, or
// straight into dead_files if they have none.
type newFiles struct {
	id                   []pgtype.UUID
	size, seq, liveBytes []int64
	level                []int16
	// The i-th file has the keys from first[i] to last[i], from 1, of the runs of all.
	first, last []int32
	runs        []metadata.Run

	deadID   []pgtype.UUID
	deadSize []int64
}

// fileRow is what [newFiles] needs to know of a file.
type fileRow struct {
	id        uuid.UUID
	size, seq int64
	level     int16
	liveBytes int64
	runs      []metadata.Run
}

func (n *newFiles) add(f fileRow) {
	id := pgtype.UUID{Bytes: f.id, Valid: true}
	if len(f.runs) == 0 {
		n.deadID, n.deadSize = append(n.deadID, id), append(n.deadSize, f.size)
		return
	}
	n.id, n.size, n.seq = append(n.id, id), append(n.size, f.size), append(n.seq, f.seq)
	n.level, n.liveBytes = append(n.level, f.level), append(n.liveBytes, f.liveBytes)
	n.first = append(n.first, int32(len(n.runs)+1))
	n.runs = append(n.runs, f.runs...)
	n.last = append(n.last, int32(len(n.runs)))
}

// queue writes the files' rows; those of their runs are not its concern.
func (n *newFiles) queue(b *pgx.Batch, now time.Time) {
	if len(n.id) > 0 {
		partitions, offsets := make([]int32, len(n.runs)), make([]int64, len(n.runs))
		for i, r := range n.runs {
			partitions[i], offsets[i] = int32(r.Partition), r.BaseOffset
		}
		b.Queue(insertFiles, n.id, n.size, n.seq, n.level, n.liveBytes, n.first, n.last, partitions, offsets, now)
	}
	if len(n.deadID) > 0 {
		b.Queue(`INSERT INTO dead_files (id, size, died_at) SELECT unnest($1::uuid[]), unnest($2::int8[]), $3::timestamptz`, n.deadID, n.deadSize, now)
	}
}

const insertFiles = `INSERT INTO files (id, size, seq, level, live_bytes, live_runs, partitions, offsets, committed_at)
	SELECT id, size, seq, level, live_bytes, last - first + 1, ($8::int4[])[first:last], ($9::int8[])[first:last], $10::timestamptz
	FROM (SELECT unnest($1::uuid[]) AS id, unnest($2::int8[]) AS size, unnest($3::int8[]) AS seq, unnest($4::int2[]) AS level,
		unnest($5::int8[]) AS live_bytes, unnest($6::int4[]) AS first, unnest($7::int4[]) AS last) v`
