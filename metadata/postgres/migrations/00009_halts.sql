-- +goose Up

-- This one waits for nobody who reads a snapshot, and lets nobody wait behind it: it is tried again.
SET LOCAL lock_timeout = '2s';

-- What tells changes of the same number apart, if the database loses some and others take their numbers. See package history.
ALTER TABLE commits ADD COLUMN mark bigint NOT NULL DEFAULT 0;

-- Every change reads this row. Its store_id differs between databases that were made apart; its epoch rises when changes that were lost
-- are given up, and the feed begins anew with the number epoch_seq. While it is halted nothing is changed.
ALTER TABLE sequencer
	ADD COLUMN store_id  uuid    NOT NULL DEFAULT gen_random_uuid(),
	ADD COLUMN epoch     bigint  NOT NULL DEFAULT 0,
	ADD COLUMN epoch_seq bigint  NOT NULL DEFAULT 0,
	ADD COLUMN halted    boolean NOT NULL DEFAULT false;

-- What each store that noticed knows to be lost, in JSON.
CREATE TABLE halts (
	epoch    bigint      NOT NULL,
	reporter uuid        NOT NULL,
	at       timestamptz NOT NULL,
	loss     jsonb       NOT NULL,
	PRIMARY KEY (epoch, reporter)
);
