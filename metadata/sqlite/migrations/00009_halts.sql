-- +goose Up

-- What tells changes of the same number apart, if the database loses some and others take their numbers. See package history.
ALTER TABLE commits ADD COLUMN mark INTEGER NOT NULL DEFAULT 0;

-- store_id differs between databases that were made apart; epoch rises when changes that were lost are given up, and the
-- feed begins anew with the number epoch_seq. While it is halted nothing is changed.
ALTER TABLE sequencer ADD COLUMN store_id BLOB NOT NULL DEFAULT x'';
UPDATE sequencer SET store_id = randomblob(16);
ALTER TABLE sequencer ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sequencer ADD COLUMN epoch_seq INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sequencer ADD COLUMN halted INTEGER NOT NULL DEFAULT 0;

-- What each store that noticed knows to be lost, in JSON.
CREATE TABLE halts (
	epoch    INTEGER NOT NULL,
	reporter BLOB    NOT NULL,
	at       INTEGER NOT NULL,
	loss     TEXT    NOT NULL,
	PRIMARY KEY (epoch, reporter)
) STRICT, WITHOUT ROWID;
