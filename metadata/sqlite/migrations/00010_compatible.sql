-- +goose Up

-- The version of the oldest schema whose programs still work with this one. A migration that is not for them sets it.
ALTER TABLE sequencer ADD COLUMN compatible_from INTEGER NOT NULL DEFAULT 10;
