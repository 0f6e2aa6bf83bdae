-- SPDX-License-Identifier: Apache-2.0
-- The first schema. Times are milliseconds since 1970 (UTC), ids 16 bytes of UUIDv7. A column ending
-- in _ms is NULL where the program says NO_TIME. See doc/design/storage.md.

CREATE TABLE migration (
	version       INTEGER PRIMARY KEY,
	name          TEXT NOT NULL,
	applied_at_ms INTEGER NOT NULL
) STRICT;

-- Small rows on purpose: every claim rewrites one. What is copied here from the definition serves
-- filters and the decisions taken inside a transaction.
CREATE TABLE action (
	id                 BLOB PRIMARY KEY CHECK (length(id) = 16),
	name               TEXT NOT NULL UNIQUE CHECK (name <> ''),
	version            INTEGER NOT NULL CHECK (version >= 1),
	definition_version INTEGER NOT NULL CHECK (definition_version BETWEEN 1 AND version),
	is_paused          INTEGER NOT NULL CHECK (is_paused IN (0, 1)),
	next_due_ms        INTEGER,
	kind               TEXT NOT NULL,
	overlap            TEXT NOT NULL,
	queue_limit        INTEGER NOT NULL CHECK (queue_limit >= 0), -- action_pending_limit()
	max_concurrent     INTEGER NOT NULL CHECK (max_concurrent >= 0),
	priority           INTEGER NOT NULL,
	has_schedule       INTEGER NOT NULL CHECK (has_schedule IN (0, 1)),
	runs_on_start      INTEGER NOT NULL CHECK (runs_on_start IN (0, 1)),
	created_at_ms      INTEGER NOT NULL,
	updated_at_ms      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX action_due ON action (next_due_ms) WHERE next_due_ms IS NOT NULL;
CREATE INDEX action_paused ON action (id) WHERE is_paused = 1;
CREATE INDEX action_starts ON action (name) WHERE runs_on_start = 1;

-- What a person wrote, as JSON. An old version goes when no run that is open or held needs it.
CREATE TABLE definition (
	action_id BLOB NOT NULL REFERENCES action (id) ON DELETE CASCADE,
	version   INTEGER NOT NULL,
	body      TEXT NOT NULL,
	PRIMARY KEY (action_id, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE action_tag (
	action_id BLOB NOT NULL REFERENCES action (id) ON DELETE CASCADE,
	tag       TEXT NOT NULL,
	PRIMARY KEY (action_id, tag)
) STRICT, WITHOUT ROWID;

-- Which event starts an action.
CREATE TABLE subscription (
	action_id BLOB PRIMARY KEY REFERENCES action (id) ON DELETE CASCADE,
	event     TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX subscription_event ON subscription (event);

-- Schedules that depend on what their runs do: the interval from the end of a run, how many are left.
CREATE TABLE pace (
	action_id      BLOB PRIMARY KEY REFERENCES action (id) ON DELETE CASCADE,
	every_after_ms INTEGER CHECK (every_after_ms > 0),
	end_at_ms      INTEGER,
	runs_left      INTEGER CHECK (runs_left >= 0)
) STRICT, WITHOUT ROWID;

-- What an action asks for beside being run, and how it fares: what is kept of its ledger, who is told (names of actions),
-- by when a run must have succeeded. failing_since: the last of its runs that ended by itself failed; late_since: the
-- deadline has passed, and no run has succeeded since. A row appears with the first of these.
CREATE TABLE care (
	action_id        BLOB PRIMARY KEY REFERENCES action (id) ON DELETE CASCADE,
	retain_age_ms    INTEGER CHECK (retain_age_ms > 0),
	retain_count     INTEGER CHECK (retain_count > 0),
	expect_ms        INTEGER CHECK (expect_ms > 0),
	on_failure       TEXT,
	on_recovery      TEXT,
	on_late          TEXT,
	failing_since_ms INTEGER,
	deadline_ms      INTEGER, -- NULL: none, paused, or late already
	late_since_ms    INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX care_deadline ON care (deadline_ms) WHERE deadline_ms IS NOT NULL;
CREATE INDEX care_late ON care (expect_ms) WHERE late_since_ms IS NOT NULL;

-- Deleted actions whose ledger is still to be removed, batch by batch (retain). Nobody sees those runs any more.
CREATE TABLE removed (
	action_id     BLOB PRIMARY KEY,
	removed_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Keys of events: one sent again within the window is the same event. An old row goes when another event is sent.
CREATE TABLE event_key (
	name       TEXT NOT NULL,
	key        TEXT NOT NULL,
	event_id   BLOB NOT NULL,
	sent_at_ms INTEGER NOT NULL,
	PRIMARY KEY (name, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX event_key_sent ON event_key (sent_at_ms);

-- The ledger: one row for each due time, manual trigger or event. No reference to the action: the ledger of a deleted one
-- goes later (removed).
-- Here and in `attempt`, which every run writes, words are compared one by one: for an IN of more than two SQLite builds a
-- table, at each row written.
CREATE TABLE run (
	id                 BLOB PRIMARY KEY CHECK (length(id) = 16),
	action_id          BLOB NOT NULL CHECK (length(action_id) = 16),
	action_version     INTEGER NOT NULL,
	definition_version INTEGER NOT NULL,
	kind               TEXT NOT NULL,
	is_serial          INTEGER NOT NULL CHECK (is_serial IN (0, 1)),
	max_concurrent     INTEGER NOT NULL DEFAULT 0, -- 0: any number
	triggered_by       TEXT NOT NULL CHECK (triggered_by = 'schedule' OR triggered_by = 'manual' OR triggered_by = 'event' OR triggered_by = 'backfill' OR triggered_by = 'retry' OR triggered_by = 'start'),
	due_at_ms          INTEGER NOT NULL,
	state              TEXT NOT NULL CHECK (state = 'pending' OR state = 'running' OR state = 'succeeded' OR state = 'failed' OR state = 'timed_out' OR state = 'cancelled' OR state = 'skipped' OR state = 'held'),
	reason             TEXT NOT NULL,
	attempt            INTEGER NOT NULL CHECK (attempt >= 0),
	interruptions      INTEGER NOT NULL CHECK (interruptions >= 0),
	epoch              INTEGER NOT NULL CHECK (epoch >= 0),
	instance_id        BLOB CHECK (length(instance_id) = 16),
	priority           INTEGER NOT NULL,
	not_before_ms      INTEGER,
	created_at_ms      INTEGER NOT NULL,
	claimed_at_ms      INTEGER,
	started_at_ms      INTEGER,
	finished_at_ms     INTEGER,
	http_status        INTEGER,
	exit_code          INTEGER,
	error              TEXT,
	output_bytes       INTEGER NOT NULL,
	missed_count       INTEGER NOT NULL CHECK (missed_count >= 1),
	missed_until_ms    INTEGER NOT NULL,
	cancel_requested   INTEGER NOT NULL CHECK (cancel_requested IN (0, 1)),
	retry_of           BLOB CHECK (length(retry_of) = 16),
	traceparent        TEXT,
	backfill           INTEGER NOT NULL DEFAULT 0, -- number of the action's backfill that made it; 0: none
	UNIQUE (action_id, due_at_ms, backfill),
	CHECK (state <> 'running' OR instance_id IS NOT NULL)
) STRICT, WITHOUT ROWID;

CREATE INDEX run_of_action ON run (action_id, id);
CREATE INDEX run_open ON run (action_id, state, due_at_ms) WHERE state = 'pending' OR state = 'running';
CREATE INDEX run_held ON run (action_id, definition_version) WHERE state = 'held';
CREATE INDEX run_running ON run (instance_id) WHERE state = 'running';
-- Startable at once; a later one moves here when its time has come. In the order of run_rank_ms().
CREATE INDEX run_ready ON run (kind, (created_at_ms - priority * 60000), due_at_ms) WHERE state = 'pending' AND not_before_ms IS NULL;
CREATE INDEX run_later ON run (not_before_ms) WHERE state = 'pending' AND not_before_ms IS NOT NULL;
-- For "what went wrong lately", which is asked of a long ledger with few such rows.
CREATE INDEX run_trouble ON run (id) WHERE state = 'failed' OR state = 'timed_out' OR state = 'held';

CREATE INDEX run_backfill ON run (action_id, backfill, state) WHERE backfill > 0;

-- Stretches of the past that are run on purpose. cursor_ms: the next due time to look at; NULL: none is left.
CREATE TABLE backfill (
	id             BLOB PRIMARY KEY CHECK (length(id) = 16),
	action_id      BLOB NOT NULL REFERENCES action (id) ON DELETE CASCADE,
	number         INTEGER NOT NULL CHECK (number >= 1),
	state          TEXT NOT NULL CHECK (state IN ('running','done','cancelled')),
	rerun          TEXT NOT NULL CHECK (rerun IN ('none','failed','all')),
	seed           TEXT NOT NULL,
	schedule       TEXT NOT NULL,
	from_ms        INTEGER NOT NULL,
	to_ms          INTEGER NOT NULL,
	cursor_ms      INTEGER,
	total          INTEGER NOT NULL,
	made           INTEGER NOT NULL,
	passed         INTEGER NOT NULL,
	interval_ms    INTEGER NOT NULL,
	max_open       INTEGER NOT NULL,
	next_at_ms     INTEGER NOT NULL,
	created_at_ms  INTEGER NOT NULL,
	finished_at_ms INTEGER,
	UNIQUE (action_id, number)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX backfill_running ON backfill (action_id) WHERE state = 'running';

-- What an event brought to a run that it started. depth: how many ends of runs led here; 0 for an event from outside.
CREATE TABLE run_event (
	run_id   BLOB PRIMARY KEY REFERENCES run (id) ON DELETE CASCADE,
	event_id BLOB NOT NULL,
	depth    INTEGER NOT NULL CHECK (depth >= 0),
	name     TEXT NOT NULL,
	payload  TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX run_event_event ON run_event (event_id);

-- Keyed by epoch, not by number: an interrupted attempt gives its number back.
CREATE TABLE attempt (
	run_id         BLOB NOT NULL REFERENCES run (id) ON DELETE CASCADE,
	epoch          INTEGER NOT NULL,
	attempt        INTEGER NOT NULL,
	instance_id    BLOB,
	outcome        TEXT NOT NULL CHECK (outcome = 'succeeded' OR outcome = 'failed' OR outcome = 'timed_out' OR outcome = 'cancelled' OR outcome = 'interrupted'),
	started_at_ms  INTEGER,
	finished_at_ms INTEGER NOT NULL,
	http_status    INTEGER,
	exit_code      INTEGER,
	error          TEXT,
	output         BLOB,
	output_total   INTEGER NOT NULL,
	output_kept    INTEGER NOT NULL DEFAULT 0, -- bytes of output
	PRIMARY KEY (run_id, epoch)
) STRICT, WITHOUT ROWID;
CREATE INDEX attempt_output ON attempt (finished_at_ms, output_kept) WHERE output_kept > 0;

-- How much output is kept. Triggers see what else writes attempts: a cascade, a person.
CREATE TABLE kept_output (
	id    INTEGER PRIMARY KEY CHECK (id = 1),
	bytes INTEGER NOT NULL
) STRICT;
INSERT INTO kept_output VALUES (1, 0);

CREATE TRIGGER output_added AFTER INSERT ON attempt WHEN NEW.output_kept > 0 BEGIN
	UPDATE kept_output SET bytes = bytes + NEW.output_kept WHERE id = 1;
END;
CREATE TRIGGER output_gone AFTER DELETE ON attempt WHEN OLD.output_kept > 0 BEGIN
	UPDATE kept_output SET bytes = bytes - OLD.output_kept WHERE id = 1;
END;
CREATE TRIGGER output_changed AFTER UPDATE OF output_kept ON attempt BEGIN
	UPDATE kept_output SET bytes = bytes + NEW.output_kept - OLD.output_kept WHERE id = 1;
END;

-- Values sealed with a key that is not in this file (src/vault).
CREATE TABLE secret (
	name           TEXT PRIMARY KEY,
	sealed         BLOB NOT NULL,
	created_at_ms  INTEGER NOT NULL,
	updated_at_ms  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What the last attempt that wrote any has noted: progress for people, and from where to go on. A row appears with the
-- first note; the checkpoint goes when the run has succeeded or was cancelled.
CREATE TABLE note (
	run_id       BLOB PRIMARY KEY REFERENCES run (id) ON DELETE CASCADE,
	epoch        INTEGER NOT NULL,
	has_progress INTEGER NOT NULL CHECK (has_progress IN (0, 1)),
	percent      INTEGER,
	message      TEXT,
	checkpoint   BLOB
) STRICT;

PRAGMA application_id = 0x47746872; -- "Gthr"
PRAGMA user_version = 1;
