-- +goose Up

-- first_unstable is the smallest first offset of the open transactions that have
-- written to the partition, last_aborted the last offset of the last aborted one: by
-- it a reader knows whether it need look for any. Both are null in partitions without
-- transactions, where they take no room; adding them rewrites nothing.
ALTER TABLE partitions ADD COLUMN first_unstable bigint, ADD COLUMN last_aborted bigint;

-- Transactional IDs, keyed by a hash as groups are (metadata.TransactionKey), with
-- names in bytes. Whoever looks for transactions that are overdue reads all of the
-- table: an index would cost every transaction two changes of it. producer_id, by
-- which commits of files find their transactions, changes only when a producer's
-- epochs have run out: after 32,767 transactions at the earliest.
CREATE TABLE transactions (
	producer_id      bigint      NOT NULL UNIQUE,
	-- -1 for none, as last_epoch.
	last_producer_id bigint      NOT NULL,
	-- Null when no transaction is open.
	started_at       timestamptz,
	updated_at       timestamptz NOT NULL,
	txn_key          uuid        PRIMARY KEY,
	timeout_ms       integer     NOT NULL,
	producer_epoch   smallint    NOT NULL,
	last_epoch       smallint    NOT NULL,
	-- Numbers of metadata.TransactionState and metadata.TransactionVersion.
	state            smallint    NOT NULL,
	version          smallint    NOT NULL,
	name             bytea       NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
        autovacuum_analyze_scale_factor = 0.2, autovacuum_vacuum_cost_delay = 0);

-- What belongs to open transactions. It is keyed by the producer's ID, of which a
-- transactional ID has one at a time, and goes when the transaction ends.
CREATE TABLE transaction_partitions (
	producer_id  bigint  NOT NULL,
	-- Of the first batch; null before there is one.
	first_offset bigint,
	partition_id integer NOT NULL,
	PRIMARY KEY (producer_id, partition_id)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
        autovacuum_analyze_scale_factor = 0.2, autovacuum_vacuum_cost_delay = 0);
-- Who else is open in a partition, when a transaction ends there.
CREATE INDEX transaction_partitions_partition ON transaction_partitions (partition_id);

CREATE TABLE transaction_groups (
	producer_id bigint NOT NULL,
	group_key   uuid   NOT NULL,
	name        bytea  NOT NULL,
	PRIMARY KEY (producer_id, group_key)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
        autovacuum_analyze_scale_factor = 0.2, autovacuum_vacuum_cost_delay = 0);

-- Offsets that become those of their groups when the transaction is committed.
CREATE TABLE transaction_offsets (
	producer_id    bigint      NOT NULL,
	pending_offset bigint      NOT NULL,
	put_at         timestamptz NOT NULL,
	group_key      uuid        NOT NULL,
	partition_id   integer     NOT NULL,
	leader_epoch   integer     NOT NULL,
	metadata       bytea       NOT NULL,
	PRIMARY KEY (producer_id, group_key, partition_id)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
        autovacuum_analyze_scale_factor = 0.2, autovacuum_vacuum_cost_delay = 0);
-- For those who fetch a group's offsets, or delete the group.
CREATE INDEX transaction_offsets_group ON transaction_offsets (group_key, partition_id);

-- Which records of which producer don't count. last_offset is the marker's, and
-- stable_offset the partition's last stable offset after it: no row behind this one
-- begins before that, so a reader need not look further than to the first whose
-- stable_offset is not before the end of what it reads.
CREATE TABLE aborted_transactions (
	first_offset  bigint  NOT NULL,
	last_offset   bigint  NOT NULL,
	stable_offset bigint  NOT NULL,
	producer_id   bigint  NOT NULL,
	partition_id  integer NOT NULL,
	PRIMARY KEY (partition_id, last_offset)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,
        autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000,
        autovacuum_analyze_scale_factor = 0.2, autovacuum_vacuum_cost_delay = 0);
