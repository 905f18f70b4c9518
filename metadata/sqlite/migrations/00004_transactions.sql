-- +goose Up

-- Times are microseconds since the epoch, as in the tables of groups. A transactional
-- ID may be as long as a group's, and is keyed by a hash, too (metadata.TransactionKey).

-- The smallest first offset of the open transactions that have written to the
-- partition, NULL without one.
ALTER TABLE partitions ADD COLUMN first_unstable INTEGER;
-- The marker of the last transaction that was aborted in the partition, NULL before
-- one was: whoever reads behind it need not look for any.
ALTER TABLE partitions ADD COLUMN last_aborted INTEGER;

CREATE TABLE transactions (
	transaction_key  BLOB    NOT NULL PRIMARY KEY,
	producer_id      INTEGER NOT NULL,
	epoch            INTEGER NOT NULL,
	last_producer_id INTEGER NOT NULL,
	last_epoch       INTEGER NOT NULL,
	state            INTEGER NOT NULL,
	version          INTEGER NOT NULL,
	timeout          INTEGER NOT NULL,
	-- NULL unless a transaction is open.
	started_at       INTEGER,
	updated_at       INTEGER NOT NULL,
	name             BLOB    NOT NULL
) STRICT, WITHOUT ROWID;
-- Batches name their producer alone.
CREATE UNIQUE INDEX transactions_producer ON transactions (producer_id);
-- When each open transaction's timeout passes.
CREATE INDEX transactions_overdue ON transactions (started_at + timeout) WHERE started_at IS NOT NULL;

-- The partitions of open transactions. first_offset is that of the transaction's
-- first batch, NULL before there is one.
CREATE TABLE transaction_partitions (
	partition_id INTEGER NOT NULL,
	producer_id  INTEGER NOT NULL,
	first_offset INTEGER,
	PRIMARY KEY (partition_id, producer_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX transaction_partitions_producer ON transaction_partitions (producer_id);

-- The groups of open transactions.
CREATE TABLE transaction_groups (
	producer_id INTEGER NOT NULL,
	group_key   BLOB    NOT NULL,
	name        BLOB    NOT NULL,
	PRIMARY KEY (producer_id, group_key)
) STRICT, WITHOUT ROWID;

-- Offsets that are put aside until their transaction ends. put_at becomes the
-- time of their commit, so that of two offsets the one that was sent last counts.
CREATE TABLE transaction_offsets (
	group_key        BLOB    NOT NULL,
	partition_id     INTEGER NOT NULL,
	producer_id      INTEGER NOT NULL,
	committed_offset INTEGER NOT NULL,
	leader_epoch     INTEGER NOT NULL,
	put_at           INTEGER NOT NULL,
	metadata         BLOB    NOT NULL,
	PRIMARY KEY (group_key, partition_id, producer_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX transaction_offsets_producer ON transaction_offsets (producer_id);

-- What readers of committed records leave out: one row for each abort marker, which
-- lies at last_offset, and as long as its run. stable_offset is the partition's
-- last stable offset just after it.
CREATE TABLE aborted_transactions (
	partition_id  INTEGER NOT NULL,
	last_offset   INTEGER NOT NULL,
	first_offset  INTEGER NOT NULL,
	stable_offset INTEGER NOT NULL,
	producer_id   INTEGER NOT NULL,
	PRIMARY KEY (partition_id, last_offset)
) STRICT, WITHOUT ROWID;
