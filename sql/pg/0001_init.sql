-- SPDX-License-Identifier: Apache-2.0
-- The first schema. Everything lives in a schema of its own, and every name is written with it: no search_path is
-- relied upon, so a pooler may stand in between. Times are timestamptz(3): what the program writes and compares in
-- milliseconds survives the round trip exactly, also when a person sets one by hand. See doc/design/storage.md.
--
-- One rule makes decisions about an action safe: who gives a run of it a place (claim, trigger, take of a serial one)
-- or changes it (replace, pause, delete) holds the lock of its row, and counts what is open in a statement of its own
-- after the lock, so with a snapshot that no earlier holder can hide from.

CREATE SCHEMA gathering;

-- min_version: the oldest program, named by the newest migration it knows, that still works on this schema.
CREATE TABLE gathering.migration (
	version     integer PRIMARY KEY,
	name        text NOT NULL,
	min_version integer NOT NULL,
	applied_at  timestamptz(3) NOT NULL DEFAULT now()
);

-- The database clock. It alone decides what is due and when leases end; tests put another in its place.
CREATE FUNCTION gathering.clock() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE
	AS $$ SELECT date_trunc('milliseconds', now()) $$;

-- The place in the line for capacity, run_rank_ms() of the program: a minute of waiting outweighs a point of priority.
-- Immutable, unlike the operators in it, because an interval without days and months knows no time zone.
CREATE FUNCTION gathering.rank(in_created timestamptz, in_priority integer) RETURNS timestamptz
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $rank$ BEGIN RETURN in_created - in_priority * interval '1 minute'; END $rank$;

-- Small rows on purpose: every claim rewrites one. What is copied here from the definition serves filters and the
-- decisions taken inside a transaction. Few indexes for the same reason: a claim writes an entry into each.
CREATE TABLE gathering.action (
	id                 uuid PRIMARY KEY,
	version            bigint NOT NULL CHECK (version >= 1),
	definition_version bigint NOT NULL CHECK (definition_version BETWEEN 1 AND version),
	next_due_at        timestamptz(3),
	created_at         timestamptz(3) NOT NULL,
	updated_at         timestamptz(3) NOT NULL,
	queue_limit        integer NOT NULL CHECK (queue_limit >= 0), -- action_pending_limit() of the program
	max_concurrent     integer NOT NULL DEFAULT 0 CHECK (max_concurrent >= 0), -- 0: any number
	priority           integer NOT NULL,
	is_paused          boolean NOT NULL,
	has_schedule       boolean NOT NULL,
	runs_on_start      boolean NOT NULL DEFAULT false,
	kind               text COLLATE "C" NOT NULL,
	overlap            text COLLATE "C" NOT NULL CHECK (overlap IN ('skip','queue','allow','cancel_running')),
	name               text COLLATE "C" NOT NULL CONSTRAINT action_name UNIQUE CHECK (name <> '')
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.01, autovacuum_analyze_scale_factor = 0.02);

CREATE INDEX action_due ON gathering.action (next_due_at, id) WHERE next_due_at IS NOT NULL;
CREATE INDEX action_paused ON gathering.action (id) WHERE is_paused;
CREATE INDEX action_starts ON gathering.action (name) WHERE runs_on_start;

-- What a person wrote, as JSON. An old version goes when no run that is open or held needs it (forget_definitions).
CREATE TABLE gathering.definition (
	action_id uuid NOT NULL REFERENCES gathering.action (id) ON DELETE CASCADE,
	version   bigint NOT NULL,
	body      json NOT NULL,
	PRIMARY KEY (action_id, version)
);

CREATE TABLE gathering.action_tag (
	action_id uuid NOT NULL REFERENCES gathering.action (id) ON DELETE CASCADE,
	tag       text COLLATE "C" NOT NULL,
	PRIMARY KEY (action_id, tag)
);
CREATE INDEX action_tag_tag ON gathering.action_tag (tag);

-- Which event starts an action. Who writes a name for the end of a run ("action.NAME.STATE") locks the table, so that
-- no two of them close a circle that neither sees.
CREATE TABLE gathering.subscription (
	action_id uuid PRIMARY KEY REFERENCES gathering.action (id) ON DELETE CASCADE,
	event     text COLLATE "C" NOT NULL
);
CREATE INDEX subscription_event ON gathering.subscription (event, action_id);
CREATE INDEX subscription_chain ON gathering.subscription (action_id) WHERE event LIKE 'action.%';

-- Schedules that depend on what their runs do: the interval from the end of a run, how many are left.
CREATE TABLE gathering.pace (
	action_id      uuid PRIMARY KEY REFERENCES gathering.action (id) ON DELETE CASCADE,
	every_after_ms bigint CHECK (every_after_ms > 0),
	end_at         timestamptz(3),
	runs_left      bigint CHECK (runs_left >= 0)
);

-- What an action asks for beside being run, and how it fares: what is kept of its ledger, who is told (names of actions),
-- by when a run must have succeeded. failing_since: the last of its runs that ended by itself failed; late_since: the
-- deadline has passed, and no run has succeeded since. A row appears with the first of these. Whoever needs several locks
-- rows of actions first, then these, then those of runs.
CREATE TABLE gathering.care (
	action_id     uuid PRIMARY KEY REFERENCES gathering.action (id) ON DELETE CASCADE,
	retain_age_ms bigint CHECK (retain_age_ms > 0),
	retain_count  bigint CHECK (retain_count > 0),
	expect_ms     bigint CHECK (expect_ms > 0),
	on_failure    text COLLATE "C",
	on_recovery   text COLLATE "C",
	on_late       text COLLATE "C",
	failing_since timestamptz(3),
	deadline      timestamptz(3), -- NULL: none, paused, or late already
	late_since    timestamptz(3)
) WITH (fillfactor = 80);
CREATE INDEX care_deadline ON gathering.care (deadline) WHERE deadline IS NOT NULL;
CREATE INDEX care_late ON gathering.care (expect_ms) WHERE late_since IS NOT NULL;
CREATE INDEX care_watched ON gathering.care (action_id)
	WHERE expect_ms IS NOT NULL OR on_failure IS NOT NULL OR on_recovery IS NOT NULL OR failing_since IS NOT NULL;

-- Deleted actions whose ledger is still to be removed, batch by batch (retain). Nobody sees those runs any more.
CREATE TABLE gathering.removed (
	action_id  uuid PRIMARY KEY,
	removed_at timestamptz(3) NOT NULL
);

-- Keys of events: one sent again within the window is the same event. An old row goes when another event is sent.
CREATE TABLE gathering.event_key (
	name     text COLLATE "C" NOT NULL,
	key      text COLLATE "C" NOT NULL,
	event_id uuid NOT NULL,
	sent_at  timestamptz(3) NOT NULL,
	PRIMARY KEY (name, key)
);
CREATE INDEX event_key_sent ON gathering.event_key (sent_at);

-- Values sealed with a key that is not in this database (src/vault).
CREATE TABLE gathering.secret (
	name       text COLLATE "C" PRIMARY KEY,
	sealed     bytea NOT NULL,
	created_at timestamptz NOT NULL,
	updated_at timestamptz NOT NULL
);

-- The running server processes. A row goes when its process ends politely, or when the others have found it dead; the
-- leases of its runs end with it. A run whose lease has ended is anybody's to recover: nothing else makes it so, for an
-- instance that the others have taken for dead may be alive and claim again.
CREATE TABLE gathering.instance (
	id           uuid PRIMARY KEY,
	host         text NOT NULL,
	pid          integer NOT NULL,
	version      text NOT NULL,
	state        text NOT NULL CHECK (state IN ('starting','ready','draining')),
	started_at   timestamptz(3) NOT NULL,
	heartbeat_at timestamptz(3) NOT NULL,
	session_at   timestamptz, -- when it took its lock of life; by clock_timestamp(), as backend_start
	-- Each wish of an operator has the next number, odd to drain and even to undrain: so one that is made twice, or
	-- read twice, is the same wish.
	wish         bigint NOT NULL DEFAULT 0,
	boot         bigint NOT NULL DEFAULT 0 -- the start of the service that it belongs to; 0: not known yet
);

-- How often the service has started, from nobody to somebody. Who decides on a start holds the row.
CREATE TABLE gathering.boot (
	number    bigint NOT NULL,
	booted_at timestamptz(3) NOT NULL
);
INSERT INTO gathering.boot VALUES (0, now());

-- Who starts runs that limits count (option limits) holds their rows here, so nobody else does while it counts.
CREATE TABLE gathering.limit_lock (
	name text PRIMARY KEY
);

-- The ledger: one row for each due time, manual trigger or event. claim_id names the take that started the run, so
-- that a take whose answer was lost can be asked again. No reference to the action: who makes a run holds its row, and
-- the ledger of a deleted one goes later (removed).
CREATE TABLE gathering.run (
	id                 uuid PRIMARY KEY,
	action_id          uuid NOT NULL,
	action_version     bigint NOT NULL,
	definition_version bigint NOT NULL,
	due_at             timestamptz(3) NOT NULL,
	epoch              bigint NOT NULL CHECK (epoch >= 0),
	created_at         timestamptz(3) NOT NULL,
	missed_count       bigint NOT NULL CHECK (missed_count >= 1),
	missed_until       timestamptz(3) NOT NULL,
	output_bytes       bigint NOT NULL,
	attempt            integer NOT NULL CHECK (attempt >= 0),
	interruptions      integer NOT NULL CHECK (interruptions >= 0),
	priority           integer NOT NULL,
	max_concurrent     integer NOT NULL DEFAULT 0,
	is_serial          boolean NOT NULL,
	cancel_requested   boolean NOT NULL,
	kind               text COLLATE "C" NOT NULL,
	triggered_by       text COLLATE "C" NOT NULL
		CONSTRAINT run_trigger CHECK (triggered_by IN ('schedule','manual','event','backfill','retry','start')),
	state              text COLLATE "C" NOT NULL CONSTRAINT run_state
		CHECK (state IN ('pending','running','succeeded','failed','timed_out','cancelled','skipped','held')),
	reason             text COLLATE "C" NOT NULL,
	instance_id        uuid,
	claim_id           uuid,
	lease_until        timestamptz(3),
	not_before         timestamptz(3),
	claimed_at         timestamptz(3),
	started_at         timestamptz(3),
	finished_at        timestamptz(3),
	http_status        integer,
	exit_code          integer,
	retry_of           uuid,
	traceparent        text COLLATE "C",
	backfill           bigint NOT NULL DEFAULT 0, -- number of the action's backfill that made it; 0: none
	error              text,
	CONSTRAINT run_due UNIQUE (action_id, due_at, backfill),
	CONSTRAINT run_owner CHECK (state <> 'running' OR (instance_id IS NOT NULL AND lease_until IS NOT NULL))
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);

CREATE INDEX run_of_action ON gathering.run (action_id, id);
CREATE INDEX run_open ON gathering.run (action_id, due_at) WHERE state IN ('pending','running');
CREATE INDEX run_held ON gathering.run (action_id, definition_version) WHERE state = 'held';
CREATE INDEX run_running ON gathering.run (instance_id) WHERE state = 'running';
CREATE INDEX run_ready ON gathering.run (kind, gathering.rank(created_at, priority), due_at, id) WHERE state = 'pending' AND not_before IS NULL;
CREATE INDEX run_later ON gathering.run (not_before) WHERE state = 'pending' AND not_before IS NOT NULL;
-- For "what went wrong lately", which is asked of a long ledger with few such rows.
CREATE INDEX run_trouble ON gathering.run (id) WHERE state IN ('failed','timed_out','held');

CREATE INDEX run_backfill ON gathering.run (action_id, backfill, state) WHERE backfill > 0;

-- Stretches of the past that are run on purpose. cursor_at: the next due time to look at; NULL: none is left.
CREATE TABLE gathering.backfill (
	id          uuid PRIMARY KEY,
	action_id   uuid NOT NULL REFERENCES gathering.action (id) ON DELETE CASCADE,
	number      bigint NOT NULL CHECK (number >= 1),
	state       text COLLATE "C" NOT NULL CHECK (state IN ('running','done','cancelled')),
	rerun       text COLLATE "C" NOT NULL CHECK (rerun IN ('none','failed','all')),
	seed        text COLLATE "C" NOT NULL,
	schedule    text NOT NULL,
	from_at     timestamptz(3) NOT NULL,
	to_at       timestamptz(3) NOT NULL,
	cursor_at   timestamptz(3),
	total       bigint NOT NULL,
	made        bigint NOT NULL,
	passed      bigint NOT NULL,
	interval_ms bigint NOT NULL,
	max_open    integer NOT NULL,
	next_at     timestamptz(3) NOT NULL,
	created_at  timestamptz(3) NOT NULL,
	finished_at timestamptz(3),
	UNIQUE (action_id, number)
);
CREATE UNIQUE INDEX backfill_running ON gathering.backfill (action_id) WHERE state = 'running';

-- What an event brought to a run that it started. depth: how many ends of runs led here; 0 for an event from outside.
CREATE TABLE gathering.run_event (
	run_id   uuid PRIMARY KEY REFERENCES gathering.run (id) ON DELETE CASCADE,
	event_id uuid NOT NULL,
	depth    integer NOT NULL CHECK (depth >= 0),
	name     text COLLATE "C" NOT NULL,
	payload  text
);
CREATE INDEX run_event_event ON gathering.run_event (event_id);

-- Keyed by epoch, not by number: an interrupted attempt gives its number back.
CREATE TABLE gathering.attempt (
	run_id       uuid NOT NULL REFERENCES gathering.run (id) ON DELETE CASCADE,
	epoch        bigint NOT NULL,
	finished_at  timestamptz(3) NOT NULL,
	started_at   timestamptz(3),
	output_total bigint NOT NULL,
	attempt      integer NOT NULL,
	output_kept  integer NOT NULL DEFAULT 0, -- bytes of output
	http_status  integer,
	exit_code    integer,
	instance_id  uuid,
	outcome      text COLLATE "C" NOT NULL
		CONSTRAINT attempt_outcome CHECK (outcome IN ('succeeded','failed','timed_out','cancelled','interrupted')),
	error        text,
	output       bytea,
	PRIMARY KEY (run_id, epoch)
);
CREATE INDEX attempt_output ON gathering.attempt (finished_at) WHERE output_kept > 0;

-- How much output is kept is the sum of these rows. Each statement that changes it adds one and waits for nobody; the
-- walk (retain) puts them together. The triggers see what else writes attempts: a cascade, a move, a person.
CREATE TABLE gathering.kept_output (
	bytes bigint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

CREATE FUNCTION gathering.count_output() RETURNS trigger LANGUAGE plpgsql AS $count_output$
DECLARE
	change bigint := 0;
BEGIN
	IF TG_OP = 'TRUNCATE' THEN
		DELETE FROM gathering.kept_output;
		RETURN NULL;
	END IF;
	IF TG_OP <> 'DELETE' THEN
		change := (SELECT coalesce(sum(output_kept), 0) FROM added);
	END IF;
	IF TG_OP <> 'INSERT' THEN
		change := change - (SELECT coalesce(sum(output_kept), 0) FROM gone);
	END IF;
	IF change <> 0 THEN
		INSERT INTO gathering.kept_output VALUES (change);
	END IF;
	RETURN NULL;
END
$count_output$;
CREATE TRIGGER output_added AFTER INSERT ON gathering.attempt REFERENCING NEW TABLE AS added
	FOR EACH STATEMENT EXECUTE FUNCTION gathering.count_output();
CREATE TRIGGER output_gone AFTER DELETE ON gathering.attempt REFERENCING OLD TABLE AS gone
	FOR EACH STATEMENT EXECUTE FUNCTION gathering.count_output();
CREATE TRIGGER output_changed AFTER UPDATE ON gathering.attempt REFERENCING OLD TABLE AS gone NEW TABLE AS added
	FOR EACH STATEMENT EXECUTE FUNCTION gathering.count_output();
CREATE TRIGGER output_emptied AFTER TRUNCATE ON gathering.attempt
	FOR EACH STATEMENT EXECUTE FUNCTION gathering.count_output();

-- What an attempt that is running has written so far, while somebody follows it at another instance.
CREATE TABLE gathering.live (
	run_id       uuid PRIMARY KEY REFERENCES gathering.run (id) ON DELETE CASCADE,
	epoch        bigint NOT NULL,
	attempt      integer NOT NULL,
	output_total bigint NOT NULL,
	output       bytea NOT NULL
);

-- What the last attempt that wrote any has noted: progress for people, and from where to go on. A row appears with the
-- first note; the checkpoint goes when the run has succeeded or was cancelled.
CREATE TABLE gathering.note (
	run_id       uuid PRIMARY KEY REFERENCES gathering.run (id) ON DELETE CASCADE,
	epoch        bigint NOT NULL,
	percent      integer,
	has_progress boolean NOT NULL,
	message      text,
	checkpoint   bytea
);

-- Claims due times of many actions. Arrays of items (an action each; a second one is lost) and of their due times, which name
-- the item by its place. Row numbers in the answer count from 1. What becomes of each due time is told in store.h and
-- decided as due_decide() of store_rules.c does. in_again: the answer to an earlier try was lost; when that has come
-- through, which its run ids tell, it is answered from the rows.
--   k       place among the due times of the item that are to run;  p, r: pending and running before them
--   wants   would start if there were room;  is_next: and it would not pass a pending run that could start too;
--   starts  and there is room, counted by kind in the order given
CREATE FUNCTION gathering.claim(
	in_me uuid, in_lease interval, in_again boolean, in_kinds text[], in_capacity integer[],
	in_ids uuid[], in_versions bigint[], in_expected timestamptz[], in_next_due timestamptz[],
	in_due_item integer[], in_due_run uuid[], in_due_at timestamptz[], in_due_until timestamptz[], in_due_count bigint[],
	in_due_verdict integer[], in_queued boolean[],
	OUT ret_clock timestamptz, OUT ret_won integer[], OUT ret_started integer[], OUT ret_cancel uuid[],
	OUT ret_queued bigint, OUT ret_skipped bigint)
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $claim$
DECLARE
	w record;
	ahead timestamptz[];
	has_pace boolean := EXISTS (SELECT 1 FROM gathering.pace);
	lefts bigint[];
	born_ids uuid[];
BEGIN
	ret_clock := gathering.clock();
	ret_queued := 0;
	ret_skipped := 0;
	IF in_again THEN
		SELECT array_agg(DISTINCT d.item), array_agg(d.n::integer ORDER BY d.n) FILTER (
				WHERE r.state = 'running' AND r.epoch = 1 AND r.instance_id = in_me),
			count(*) FILTER (WHERE r.state IN ('pending','cancelled')), count(*) FILTER (WHERE r.state = 'skipped')
		INTO ret_won, ret_started, ret_queued, ret_skipped
		FROM unnest(in_due_item, in_due_run) WITH ORDINALITY d(item, run, n) JOIN gathering.run r ON r.id = d.run;
		IF ret_won IS NOT NULL THEN
			ret_cancel := ARRAY(SELECT r.id FROM unnest(ret_won) i(n) JOIN gathering.run r ON r.action_id = in_ids[i.n]
				WHERE r.state = 'running' AND r.cancel_requested AND r.reason = 'overlap');
			-- the others that were won made no row, and their cursors stand where we wanted them; whoever else moved one
			-- there since has left nothing to do either
			ret_won := ret_won || ARRAY(SELECT i.n::integer
				FROM unnest(in_ids, in_versions, in_next_due) WITH ORDINALITY i(id, version, next_due, n)
				JOIN gathering.action a ON a.id = i.id WHERE i.n <> ALL (ret_won)
					AND a.version = i.version AND a.next_due_at IS NOT DISTINCT FROM i.next_due);
			RETURN;
		END IF;
	END IF;
	WITH locked AS (
		SELECT i.n, i.next_due, a.id FROM (
			SELECT *, row_number() OVER (PARTITION BY id ORDER BY n) AS place
			FROM unnest(in_ids, in_versions, in_expected, in_next_due) WITH ORDINALITY g(id, version, expected, next_due, n)
		) i JOIN gathering.action a ON a.id = i.id
		WHERE i.place = 1 AND a.version = i.version AND a.next_due_at IS NOT DISTINCT FROM i.expected AND i.expected <= ret_clock
		ORDER BY a.id FOR NO KEY UPDATE OF a SKIP LOCKED
	), moved AS (
		UPDATE gathering.action a SET next_due_at = l.next_due FROM locked l WHERE a.id = l.id
		RETURNING l.n, a.definition_version, a.queue_limit, a.max_concurrent, a.priority, a.is_paused, a.kind, a.overlap
	)
	SELECT array_agg(n::integer) AS n, array_agg(definition_version) AS definition_version,
		array_agg(queue_limit) AS queue_limit, array_agg(max_concurrent) AS max_concurrent, array_agg(priority) AS priority, array_agg(is_paused) AS is_paused,
		array_agg(kind) AS kind, array_agg(overlap) AS overlap INTO w FROM moved;
	ret_won := w.n;
	IF ret_won IS NULL THEN
		RETURN;
	END IF;

	-- the rank of the first in line of each kind that could start; of many that cannot only so many are asked (AHEAD_MAX
	-- of the program), and then the last of them counts as one that could
	SELECT array_agg(f.rank ORDER BY k.n) INTO ahead
	FROM unnest(in_kinds, in_capacity) WITH ORDINALITY k(kind, capacity, n) LEFT JOIN LATERAL (
		SELECT q.rank FROM (SELECT *, row_number() OVER () AS place FROM (
			SELECT gathering.rank(r.created_at, r.priority) AS rank, r.is_serial, r.max_concurrent, r.action_id, r.due_at, r.backfill
			FROM gathering.run r WHERE r.state = 'pending' AND r.not_before IS NULL AND r.kind = k.kind AND k.capacity > 0
			ORDER BY gathering.rank(r.created_at, r.priority) LIMIT 100) line) q
		WHERE q.place = 100 OR (NOT q.is_serial OR gathering.has_turn(q.action_id, q.due_at, q.backfill))
			AND (q.max_concurrent = 0 OR gathering.has_place(q.action_id, q.max_concurrent)) LIMIT 1) f ON true;
	IF has_pace THEN
		lefts := ARRAY(SELECT p.runs_left FROM unnest(in_ids) WITH ORDINALITY g(id, n)
			LEFT JOIN gathering.pace p ON p.action_id = g.id ORDER BY g.n);
	END IF;
	IF 'cancel_running' = ANY (w.overlap) THEN
		ret_cancel := gathering.make_room(ret_clock, ARRAY(
			SELECT DISTINCT in_ids[i.n] FROM unnest(w.n, w.overlap, w.is_paused) i(n, overlap, is_paused)
			JOIN (
				SELECT *, row_number() OVER (PARTITION BY item, due_at ORDER BY n) AS place
				FROM unnest(in_due_item, in_due_at, in_due_verdict) WITH ORDINALITY g(item, due_at, verdict, n)
			) d ON d.item = i.n
			WHERE i.overlap = 'cancel_running' AND NOT i.is_paused AND (lefts[i.n] = 0) IS NOT TRUE
				AND d.place = 1 AND d.verdict = 0 AND NOT EXISTS (
				SELECT 1 FROM gathering.run x WHERE x.action_id = in_ids[i.n] AND x.due_at = d.due_at)));
	END IF;

	WITH item AS MATERIALIZED (
		SELECT i.*, in_ids[i.n] AS id, in_versions[i.n] AS version, o.p, o.r, o.b
		FROM unnest(w.n, w.definition_version, w.queue_limit, w.max_concurrent, w.priority, w.is_paused, w.kind, w.overlap)
			i(n, definition_version, queue_limit, max_concurrent, priority, is_paused, kind, overlap)
		LEFT JOIN LATERAL (
			SELECT count(*) FILTER (WHERE q.state = 'pending' AND q.backfill = 0) AS p,
				count(*) FILTER (WHERE q.state = 'running' AND q.backfill = 0) AS r,
				count(*) FILTER (WHERE q.state = 'running' AND q.backfill > 0) AS b
			FROM gathering.run q WHERE q.action_id = in_ids[i.n] AND q.state IN ('pending','running')
		) o ON true
	), due AS (
		SELECT d.*, i.id, i.version, i.definition_version, i.queue_limit, i.max_concurrent, i.priority, i.kind,
			i.overlap, i.p, i.r, i.b,
			d.verdict = 0 AND i.is_paused AS is_paused,
			d.verdict = 0 AND NOT i.is_paused AS runs,
			count(*) FILTER (WHERE d.verdict = 0 AND NOT i.is_paused) OVER (PARTITION BY d.item ORDER BY d.n) AS k,
			count(*) FILTER (WHERE d.verdict = 0 AND NOT i.is_paused) OVER (PARTITION BY d.item) AS k_last
		FROM (
			SELECT *, row_number() OVER (PARTITION BY item, due_at ORDER BY n) AS place
			FROM unnest(in_due_item, in_due_run, in_due_at, in_due_until, in_due_count, in_due_verdict)
				WITH ORDINALITY g(item, run, due_at, until, count, verdict, n)
		) d JOIN item i ON i.n = d.item
		WHERE d.place = 1 AND d.due_at IS DISTINCT FROM (SELECT x.due_at FROM gathering.run x
			WHERE x.action_id = i.id AND x.due_at >= d.due_at ORDER BY x.due_at LIMIT 1)
	), wish AS (
		SELECT *, runs AND k > lefts[item] AS is_spent, runs AND (k > lefts[item]) IS NOT TRUE AND (overlap = 'allow' OR k = 1 AND r = 0 AND (p = 0 OR overlap = 'cancel_running')) AS wants
		FROM due
	), turn AS (
		SELECT *, wants AND NOT in_queued[item] AND (overlap = 'allow' OR b = 0) AND (ahead[array_position(in_kinds, kind)] IS NULL OR gathering.rank(ret_clock, priority)
			<= ahead[array_position(in_kinds, kind)] + interval '100 ms') AS is_next
		FROM wish
	), place AS (
		SELECT *, is_next AND in_capacity[array_position(in_kinds, kind)]
			>= count(*) FILTER (WHERE is_next) OVER (PARTITION BY kind ORDER BY n) AS starts
		FROM turn
	), fate AS (
		SELECT *, CASE WHEN NOT runs OR is_spent THEN 'skipped'
			WHEN starts THEN 'running'
			WHEN overlap = 'cancel_running' AND k < k_last THEN 'cancelled'
			WHEN wants AND overlap <> 'allow' OR overlap = 'cancel_running' THEN 'pending'
			-- counts those before it as queued: when one was not, the queue was full then and is now
			WHEN overlap IN ('queue','allow') AND p + (k - 1) - count(*) FILTER (WHERE starts) OVER (PARTITION BY item) < queue_limit
				THEN 'pending'
			ELSE 'skipped' END AS state
		FROM place
	), born AS (
		INSERT INTO gathering.run (id, action_id, action_version, definition_version, due_at, epoch, created_at,
			missed_count, missed_until, output_bytes, attempt, interruptions, priority, max_concurrent, is_serial,
			cancel_requested, kind, triggered_by, state, reason, instance_id, lease_until, claimed_at, started_at, finished_at)
		SELECT run, id, version, definition_version, due_at, starts::integer, ret_clock, count, until, 0,
			starts::integer, 0, priority, max_concurrent, overlap <> 'allow', starts AND overlap = 'cancel_running' AND k < k_last, kind,
			'schedule', state,
			CASE WHEN is_paused THEN 'paused' WHEN verdict = 1 THEN 'late' WHEN verdict = 2 OR is_spent THEN 'limit'
				WHEN verdict = 3 THEN 'blackout'
				WHEN state = 'cancelled' OR starts AND overlap = 'cancel_running' AND k < k_last THEN 'overlap'
				WHEN state = 'running' THEN '' WHEN state = 'pending' THEN 'queued'
				WHEN overlap IN ('queue','allow') THEN 'limit' ELSE 'overlap' END,
			CASE WHEN starts THEN in_me END, CASE WHEN starts THEN ret_clock + in_lease END,
			CASE WHEN starts THEN ret_clock END, CASE WHEN starts THEN ret_clock END,
			CASE WHEN state = 'cancelled' THEN ret_clock END
		FROM fate ORDER BY n
		ON CONFLICT ON CONSTRAINT run_due DO NOTHING
		RETURNING id, state, cancel_requested
	)
	SELECT array_agg(d.n::integer ORDER BY d.n) FILTER (WHERE b.state = 'running'),
		ret_cancel || array_agg(b.id) FILTER (WHERE b.cancel_requested),
		count(*) FILTER (WHERE b.state IN ('pending','cancelled')), count(*) FILTER (WHERE b.state = 'skipped'),
		CASE WHEN has_pace THEN array_agg(b.id) FILTER (WHERE b.state <> 'skipped') END
	INTO ret_started, ret_cancel, ret_queued, ret_skipped, born_ids
	FROM born b JOIN unnest(in_due_run) WITH ORDINALITY d(run, n) ON d.run = b.id;
	IF has_pace THEN
		PERFORM gathering.pace_claimed(ret_clock, ARRAY(SELECT in_ids[n] FROM unnest(ret_won) n), born_ids);
	END IF;
END
$claim$;

-- When an action that counts from the end of its runs is due next.
CREATE FUNCTION gathering.pace_next(p gathering.pace, in_clock timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE AS $next$
	SELECT CASE WHEN (in_clock + p.every_after_ms * interval '1 millisecond' > p.end_at) IS NOT TRUE
		THEN in_clock + p.every_after_ms * interval '1 millisecond' END
$next$;

-- After a claim of due times of these (locked) actions, that made these runs; mirrors pace_claimed() of sqlite_pace.c.
CREATE FUNCTION gathering.pace_claimed(in_clock timestamptz, in_actions uuid[], in_made uuid[]) RETURNS void
LANGUAGE sql AS $paced$
	WITH spent AS (
		UPDATE gathering.pace p SET runs_left = p.runs_left - m.made FROM (
			SELECT g.id, (SELECT count(*) FROM gathering.run r WHERE r.id = ANY (in_made) AND r.action_id = g.id) AS made
			FROM unnest(in_actions) g(id)) m
		WHERE p.action_id = m.id RETURNING p AS pace, p.action_id, p.runs_left, m.made
	)
	UPDATE gathering.action a SET
		next_due_at = CASE WHEN s.runs_left <= 0 THEN NULL ELSE gathering.pace_next(s.pace, in_clock) END
	FROM spent s WHERE a.id = s.action_id AND (s.runs_left <= 0 OR (s.pace).every_after_ms IS NOT NULL AND s.made = 0)
$paced$;

-- For overlap cancel_running: what waits is cancelled, what runs is asked to end. Returns the runs newly asked. One
-- statement, whose CASEs see the row as it is when it is locked: a run that starts or ends meanwhile is judged by what
-- it has become.
CREATE FUNCTION gathering.make_room(in_clock timestamptz, in_actions uuid[]) RETURNS uuid[] LANGUAGE sql AS $room$
	WITH cleared AS (
		UPDATE gathering.run r SET
			state = CASE r.state WHEN 'pending' THEN 'cancelled' ELSE r.state END,
			cancel_requested = r.cancel_requested OR r.state = 'running',
			reason = 'overlap',
			not_before = NULL,
			finished_at = CASE r.state WHEN 'pending' THEN in_clock END
		WHERE r.action_id = ANY (in_actions) AND r.backfill = 0 AND (r.state = 'pending' OR r.state = 'running' AND NOT r.cancel_requested)
		RETURNING r.id, r.state
	)
	SELECT array_agg(id) FROM cleared WHERE state = 'running'
$room$;

-- May a pending run start, but for its time? The serial rule: one at a time, oldest due time first; those of a backfill
-- behind all others.
CREATE FUNCTION gathering.has_turn(in_action uuid, in_due timestamptz, in_backfill bigint) RETURNS boolean LANGUAGE sql STABLE AS $turn$
	SELECT NOT EXISTS (SELECT 1 FROM gathering.run o WHERE o.action_id = in_action
		AND o.state IN ('pending','running') AND (o.state = 'running' OR (o.backfill, o.due_at) < (in_backfill, in_due)))
$turn$;

-- May one more run of an action start that allows so many at a time?
CREATE FUNCTION gathering.has_place(in_action uuid, in_max integer) RETURNS boolean LANGUAGE sql STABLE AS $place$
	SELECT (SELECT count(*) FROM gathering.run o WHERE o.action_id = in_action AND o.state = 'running'
		AND o.state IN ('pending','running')) < in_max
$place$;

-- Actions of which as many run as their max_concurrent allows. has_place() decides; this spares asking it for each of the
-- thousands that may wait behind such an action.
CREATE FUNCTION gathering.at_max() RETURNS TABLE (ret_action uuid, ret_max integer) ROWS 100 LANGUAGE sql STABLE
SET enable_seqscan = off AS $at_max$
	SELECT r.action_id, r.max_concurrent FROM gathering.run r WHERE r.state = 'running' AND r.max_concurrent > 0
	GROUP BY r.action_id, r.max_concurrent HAVING count(*) >= r.max_concurrent
$at_max$;

-- Does a limit count the runs of this kind and action? NULL: any.
CREATE FUNCTION gathering.is_counted(in_limit_kind text, in_limit_tag text, in_kind text, in_action uuid) RETURNS boolean
LANGUAGE sql STABLE AS $counted$
	SELECT (in_limit_kind IS NULL OR in_limit_kind = in_kind) AND (in_limit_tag IS NULL OR EXISTS (
		SELECT 1 FROM gathering.action_tag t WHERE t.action_id = in_action AND t.tag = in_limit_tag))
$counted$;

-- Of those that may start, in line, as many as capacity and limits allow; locked. Whoever else would start a run that one
-- of the limits counts waits until we are done, so what is running is counted after that lock, in a statement of its own.
-- Those that a limit keeps waiting are passed over at the price of an index entry: a kind that is full is not asked for, the
-- actions of a full tag are left out by a hash (NOT IN), and when a limit becomes full the line is begun anew without them.
-- Of each kind's line only as many are looked at as can be taken, and 100 more for such as somebody holds.
CREATE FUNCTION gathering.pick_limited(
	in_kinds text[], in_capacity integer[], in_limit_kinds text[], in_limit_tags text[], in_limit_max integer[])
RETURNS uuid[] LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $pick$
DECLARE
	names text[] := ARRAY(SELECT coalesce(l.kind, '') || '/' || coalesce(l.tag, '') FROM unnest(in_limit_kinds, in_limit_tags) l(kind, tag));
	capacity integer[] := in_capacity;
	kinds text[]; -- NULL in the place of one that can have no more
	full_tags text[];
	room integer[];
	picked uuid[] := '{}';
	actions uuid[] := '{}';
	is_full boolean;
	c record;
BEGIN
	IF EXISTS (SELECT 1 FROM unnest(names) n WHERE NOT EXISTS (SELECT 1 FROM gathering.limit_lock l WHERE l.name = n)) THEN
		INSERT INTO gathering.limit_lock SELECT n FROM unnest(names) n ORDER BY n ON CONFLICT DO NOTHING;
	END IF;
	PERFORM 1 FROM gathering.limit_lock WHERE name = ANY (names) ORDER BY name FOR UPDATE;
	room := ARRAY(SELECT l.max - (SELECT count(*) FROM gathering.run r WHERE r.state = 'running'
			AND gathering.is_counted(l.kind, l.tag, r.kind, r.action_id))
		FROM unnest(in_limit_kinds, in_limit_tags, in_limit_max) WITH ORDINALITY l(kind, tag, max, n) ORDER BY l.n);
	LOOP
		kinds := ARRAY(SELECT CASE WHEN capacity[k.n] > 0 AND NOT EXISTS (
				SELECT 1 FROM unnest(in_limit_kinds, in_limit_tags, room) l(kind, tag, room)
				WHERE l.tag IS NULL AND (l.kind IS NULL OR l.kind = k.kind) AND l.room <= 0) THEN k.kind END
			FROM unnest(in_kinds) WITH ORDINALITY k(kind, n) ORDER BY k.n);
		full_tags := ARRAY(SELECT l.tag FROM unnest(in_limit_kinds, in_limit_tags, room) l(kind, tag, room)
			WHERE l.kind IS NULL AND l.tag IS NOT NULL AND l.room <= 0);
		is_full := false;
		FOR c IN SELECT r.id, r.action_id, r.max_concurrent, k.n AS kind, ARRAY(
				SELECT l.n FROM unnest(in_limit_kinds, in_limit_tags) WITH ORDINALITY l(kind, tag, n)
				WHERE gathering.is_counted(l.kind, l.tag, k.kind, r.action_id)) AS counted
			FROM unnest(kinds, capacity) WITH ORDINALITY k(kind, capacity, n), LATERAL (
				SELECT r.id, r.action_id, r.max_concurrent, r.due_at, gathering.rank(r.created_at, r.priority) AS rank FROM gathering.run r
				WHERE r.state = 'pending' AND r.not_before IS NULL AND r.kind = k.kind
					AND r.action_id NOT IN (SELECT t.action_id FROM gathering.action_tag t WHERE t.tag = ANY (full_tags))
					AND (NOT r.is_serial OR gathering.has_turn(r.action_id, r.due_at, r.backfill))
					AND (r.max_concurrent = 0 OR (r.action_id, r.max_concurrent) NOT IN (SELECT * FROM gathering.at_max())
						AND gathering.has_place(r.action_id, r.max_concurrent))
				ORDER BY gathering.rank(r.created_at, r.priority), r.due_at, r.id
				LIMIT greatest(k.capacity, 0) + cardinality(picked) + 100) r
			ORDER BY r.rank, r.due_at, r.id
		LOOP
			CONTINUE WHEN capacity[c.kind] <= 0 OR c.id = ANY (picked) OR EXISTS (SELECT 1 FROM unnest(c.counted) n WHERE room[n] <= 0);
			CONTINUE WHEN c.max_concurrent > 0 AND NOT gathering.has_place(
				c.action_id, c.max_concurrent - cardinality(array_positions(actions, c.action_id)));
			PERFORM 1 FROM gathering.run r WHERE r.id = c.id AND r.state = 'pending' FOR NO KEY UPDATE SKIP LOCKED;
			CONTINUE WHEN NOT FOUND;
			picked := picked || c.id;
			actions := actions || c.action_id;
			capacity[c.kind] := capacity[c.kind] - 1;
			room := ARRAY(SELECT room[n] - (n = ANY (c.counted))::integer FROM generate_subscripts(room, 1) n ORDER BY n);
			is_full := capacity[c.kind] <= 0 OR EXISTS (SELECT 1 FROM unnest(c.counted) n WHERE room[n] <= 0);
			EXIT WHEN is_full;
		END LOOP;
		EXIT WHEN NOT is_full;
	END LOOP;
	RETURN picked;
END
$pick$;

-- ROWS 10, here and below: left to itself the planner expects a thousand rows of a function and joins them by hashing
-- whole tables (test_plans.py).

-- Takes pending runs that may start, up to the capacity of each kind, and makes them running. Whatever is locked is
-- somebody else's affair. in_claim names this take; asked again after an answer was lost, it gives what it took.
CREATE FUNCTION gathering.take(
	in_me uuid, in_lease interval, in_claim uuid, in_again boolean, in_kinds text[], in_capacity integer[],
	in_limit_kinds text[], in_limit_tags text[], in_limit_max integer[])
RETURNS SETOF gathering.run
ROWS 10 LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $take$
DECLARE
	now_at timestamptz := gathering.clock();
	picked uuid[];
	serial uuid[]; -- actions that have a say in how many of theirs run
	is_bounded boolean;
BEGIN
	IF in_again THEN
		RETURN QUERY SELECT r.* FROM gathering.run r
			WHERE r.instance_id = in_me AND r.state = 'running' AND r.claim_id = in_claim;
		IF FOUND THEN
			RETURN;
		END IF;
	END IF;
	-- a retry whose time has come joins those that are ready; so the take never walks past those that wait
	UPDATE gathering.run SET not_before = NULL WHERE id = ANY (ARRAY(
		SELECT r.id FROM gathering.run r WHERE r.state = 'pending' AND r.not_before <= now_at
		ORDER BY r.not_before LIMIT 1000 FOR NO KEY UPDATE SKIP LOCKED));
	IF cardinality(in_limit_max) > 0 THEN
		picked := gathering.pick_limited(in_kinds, in_capacity, in_limit_kinds, in_limit_tags, in_limit_max);
		SELECT array_agg(DISTINCT r.action_id) FILTER (WHERE r.is_serial OR r.max_concurrent > 0), bool_or(r.max_concurrent > 0)
		INTO serial, is_bounded FROM gathering.run r WHERE r.id = ANY (picked);
	ELSE
	SELECT array_agg(c.id), array_agg(DISTINCT c.action_id) FILTER (WHERE c.is_serial OR c.max_concurrent > 0),
		bool_or(c.max_concurrent > 0) INTO picked, serial, is_bounded
	FROM unnest(in_kinds, in_capacity) k(kind, capacity), LATERAL (
		SELECT r.id, r.action_id, r.is_serial, r.max_concurrent FROM gathering.run r
		WHERE r.state = 'pending' AND r.not_before IS NULL AND r.kind = k.kind
			AND (NOT r.is_serial OR gathering.has_turn(r.action_id, r.due_at, r.backfill))
			AND (r.max_concurrent = 0 OR (r.action_id, r.max_concurrent) NOT IN (SELECT * FROM gathering.at_max())
				AND gathering.has_place(r.action_id, r.max_concurrent))
		ORDER BY gathering.rank(r.created_at, r.priority), r.due_at, r.id LIMIT greatest(k.capacity, 0) FOR NO KEY UPDATE SKIP LOCKED) c;
	END IF;
	IF picked IS NULL THEN
		RETURN;
	END IF;
	serial := ARRAY(SELECT a.id FROM gathering.action a WHERE a.id = ANY (serial)
		ORDER BY a.id FOR NO KEY UPDATE SKIP LOCKED);
	IF is_bounded THEN -- the first in line of each such action, up to what it allows: counted after its lock
		picked := ARRAY(SELECT p.id FROM (
			SELECT r.*, row_number() OVER (PARTITION BY r.action_id ORDER BY gathering.rank(r.created_at, r.priority), r.due_at, r.id)
				AS place FROM gathering.run r WHERE r.id = ANY (picked)) p
			WHERE p.max_concurrent = 0 OR p.action_id = ANY (serial) AND p.place <= p.max_concurrent
				- (SELECT count(*) FROM gathering.run o WHERE o.action_id = p.action_id AND o.state = 'running'));
	END IF;
	RETURN QUERY UPDATE gathering.run r SET
		state = 'running', reason = '', instance_id = in_me, claim_id = in_claim, lease_until = now_at + in_lease,
		epoch = r.epoch + 1, attempt = r.attempt + 1, not_before = NULL,
		claimed_at = now_at, started_at = now_at, finished_at = NULL,
		http_status = NULL, exit_code = NULL, error = NULL, output_bytes = 0
	WHERE r.id = ANY (picked)
		AND (NOT r.is_serial OR r.action_id = ANY (serial) AND gathering.has_turn(r.action_id, r.due_at, r.backfill))
	RETURNING r.*;
END
$take$;

-- Ends attempts, each fenced by its epoch and standing for itself; mirrors run_apply_finish() of store_rules.c. The
-- answer has a row for each, in the order given: the new state, or NULL and what was found in its place. in_again: the
-- answer to an earlier try was lost, so an attempt that is on record with this outcome is ours (ret_was_done). One row
-- more, the last, when others were started by these ends: with the runs to end now for that.
-- IS NOT DISTINCT FROM 'running', here and in heartbeat: with = the planner may walk the index of all that run, once for
-- each run named, instead of asking for it by key (measured: 12 of 15 ms for a batch of 35).
CREATE FUNCTION gathering.finish(
	in_again boolean, in_ids uuid[], in_epochs bigint[], in_outcome text[], in_http_status integer[],
	in_exit_code integer[], in_started_at timestamptz[], in_error text[], in_output bytea[], in_total bigint[],
	in_state text[], in_reason text[], in_delay_ms bigint[], in_counts boolean[], in_begun boolean[])
RETURNS TABLE (
	ret_n bigint, ret_state text, ret_was_done boolean, ret_found text, ret_found_epoch bigint, ret_cancel uuid[])
ROWS 10 LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $finish$
DECLARE
	now_at timestamptz := gathering.clock();
	live uuid[];
BEGIN
	IF gathering.lock_sequels(in_ids, in_state) THEN
		live := ARRAY(SELECT r.id FROM unnest(in_ids, in_epochs) g(id, epoch) JOIN gathering.run r ON r.id = g.id
			WHERE r.state IS NOT DISTINCT FROM 'running' AND r.epoch = g.epoch ORDER BY r.id FOR NO KEY UPDATE OF r);
	END IF;
	RETURN QUERY
	WITH given AS MATERIALIZED (
		SELECT g.*, row_number() OVER (PARTITION BY g.id, g.epoch ORDER BY g.n) AS place
		FROM unnest(in_ids, in_epochs, in_outcome, in_http_status, in_exit_code, in_started_at, in_error, in_output,
			in_total, in_state, in_reason, in_delay_ms, in_counts, in_begun) WITH ORDINALITY
			g(id, epoch, outcome, http_status, exit_code, started_at, error, output, total, state, reason, delay_ms,
			counts, begun, n)
	), locked AS MATERIALIZED (
		SELECT g.*, r.attempt, r.instance_id, r.reason = 'paused' AND NOT r.cancel_requested
			AND (g.state = 'pending' OR g.outcome = 'interrupted') AS is_paused
		FROM given g JOIN gathering.run r ON r.id = g.id
		WHERE r.state IS NOT DISTINCT FROM 'running' AND r.epoch = g.epoch AND g.place = 1
		ORDER BY r.id FOR NO KEY UPDATE OF r
	), ended AS (
		UPDATE gathering.run r SET
			state = CASE WHEN l.is_paused THEN 'held' WHEN l.state = 'pending' AND r.cancel_requested THEN 'cancelled'
				ELSE l.state END,
			reason = CASE WHEN l.is_paused THEN 'paused' WHEN l.state <> 'cancelled' AND NOT (l.state = 'pending' AND r.cancel_requested) THEN l.reason
				WHEN r.reason = 'overlap' THEN 'overlap' ELSE 'user' END,
			attempt = r.attempt - (CASE WHEN l.is_paused THEN l.outcome = 'interrupted' ELSE NOT l.counts END)::integer,
			interruptions = r.interruptions + (NOT l.counts AND l.begun AND NOT l.is_paused)::integer,
			not_before = CASE WHEN l.state = 'pending' AND NOT r.cancel_requested AND NOT l.is_paused AND l.delay_ms > 0
				THEN now_at + l.delay_ms * interval '1 millisecond' END,
			instance_id = CASE WHEN l.state <> 'pending' OR r.cancel_requested OR l.is_paused THEN r.instance_id END,
			claimed_at = CASE WHEN l.state <> 'pending' OR r.cancel_requested OR l.is_paused THEN r.claimed_at END,
			started_at = CASE WHEN l.state <> 'pending' OR r.cancel_requested OR l.is_paused THEN l.started_at END,
			finished_at = CASE WHEN NOT l.is_paused AND l.state <> 'held' AND (l.state <> 'pending' OR r.cancel_requested) THEN now_at END,
			claim_id = NULL, lease_until = NULL, http_status = l.http_status, exit_code = l.exit_code,
			error = l.error, output_bytes = l.total
		FROM locked l WHERE r.id = l.id
		RETURNING l.n, r.id, r.state
	), kept AS (
		INSERT INTO gathering.attempt (run_id, epoch, finished_at, started_at, output_total, attempt, output_kept,
			http_status, exit_code, instance_id, outcome, error, output)
		SELECT l.id, l.epoch, now_at, l.started_at, l.total, l.attempt, coalesce(octet_length(l.output), 0),
			l.http_status, l.exit_code, l.instance_id, l.outcome, l.error, l.output FROM locked l WHERE l.begun
		ON CONFLICT DO NOTHING
	), forgotten AS (
		UPDATE gathering.note n SET checkpoint = NULL FROM ended e
		WHERE n.run_id = e.id AND n.checkpoint IS NOT NULL AND e.state IN ('succeeded','cancelled')
	)
	SELECT g.n, e.state,
		in_again AND e.n IS NULL AND r.epoch = g.epoch AND (t.outcome = g.outcome
			OR NOT g.begun AND r.state = 'pending' AND r.reason = 'handed_back'),
		r.state, r.epoch, NULL::uuid[]
	FROM given g LEFT JOIN ended e ON e.n = g.n
	LEFT JOIN gathering.run r ON e.n IS NULL AND r.id = g.id
	LEFT JOIN gathering.attempt t ON in_again AND t.run_id = g.id AND t.epoch = g.epoch
	ORDER BY g.n;
	IF live IS NOT NULL THEN
		RETURN QUERY SELECT NULL::bigint, NULL, NULL::boolean, NULL, NULL::bigint, gathering.announce(live);
	END IF;
END
$finish$;

-- Notes down what a running attempt has written. The lock lets no finish in between. No row: no such run.
CREATE FUNCTION gathering.note_down(
	in_run uuid, in_epoch bigint, in_has_progress boolean, in_percent integer, in_message text,
	in_has_checkpoint boolean, in_checkpoint bytea, OUT ret_done boolean, OUT ret_found text, OUT ret_found_epoch bigint)
RETURNS SETOF record LANGUAGE plpgsql AS $note$
BEGIN
	SELECT state, epoch INTO ret_found, ret_found_epoch FROM gathering.run WHERE id = in_run FOR SHARE;
	IF NOT FOUND THEN
		RETURN;
	END IF;
	ret_done := ret_found = 'running' AND ret_found_epoch = in_epoch;
	IF ret_done THEN
		INSERT INTO gathering.note AS n (run_id, epoch, has_progress, percent, message, checkpoint)
		VALUES (in_run, in_epoch, in_has_progress, in_percent, in_message, nullif(in_checkpoint, ''))
		ON CONFLICT (run_id) DO UPDATE SET epoch = excluded.epoch,
			has_progress = excluded.has_progress OR n.has_progress AND n.epoch = excluded.epoch,
			percent = CASE WHEN in_has_progress THEN excluded.percent ELSE n.percent END,
			message = CASE WHEN in_has_progress THEN excluded.message ELSE n.message END,
			checkpoint = CASE WHEN in_has_checkpoint THEN excluded.checkpoint ELSE n.checkpoint END;
	END IF;
	RETURN NEXT;
END
$note$;

-- A run that no due time asked for: due now, or at the first free millisecond after it; not at the cursor either, for
-- that due time is still to be claimed. The caller holds the lock of the action's row. in_fate: NULL where the overlap
-- policy decides, else why the run is skipped.
CREATE FUNCTION gathering.fire(
	a gathering.action, in_run uuid, in_trigger text, in_retry_of uuid, in_trace text, in_fate text,
	OUT ret_run gathering.run, OUT ret_cancel uuid[])
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $fire$
DECLARE
	now_at timestamptz := gathering.clock();
	due timestamptz := now_at;
	pending bigint;
	running bigint;
	fate text := coalesce(in_fate, 'queued');
BEGIN
	WHILE due = a.next_due_at OR EXISTS (
		SELECT 1 FROM gathering.run r WHERE r.action_id = a.id AND r.due_at = due) LOOP
		due := due + interval '1 millisecond';
	END LOOP;
	IF fate <> 'queued' THEN
		NULL;
	ELSIF a.overlap = 'cancel_running' THEN
		ret_cancel := gathering.make_room(now_at, ARRAY[a.id]);
	ELSE
		SELECT count(*) FILTER (WHERE r.state = 'pending'), count(*) FILTER (WHERE r.state = 'running')
		INTO pending, running
		FROM gathering.run r WHERE r.action_id = a.id AND r.backfill = 0 AND r.state IN ('pending','running');
		IF a.overlap = 'skip' AND pending + running > 0 THEN
			fate := 'overlap';
		ELSIF (a.overlap = 'allow' OR a.overlap = 'queue' AND pending + running > 0) AND pending >= a.queue_limit THEN
			fate := 'limit';
		END IF;
	END IF;
	INSERT INTO gathering.run AS r (id, action_id, action_version, definition_version, due_at, epoch, created_at,
		missed_count, missed_until, output_bytes, attempt, interruptions, priority, max_concurrent, is_serial,
		cancel_requested, kind, triggered_by, state, reason, retry_of, traceparent)
	VALUES (in_run, a.id, a.version, a.definition_version, due, 0, now_at, 1, due, 0, 0, 0, a.priority,
		a.max_concurrent, a.overlap <> 'allow', false, a.kind, in_trigger, CASE fate WHEN 'queued' THEN 'pending' ELSE 'skipped' END, fate,
		in_retry_of, in_trace)
	RETURNING r.* INTO ret_run;
END
$fire$;

-- Do as many runs wait for their turn as may be asked for? 0: any number.
CREATE FUNCTION gathering.is_full(in_max integer) RETURNS boolean LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $full$ BEGIN
	RETURN in_max > 0 AND EXISTS (SELECT 1 FROM gathering.run r WHERE r.state = 'pending' AND r.not_before IS NULL
		OFFSET in_max - 1);
END $full$;

-- A manual run, or the repetition of another, which gets what an event brought to that one. No row: no such action;
-- ret_full: as many of it wait as may, or (0) of all actions together, and nothing was done.
CREATE FUNCTION gathering.trigger(in_action uuid, in_run uuid, in_retry_of uuid, in_trace text, in_queued_max integer,
	OUT ret_run gathering.run, OUT ret_cancel uuid[], OUT ret_full bigint)
RETURNS SETOF record ROWS 10 LANGUAGE plpgsql AS $trigger$
DECLARE
	a gathering.action;
	fired record;
BEGIN
	SELECT * INTO a FROM gathering.action WHERE id = in_action FOR NO KEY UPDATE;
	IF NOT FOUND THEN
		RETURN;
	END IF;
	SELECT * INTO ret_run FROM gathering.run WHERE id = in_run;
	IF NOT FOUND THEN -- else the answer to an earlier try was lost
		IF gathering.is_full(in_queued_max) THEN
			ret_full := 0;
			RETURN NEXT;
			RETURN;
		END IF;
		SELECT * INTO fired FROM gathering.fire(
			a, in_run, CASE WHEN in_retry_of IS NULL THEN 'manual' ELSE 'retry' END, in_retry_of, in_trace, NULL);
		INSERT INTO gathering.run_event SELECT in_run, e.event_id, e.depth, e.name, e.payload
			FROM gathering.run_event e WHERE e.run_id = in_retry_of;
		ret_run := fired.ret_run;
		ret_cancel := fired.ret_cancel;
		IF ret_run.reason = 'limit' THEN
			DELETE FROM gathering.run WHERE id = in_run;
			ret_run := NULL;
			ret_full := a.queue_limit;
		END IF;
	END IF;
	RETURN NEXT;
END
$trigger$;

-- A fresh UUIDv7, for rows whose number the client cannot know beforehand.
CREATE FUNCTION gathering.make_id() RETURNS uuid LANGUAGE sql VOLATILE AS $id$
	SELECT encode(set_byte(overlay(uuid_send(gen_random_uuid()) PLACING
		substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6),
		6, get_byte(uuid_send(gen_random_uuid()), 6) & 15 | 112), 'hex')::uuid
$id$;

-- The runs that an event starts, one for each action that waits for it, and their share of the event. Returns the runs
-- to end now (overlap cancel_running). An alert is for those, too, who wait for it from any action (in_any) and for the
-- action that is named for it (in_hook), but never for the one that it is about (in_about).
CREATE FUNCTION gathering.deliver(in_event uuid, in_name text, in_payload text, in_depth integer, in_trace text,
	in_any text DEFAULT NULL, in_hook text DEFAULT NULL, in_about uuid DEFAULT NULL) RETURNS uuid[]
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $deliver$
DECLARE
	a gathering.action;
	fired record;
	cancel uuid[];
BEGIN
	FOR a IN SELECT t.* FROM gathering.action t WHERE t.id = ANY (ARRAY(
			SELECT s.action_id FROM gathering.subscription s WHERE s.event IN (in_name, in_any)
			UNION SELECT h.id FROM gathering.action h WHERE h.name = in_hook))
		AND t.id IS DISTINCT FROM in_about ORDER BY t.id FOR NO KEY UPDATE OF t
	LOOP
		SELECT * INTO fired FROM gathering.fire(a, gathering.make_id(), 'event', NULL, in_trace,
			CASE WHEN in_depth > 32 THEN 'limit' WHEN a.is_paused THEN 'paused' END);
		INSERT INTO gathering.run_event VALUES ((fired.ret_run).id, in_event, in_depth, in_name, in_payload);
		cancel := cancel || fired.ret_cancel;
	END LOOP;
	RETURN cancel;
END
$deliver$;

-- An event from outside. One with a key that came within the window is the same event, and starts nothing. The first
-- row of the answer tells of the event, the others are its runs. No row: as many runs wait as may, and nothing was done.
CREATE FUNCTION gathering.send_event(
	in_event uuid, in_again boolean, in_name text, in_key text, in_payload text, in_window interval, in_trace text, in_queued_max integer)
RETURNS TABLE (ret_event uuid, ret_is_duplicate boolean, ret_cancel uuid[], ret_run gathering.run)
ROWS 10 LANGUAGE plpgsql AS $send$
BEGIN
	ret_event := in_event;
	ret_is_duplicate := false;
	IF gathering.is_full(in_queued_max)
		AND NOT (in_again AND EXISTS (SELECT 1 FROM gathering.run_event e WHERE e.event_id = in_event))
		AND NOT EXISTS (SELECT 1 FROM gathering.event_key k WHERE k.name = in_name AND k.key = in_key
			AND k.sent_at > gathering.clock() - in_window) THEN
		RETURN;
	END IF;
	IF in_key IS NOT NULL THEN
		INSERT INTO gathering.event_key AS k VALUES (in_name, in_key, in_event, gathering.clock())
		ON CONFLICT (name, key) DO UPDATE SET event_id = in_event, sent_at = gathering.clock()
			WHERE k.sent_at <= gathering.clock() - in_window AND k.event_id <> in_event;
		IF NOT FOUND THEN
			SELECT k.event_id, k.event_id <> in_event INTO ret_event, ret_is_duplicate
			FROM gathering.event_key k WHERE k.name = in_name AND k.key = in_key;
		END IF;
		DELETE FROM gathering.event_key k WHERE (k.name, k.key) IN (
			SELECT o.name, o.key FROM gathering.event_key o WHERE o.sent_at < gathering.clock() - in_window
			ORDER BY o.sent_at LIMIT 10 FOR UPDATE SKIP LOCKED);
	END IF;
	IF NOT ret_is_duplicate AND NOT (in_again AND EXISTS (
		SELECT 1 FROM gathering.run_event e WHERE e.event_id = in_event)) THEN
		ret_cancel := gathering.deliver(in_event, in_name, in_payload, 0, in_trace);
	END IF;
	RETURN NEXT;
	RETURN QUERY SELECT NULL::uuid, NULL::boolean, NULL::uuid[], r FROM gathering.run_event e
		JOIN gathering.run r ON r.id = e.run_id WHERE e.event_id = ret_event ORDER BY r.id;
END
$send$;

-- The action whose end that event is.
CREATE FUNCTION gathering.event_action(in_event text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $up$
	SELECT substring(in_event FROM '^action\.(.+)\.(?:succeeded|failed|timed_out|cancelled)$')
$up$;

-- As the program writes times.
CREATE FUNCTION gathering.time_text(in_at timestamptz) RETURNS text LANGUAGE sql STABLE AS $time$
	SELECT to_char(in_at AT TIME ZONE 'UTC', CASE WHEN in_at = date_trunc('second', in_at)
		THEN 'YYYY-MM-DD"T"HH24:MI:SS"Z"' ELSE 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"' END)
$time$;

-- How the end of a run leaves its action: NULL, or what there is to tell. The caller has locked the row (lock_sequels); an
-- action that nobody cares for has none, and a failure is noted only where somebody is to be told (care_is_told()).
CREATE FUNCTION gathering.note_end(in_action uuid, in_state text) RETURNS text LANGUAGE plpgsql AS $care$
DECLARE
	c gathering.care;
	now_at timestamptz := gathering.clock();
BEGIN
	SELECT * INTO c FROM gathering.care WHERE action_id = in_action;
	IF NOT FOUND OR in_state = 'cancelled' THEN
		RETURN NULL;
	ELSIF in_state <> 'succeeded' THEN
		UPDATE gathering.care k SET failing_since = now_at WHERE k.action_id = in_action AND k.failing_since IS NULL
			AND (k.expect_ms IS NOT NULL OR coalesce(k.on_failure, k.on_recovery) IS NOT NULL
				OR EXISTS (SELECT 1 FROM gathering.subscription s WHERE s.event LIKE 'action.%'));
		RETURN CASE WHEN FOUND THEN 'failing' END;
	END IF;
	IF c.expect_ms IS NOT NULL OR c.failing_since IS NOT NULL OR c.late_since IS NOT NULL THEN
		UPDATE gathering.care SET failing_since = NULL, late_since = NULL,
			deadline = CASE WHEN NOT (SELECT a.is_paused FROM gathering.action a WHERE a.id = in_action)
				THEN now_at + expect_ms * interval '1 millisecond' END
		WHERE action_id = in_action;
	END IF;
	RETURN CASE WHEN c.failing_since IS NOT NULL OR c.late_since IS NOT NULL THEN 'recovered' END;
END
$care$;

-- The end of runs: as an event that others wait for, as what the next due time counts from, and as what becomes of
-- the action by it. The caller has locked what that needs before the runs (lock_sequels), as everybody does who needs both.
CREATE FUNCTION gathering.announce(in_runs uuid[]) RETURNS uuid[] LANGUAGE plpgsql AS $announce$
DECLARE
	e record;
	alert text;
	cancel uuid[];
BEGIN
	UPDATE gathering.action a SET next_due_at = gathering.pace_next(p, gathering.clock())
	FROM gathering.pace p WHERE p.action_id = a.id AND p.every_after_ms IS NOT NULL
		AND a.next_due_at IS NOT NULL AND NOT a.is_paused AND a.id IN (SELECT r.action_id FROM gathering.run r
			WHERE r.id = ANY (in_runs) AND r.state IN ('succeeded','failed','timed_out','cancelled'));
	FOR e IN SELECT a.id AS action_id, a.name AS action, r.state, r.traceparent, coalesce(x.depth, 0) + 1 AS depth, c.on_failure, c.on_recovery,
		jsonb_build_object('action', a.name, 'run_id', r.id, 'state', r.state, 'due_at', gathering.time_text(r.due_at),
			'attempt', r.attempt, 'http_status', r.http_status, 'exit_code', r.exit_code, 'error', r.error) AS payload
		FROM gathering.run r JOIN gathering.action a ON a.id = r.action_id
		LEFT JOIN gathering.run_event x ON x.run_id = r.id LEFT JOIN gathering.care c ON c.action_id = a.id
		WHERE r.id = ANY (in_runs) AND r.state IN ('succeeded','failed','timed_out','cancelled') ORDER BY r.id
	LOOP
		cancel := cancel || gathering.deliver(
			gathering.make_id(), 'action.' || e.action || '.' || e.state, e.payload::text, e.depth, e.traceparent);
		alert := gathering.note_end(e.action_id, e.state);
		IF alert IS NOT NULL THEN
			cancel := cancel || gathering.deliver(gathering.make_id(), 'action.' || e.action || '.' || alert,
				(e.payload || jsonb_build_object('alert', alert, 'link', '/api/v1/runs/' || (e.payload->>'run_id')))::text,
				e.depth, e.traceparent, 'action.*.' || alert, CASE alert WHEN 'failing' THEN e.on_failure ELSE e.on_recovery END, e.action_id);
		END IF;
	END LOOP;
	RETURN cancel;
END
$announce$;

-- Whether these ends (in_states: what the runs are to become) may start others, move a cursor, or change how an action
-- fares; then what that needs is locked: the actions that may be started, then the rows of how those fare that ended. What
-- a state cannot be told from here (a cancel that was asked for meanwhile) is locked when it is seen, out of this order.
-- A statement for each reason there may be, and none without one: every finish comes here (doc/design/storage.md).
CREATE FUNCTION gathering.lock_sequels(in_runs uuid[], in_states text[]) RETURNS boolean LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $sequels$
DECLARE
	has_chains boolean := EXISTS (SELECT 1 FROM gathering.subscription s WHERE s.event LIKE 'action.%');
	has_failed boolean := has_chains AND in_states && '{failed,timed_out}'; -- the first failure is noticed, whoever hears of it
	is_minded boolean := has_failed OR EXISTS (SELECT 1 FROM gathering.care c
		WHERE c.expect_ms IS NOT NULL OR c.on_failure IS NOT NULL OR c.on_recovery IS NOT NULL OR c.failing_since IS NOT NULL);
	wanted uuid[] := '{}';
	unknown uuid[];
	mixed uuid[] := '{}'; -- actions of which some runs succeed and some fail here: they may change to and fro
BEGIN
	IF EXISTS (SELECT 1 FROM gathering.pace) THEN
		wanted := ARRAY(SELECT p.action_id FROM gathering.run r JOIN gathering.pace p ON p.action_id = r.action_id
			WHERE r.id = ANY (in_runs) AND p.every_after_ms IS NOT NULL);
	END IF;
	IF has_chains THEN
		wanted := wanted || ARRAY(SELECT s.action_id FROM unnest(in_runs, in_states) g(run, state)
			JOIN gathering.run r ON r.id = g.run JOIN gathering.action a ON a.id = r.action_id
			CROSS JOIN LATERAL unnest(ARRAY[g.state, 'cancelled']) q(state)
			JOIN gathering.subscription s ON s.event = 'action.' || a.name || '.' || q.state);
	END IF;
	IF is_minded AND in_states && '{succeeded}' AND in_states && '{failed,timed_out}' THEN
		mixed := ARRAY(SELECT r.action_id FROM unnest(in_runs, in_states) g(run, state) JOIN gathering.run r ON r.id = g.run
			WHERE g.state IN ('succeeded','failed','timed_out')
			GROUP BY r.action_id HAVING count(DISTINCT g.state = 'succeeded') > 1);
	END IF;
	IF is_minded THEN
		wanted := wanted || ARRAY(
			WITH told AS MATERIALIZED (
				SELECT a.name, CASE WHEN g.state = 'succeeded' THEN c.on_recovery ELSE c.on_failure END AS hook,
					CASE WHEN g.state = 'succeeded' THEN 'recovered' ELSE 'failing' END AS alert
				FROM unnest(in_runs, in_states) g(run, state) JOIN gathering.run r ON r.id = g.run
				JOIN gathering.action a ON a.id = r.action_id LEFT JOIN gathering.care c ON c.action_id = a.id
				WHERE g.state IN ('failed','timed_out') AND (c.failing_since IS NULL OR a.id = ANY (mixed))
					OR g.state = 'succeeded' AND (c.failing_since IS NOT NULL OR c.late_since IS NOT NULL OR a.id = ANY (mixed))
			)
			SELECT s.action_id FROM told t
			JOIN gathering.subscription s ON s.event IN ('action.' || t.name || '.' || t.alert, 'action.*.' || t.alert)
			UNION ALL
			SELECT h.id FROM told t JOIN gathering.action h ON h.name = t.hook);
	END IF;
	IF wanted <> '{}' THEN
		PERFORM 1 FROM gathering.action t WHERE t.id = ANY (wanted) ORDER BY t.id FOR NO KEY UPDATE OF t;
	END IF;
	IF NOT is_minded THEN
		RETURN wanted <> '{}';
	END IF;
	IF has_failed THEN
		unknown := ARRAY(SELECT r.action_id FROM unnest(in_runs, in_states) g(run, state) JOIN gathering.run r ON r.id = g.run
			LEFT JOIN gathering.care c ON c.action_id = r.action_id WHERE g.state IN ('failed','timed_out') AND c.action_id IS NULL);
		IF unknown <> '{}' THEN -- but those that somebody deletes just now
			INSERT INTO gathering.care (action_id) SELECT a.id FROM gathering.action a WHERE a.id = ANY (unknown)
			ORDER BY a.id FOR KEY SHARE OF a ON CONFLICT DO NOTHING;
		END IF;
	END IF;
	PERFORM 1 FROM gathering.care c WHERE c.action_id = ANY (ARRAY(SELECT r.action_id
		FROM unnest(in_runs, in_states) g(run, state) JOIN gathering.run r ON r.id = g.run
		WHERE g.state IN ('succeeded','failed','timed_out'))) ORDER BY c.action_id FOR UPDATE OF c;
	RETURN wanted <> '{}' OR FOUND;
END
$sequels$;

-- Actions of which no run has succeeded in time: each is noted and told once. ret_next: the next deadline.
CREATE FUNCTION gathering.lapse(in_limit integer, OUT ret_clock timestamptz, OUT ret_count bigint, OUT ret_next timestamptz,
	OUT ret_renew_ms bigint, OUT ret_cancel uuid[])
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $lapse$
DECLARE
	lapsed uuid[];
	e record;
BEGIN
	ret_clock := gathering.clock();
	ret_count := 0;
	lapsed := ARRAY(SELECT c.action_id FROM gathering.care c WHERE c.deadline <= ret_clock ORDER BY c.deadline LIMIT in_limit);
	IF lapsed <> '{}' THEN
		PERFORM 1 FROM gathering.action t WHERE t.id = ANY (ARRAY(
			SELECT s.action_id FROM gathering.action a JOIN gathering.subscription s
			ON s.event IN ('action.' || a.name || '.late', 'action.*.late') WHERE a.id = ANY (lapsed)
			UNION ALL
			SELECT h.id FROM gathering.care c JOIN gathering.action h ON h.name = c.on_late WHERE c.action_id = ANY (lapsed)))
		ORDER BY t.id FOR NO KEY UPDATE OF t;
		FOR e IN SELECT c.*, a.name FROM gathering.care c JOIN gathering.action a ON a.id = c.action_id
			WHERE c.action_id = ANY (lapsed) AND c.deadline <= ret_clock ORDER BY c.action_id FOR UPDATE OF c SKIP LOCKED
		LOOP
			UPDATE gathering.care SET deadline = NULL, late_since = ret_clock WHERE action_id = e.action_id;
			ret_cancel := ret_cancel || gathering.deliver(gathering.make_id(), 'action.' || e.name || '.late',
				jsonb_build_object('action', e.name, 'alert', 'late', 'deadline', gathering.time_text(e.deadline),
					'expect_success_within_s', e.expect_ms / 1000.0, 'link', '/api/v1/actions/' || e.name)::text,
				1, NULL, 'action.*.late', e.on_late, e.action_id);
			ret_count := ret_count + 1;
		END LOOP;
	END IF;
	SELECT min(c.deadline) INTO ret_next FROM gathering.care c WHERE c.deadline IS NOT NULL;
	SELECT min(c.expect_ms) INTO ret_renew_ms FROM gathering.care c WHERE c.late_since IS NOT NULL;
END
$lapse$;

-- Three numbers (age in milliseconds, count, expected success) and three names of actions for each; what is NULL is not
-- asked for. A deadline counts from now, unless it is expected as before.
CREATE FUNCTION gathering.put_care(in_ids uuid[], in_numbers bigint[], in_hooks text[]) RETURNS void
LANGUAGE sql AS $put_care$
	INSERT INTO gathering.care AS c (action_id, retain_age_ms, retain_count, expect_ms, on_failure, on_recovery, on_late, deadline)
	SELECT g.id, in_numbers[3 * g.n - 2], in_numbers[3 * g.n - 1], in_numbers[3 * g.n],
		in_hooks[3 * g.n - 2], in_hooks[3 * g.n - 1], in_hooks[3 * g.n],
		CASE WHEN NOT a.is_paused THEN gathering.clock() + in_numbers[3 * g.n] * interval '1 millisecond' END
	FROM unnest(in_ids) WITH ORDINALITY g(id, n) JOIN gathering.action a ON a.id = g.id
	WHERE coalesce(in_numbers[3 * g.n - 2], in_numbers[3 * g.n - 1], in_numbers[3 * g.n]) IS NOT NULL
		OR coalesce(in_hooks[3 * g.n - 2], in_hooks[3 * g.n - 1], in_hooks[3 * g.n]) IS NOT NULL
		OR EXISTS (SELECT 1 FROM gathering.care o WHERE o.action_id = g.id)
	ON CONFLICT (action_id) DO UPDATE SET retain_age_ms = excluded.retain_age_ms, retain_count = excluded.retain_count,
		expect_ms = excluded.expect_ms, on_failure = excluded.on_failure, on_recovery = excluded.on_recovery,
		on_late = excluded.on_late,
		deadline = CASE WHEN c.expect_ms IS DISTINCT FROM excluded.expect_ms THEN excluded.deadline ELSE c.deadline END,
		late_since = CASE WHEN c.expect_ms IS NOT DISTINCT FROM excluded.expect_ms THEN c.late_since END
$put_care$;

-- The first chain of ends that leads from one of these actions (as they are going to be) back to itself, or is longer
-- than a chain may be; in the order in which they start each other.
CREATE FUNCTION gathering.find_circle(
	in_ids uuid[], in_names text[], in_events text[], OUT ret_n integer, OUT ret_chain text, OUT ret_is_long boolean)
RETURNS SETOF record ROWS 10 LANGUAGE sql AS $circle$
	WITH RECURSIVE given AS (
		SELECT g.id, g.name COLLATE "C" AS name, g.event COLLATE "C" AS event, g.n
		FROM unnest(in_ids, in_names, in_events) WITH ORDINALITY g(id, name, event, n)
	), walk AS (
		SELECT g.n, g.name AS first, g.name AS chain, gathering.event_action(g.event) AS up, 1 AS steps FROM given g
		WHERE gathering.event_action(g.event) IS NOT NULL
		UNION ALL
		SELECT w.n, w.first, w.up || ' -> ' || w.chain, gathering.event_action(coalesce(g.event, s.event)), w.steps + 1
		FROM walk w LEFT JOIN given g ON g.name = w.up
		LEFT JOIN gathering.action a ON g.n IS NULL AND a.name = w.up AND a.id <> ALL (in_ids)
		LEFT JOIN gathering.subscription s ON s.action_id = a.id
		WHERE w.up <> w.first AND w.steps <= 32
	)
	SELECT n::integer, up || ' -> ' || chain, up IS DISTINCT FROM first FROM walk
	WHERE up = first OR up IS NOT NULL AND steps > 32 ORDER BY n LIMIT 1
$circle$;

-- A person's cancel; mirrors run_apply_cancel(). The CASEs see the row as it is when it is locked. ret_done: it was
-- changed, or may stay as it is (asked already). No row: no such run.
CREATE FUNCTION gathering.cancel(in_run uuid, OUT ret_run gathering.run, OUT ret_done boolean, OUT ret_cancel uuid[])
RETURNS SETOF record ROWS 10 LANGUAGE plpgsql AS $cancel$
DECLARE
	has_sequels boolean := gathering.lock_sequels(ARRAY[in_run], ARRAY['cancelled']);
BEGIN
	UPDATE gathering.run r SET
		state = CASE r.state WHEN 'running' THEN r.state ELSE 'cancelled' END,
		reason = CASE WHEN r.state = 'running' AND r.cancel_requested THEN r.reason ELSE 'user' END,
		cancel_requested = r.cancel_requested OR r.state = 'running',
		not_before = NULL,
		finished_at = CASE r.state WHEN 'running' THEN NULL ELSE gathering.clock() END
	WHERE r.id = in_run AND r.state IN ('pending','held','running') RETURNING r.* INTO ret_run;
	ret_done := FOUND;
	IF NOT FOUND THEN
		SELECT * INTO ret_run FROM gathering.run WHERE id = in_run;
		IF NOT FOUND THEN
			RETURN;
		END IF;
	ELSIF has_sequels THEN
		ret_cancel := gathering.announce(ARRAY[in_run]);
	END IF;
	RETURN NEXT;
END
$cancel$;

-- The verbs on backfills; see backfill.h. Each holds the lock of the action first, as whoever makes runs of it does.
-- No row: no such action. ret_busy: another one is not over.
CREATE FUNCTION gathering.create_backfill(
	in_id uuid, in_action uuid, in_rerun text, in_seed text, in_schedule text, in_from timestamptz, in_to timestamptz,
	in_cursor timestamptz, in_total bigint, in_interval_ms bigint, in_max_open integer,
	OUT ret_number bigint, OUT ret_clock timestamptz, OUT ret_busy uuid)
RETURNS SETOF record ROWS 10 LANGUAGE plpgsql AS $backfill$
BEGIN
	ret_clock := gathering.clock();
	PERFORM 1 FROM gathering.action WHERE id = in_action FOR NO KEY UPDATE;
	IF NOT FOUND THEN
		RETURN;
	END IF;
	SELECT number, created_at INTO ret_number, ret_clock FROM gathering.backfill WHERE id = in_id;
	IF NOT FOUND THEN -- else the answer to an earlier try was lost
		ret_clock := gathering.clock();
		SELECT id INTO ret_busy FROM gathering.backfill WHERE action_id = in_action AND state = 'running';
		SELECT coalesce(max(number), 0) + 1 INTO ret_number FROM gathering.backfill WHERE action_id = in_action;
		IF ret_busy IS NULL THEN
			DELETE FROM gathering.backfill WHERE action_id = in_action AND number <= ret_number - 100;
			INSERT INTO gathering.backfill VALUES (in_id, in_action, ret_number, 'running', in_rerun, in_seed, in_schedule,
				in_from, in_to, in_cursor, in_total, 0, 0, in_interval_ms, in_max_open, ret_clock, ret_clock, NULL);
		END IF;
	END IF;
	RETURN NEXT;
END
$backfill$;

CREATE FUNCTION gathering.advance_backfill(
	in_id uuid, in_cursor timestamptz, in_runs uuid[], in_dues timestamptz[], in_next timestamptz, in_max bigint,
	OUT ret_won boolean, OUT ret_made bigint, OUT ret_passed bigint, OUT ret_done boolean)
RETURNS SETOF record ROWS 10 LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $advance$
DECLARE
	now_at timestamptz := gathering.clock();
	a gathering.action;
	b gathering.backfill;
	n integer := 1;
BEGIN
	SELECT t.* INTO a FROM gathering.action t JOIN gathering.backfill f ON f.action_id = t.id WHERE f.id = in_id
	FOR NO KEY UPDATE OF t;
	IF NOT FOUND THEN
		RETURN;
	END IF;
	SELECT * INTO b FROM gathering.backfill WHERE id = in_id FOR NO KEY UPDATE;
	ret_made := 0;
	ret_passed := 0;
	ret_done := false;
	ret_won := b.state = 'running' AND NOT a.is_paused AND b.cursor_at IS NOT DISTINCT FROM in_cursor;
	IF NOT ret_won THEN
		RETURN NEXT;
		RETURN;
	END IF;
	WHILE n <= cardinality(in_dues) AND ret_made < in_max LOOP
		IF b.rerun <> 'all' AND EXISTS (SELECT 1 FROM gathering.run r WHERE r.action_id = a.id AND r.due_at = in_dues[n]
			AND r.state <> 'skipped' AND (b.rerun = 'none' OR r.state IN ('pending','running','held','succeeded'))) THEN
			ret_passed := ret_passed + 1;
		ELSE
			INSERT INTO gathering.run (id, action_id, action_version, definition_version, due_at, epoch, created_at,
				missed_count, missed_until, output_bytes, attempt, interruptions, priority, max_concurrent, is_serial,
				cancel_requested, kind, triggered_by, state, reason, backfill)
			VALUES (in_runs[n], a.id, a.version, a.definition_version, in_dues[n], 0, now_at, 1, in_dues[n], 0, 0, 0, -100,
				a.max_concurrent, a.overlap <> 'allow', false, a.kind, 'backfill', 'pending', 'queued', b.number);
			ret_made := ret_made + 1;
		END IF;
		n := n + 1;
	END LOOP;
	b.cursor_at := CASE WHEN n <= cardinality(in_dues) THEN in_dues[n] ELSE in_next END;
	ret_done := b.cursor_at IS NULL AND NOT EXISTS (SELECT 1 FROM gathering.run r WHERE r.action_id = a.id
		AND r.backfill = b.number AND r.backfill > 0 AND r.state IN ('pending','running','held'));
	UPDATE gathering.backfill f SET cursor_at = b.cursor_at, made = f.made + ret_made, passed = f.passed + ret_passed,
		next_at = greatest(f.next_at, now_at - interval '1 s') + ret_made * f.interval_ms * interval '1 millisecond',
		state = CASE WHEN ret_done THEN 'done' ELSE f.state END, finished_at = CASE WHEN ret_done THEN now_at END
	WHERE f.id = in_id;
	RETURN NEXT;
END
$advance$;

-- No row: no such backfill.
CREATE FUNCTION gathering.cancel_backfill(
	in_id uuid, in_again boolean, OUT ret_found text, OUT ret_done boolean, OUT ret_cancel uuid[])
RETURNS SETOF record ROWS 10 LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $cancel$
DECLARE
	b gathering.backfill;
	r record;
	c record;
BEGIN
	-- its action and those that wait for the ends of its runs: in one order, and before the runs (lock_sequels)
	PERFORM 1 FROM gathering.action t WHERE t.id = ANY (ARRAY(
		WITH a AS MATERIALIZED (
			SELECT a.id, a.name FROM gathering.backfill f JOIN gathering.action a ON a.id = f.action_id WHERE f.id = in_id
		)
		SELECT a.id FROM a UNION ALL
		SELECT s.action_id FROM a JOIN gathering.subscription s ON s.event = 'action.' || a.name || '.cancelled'))
	ORDER BY t.id FOR NO KEY UPDATE OF t;
	SELECT * INTO b FROM gathering.backfill WHERE id = in_id FOR NO KEY UPDATE;
	IF NOT FOUND THEN
		RETURN;
	END IF;
	ret_found := b.state;
	ret_done := b.state = 'running' OR in_again AND b.state = 'cancelled';
	IF ret_done THEN
		UPDATE gathering.backfill SET state = 'cancelled', finished_at = gathering.clock() WHERE id = in_id AND state = 'running';
		FOR r IN SELECT o.id FROM gathering.run o WHERE o.action_id = b.action_id AND o.backfill = b.number AND o.backfill > 0
			AND o.state IN ('pending','running','held') ORDER BY o.id
		LOOP
			SELECT * INTO c FROM gathering.cancel(r.id);
			ret_cancel := ret_cancel || c.ret_cancel;
			IF (c.ret_run).state = 'running' THEN
				ret_cancel := ret_cancel || r.id;
			END IF;
		END LOOP;
	END IF;
	RETURN NEXT;
END
$cancel$;

-- Three numbers for each action: every_after in milliseconds, end_at in milliseconds since 1970, max_runs; NULL: none.
CREATE FUNCTION gathering.put_pace(in_ids uuid[], in_paces bigint[]) RETURNS void LANGUAGE sql AS $pace$
	INSERT INTO gathering.pace SELECT g.id, in_paces[3 * g.n - 2],
		timestamptz 'epoch' + in_paces[3 * g.n - 1] * interval '1 millisecond', in_paces[3 * g.n]
	FROM unnest(in_ids) WITH ORDINALITY g(id, n)
	WHERE in_paces[3 * g.n - 2] IS NOT NULL OR in_paces[3 * g.n] IS NOT NULL
$pace$;

-- New actions, all or none. ret_refused: the one of them (from 1) whose chain of events would be a circle or too long;
-- then nothing was done. in_tagged: whose each tag is.
CREATE FUNCTION gathering.create_actions(
	in_ids uuid[], in_names text[], in_next_due timestamptz[], in_kinds text[], in_overlaps text[],
	in_queue_limits integer[], in_max_concurrent integer[], in_priorities integer[], in_has_schedule boolean[],
	in_on_start boolean[], in_paused boolean[], in_bodies text[],
	in_events text[], in_tagged uuid[], in_tags text[], in_paces bigint[], in_cares bigint[], in_hooks text[],
	OUT ret_clock timestamptz, OUT ret_refused integer, OUT ret_chain text, OUT ret_is_long boolean)
LANGUAGE plpgsql AS $create$
BEGIN
	ret_clock := gathering.clock();
	IF EXISTS (SELECT 1 FROM unnest(in_events) e(name) WHERE gathering.event_action(e.name) IS NOT NULL) THEN
		LOCK TABLE gathering.subscription IN SHARE ROW EXCLUSIVE MODE;
		SELECT c.ret_n, c.ret_chain, c.ret_is_long INTO ret_refused, ret_chain, ret_is_long
		FROM gathering.find_circle(in_ids, in_names, in_events) c;
		IF FOUND THEN
			RETURN;
		END IF;
	END IF;
	INSERT INTO gathering.action (id, version, definition_version, next_due_at, created_at, updated_at, queue_limit,
		max_concurrent, priority, is_paused, has_schedule, runs_on_start, kind, overlap, name)
	SELECT g.id, 1, 1, g.next_due, ret_clock, ret_clock, g.queue_limit, g.max_concurrent, g.priority, g.is_paused, g.has_schedule, g.on_start, g.kind,
		g.overlap, g.name
	FROM unnest(in_ids, in_names, in_next_due, in_kinds, in_overlaps, in_queue_limits, in_max_concurrent, in_priorities, in_has_schedule,
		in_on_start, in_paused) g(id, name, next_due, kind, overlap, queue_limit, max_concurrent, priority, has_schedule, on_start, is_paused);
	INSERT INTO gathering.definition SELECT g.id, 1, g.body::json FROM unnest(in_ids, in_bodies) g(id, body);
	INSERT INTO gathering.subscription SELECT g.id, g.event FROM unnest(in_ids, in_events) g(id, event)
		WHERE g.event IS NOT NULL;
	PERFORM gathering.put_pace(in_ids, in_paces);
	PERFORM gathering.put_care(in_ids, in_cares, in_hooks);
	INSERT INTO gathering.action_tag SELECT * FROM unnest(in_tagged, in_tags) ON CONFLICT DO NOTHING;
END
$create$;

-- Old definitions go when no run can need them any more: at a replacement, and in the walk of retain, for what was needed
-- then. Who makes a run holds the lock of its action's row and takes the current one: a snapshot in which a definition is
-- an old one shows all its runs, and a run that has ended stays so.
CREATE FUNCTION gathering.forget_definitions(in_action uuid) RETURNS void LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $forget$
BEGIN
	DELETE FROM gathering.definition f WHERE f.action_id = in_action AND f.version = ANY (ARRAY(
		SELECT d.version FROM gathering.definition d WHERE d.action_id = in_action
			AND d.version < (SELECT a.definition_version FROM gathering.action a WHERE a.id = in_action)
			AND NOT EXISTS (SELECT 1 FROM gathering.run r WHERE r.action_id = in_action
				AND r.state IN ('pending','running') AND r.definition_version = d.version)
			AND NOT EXISTS (SELECT 1 FROM gathering.run r WHERE r.action_id = in_action
				AND r.state = 'held' AND r.definition_version = d.version)
		FOR UPDATE OF d SKIP LOCKED));
END
$forget$;

-- The row after the change, or as it is when ret_done is false: then its version is not the expected one (0: any). No
-- row: no such action. in_again: the answer to an earlier try was lost, so it may have been done by us.
CREATE FUNCTION gathering.replace(
	in_id uuid, in_expected bigint, in_again boolean, in_name text, in_next_due timestamptz, in_kind text,
	in_overlap text, in_queue_limit integer, in_max_concurrent integer, in_priority integer, in_has_schedule boolean,
	in_on_start boolean, in_body text, in_tags text[], in_event text, in_pace bigint[], in_keeps_cursor boolean,
	in_care bigint[], in_hooks text[],
	OUT ret_action gathering.action, OUT ret_done boolean, OUT ret_chain text, OUT ret_is_long boolean)
RETURNS SETOF record ROWS 10 LANGUAGE plpgsql AS $replace$
DECLARE
	old gathering.action;
BEGIN
	-- before the action, here and in remove: who waits for the one must not hold the other
	IF gathering.event_action(in_event) IS NOT NULL THEN
		LOCK TABLE gathering.subscription IN SHARE ROW EXCLUSIVE MODE;
	ELSE
		LOCK TABLE gathering.subscription IN ROW EXCLUSIVE MODE;
	END IF;
	SELECT * INTO old FROM gathering.action WHERE id = in_id FOR NO KEY UPDATE;
	IF NOT FOUND THEN
		RETURN;
	END IF;
	ret_action := old;
	IF in_expected NOT IN (0, old.version) THEN
		ret_done := in_again AND old.version = in_expected + 1 AND EXISTS (
			SELECT 1 FROM gathering.definition d
			WHERE d.action_id = in_id AND d.version = old.version AND d.body::text = in_body);
		RETURN NEXT;
		RETURN;
	END IF;
	SELECT c.ret_chain, c.ret_is_long INTO ret_chain, ret_is_long
	FROM gathering.find_circle(ARRAY[in_id], ARRAY[in_name], ARRAY[in_event]) c;
	IF FOUND THEN
		RETURN NEXT;
		RETURN;
	END IF;
	DELETE FROM gathering.subscription s WHERE s.action_id = in_id AND s.event IS DISTINCT FROM in_event;
	INSERT INTO gathering.subscription SELECT in_id, in_event WHERE in_event IS NOT NULL ON CONFLICT DO NOTHING;
	IF NOT in_keeps_cursor THEN
		DELETE FROM gathering.pace WHERE action_id = in_id;
		PERFORM gathering.put_pace(ARRAY[in_id], in_pace);
	END IF;
	UPDATE gathering.action a SET name = in_name, version = old.version + 1, definition_version = old.version + 1,
		next_due_at = CASE WHEN in_keeps_cursor THEN old.next_due_at ELSE in_next_due END, kind = in_kind,
		overlap = in_overlap, queue_limit = in_queue_limit, max_concurrent = in_max_concurrent,
		priority = in_priority, has_schedule = in_has_schedule, runs_on_start = in_on_start,
		updated_at = gathering.clock()
	WHERE a.id = in_id RETURNING a.* INTO ret_action;
	PERFORM gathering.put_care(ARRAY[in_id], in_care, in_hooks);
	INSERT INTO gathering.definition VALUES (in_id, ret_action.version, in_body::json);
	PERFORM gathering.forget_definitions(in_id);
	DELETE FROM gathering.action_tag t WHERE t.action_id = in_id AND t.tag <> ALL (in_tags);
	INSERT INTO gathering.action_tag SELECT in_id, t FROM unnest(in_tags) t ON CONFLICT DO NOTHING;
	ret_done := true;
	RETURN NEXT;
END
$replace$;

CREATE FUNCTION gathering.pause(
	in_id uuid, in_expected bigint, in_again boolean, in_paused boolean, in_next_due timestamptz,
	OUT ret_action gathering.action, OUT ret_done boolean)
RETURNS SETOF record ROWS 10 LANGUAGE plpgsql AS $pause$
BEGIN
	SELECT * INTO ret_action FROM gathering.action WHERE id = in_id FOR NO KEY UPDATE;
	IF NOT FOUND THEN
		RETURN;
	END IF;
	ret_done := in_expected IN (0, ret_action.version)
		OR in_again AND ret_action.version = in_expected + 1 AND ret_action.is_paused = in_paused;
	IF ret_done AND ret_action.is_paused <> in_paused THEN
		UPDATE gathering.action a SET is_paused = in_paused, next_due_at = in_next_due, version = a.version + 1,
			updated_at = gathering.clock()
		WHERE a.id = in_id RETURNING a.* INTO ret_action;
		UPDATE gathering.care c SET deadline = CASE WHEN NOT in_paused
			THEN gathering.clock() + c.expect_ms * interval '1 millisecond' END
		WHERE c.action_id = in_id AND c.expect_ms IS NOT NULL AND c.late_since IS NULL;
	END IF;
	RETURN NEXT;
END
$pause$;

-- Deletes an action with its ledger: what is open at once, of the rest a batch; what is left then goes by retain.
CREATE FUNCTION gathering.remove(
	in_id uuid, in_expected bigint, OUT ret_version bigint, OUT ret_done boolean, OUT ret_running uuid[])
RETURNS SETOF record ROWS 10 LANGUAGE plpgsql AS $remove$
BEGIN
	LOCK TABLE gathering.subscription IN ROW EXCLUSIVE MODE;
	SELECT version INTO ret_version FROM gathering.action WHERE id = in_id FOR UPDATE;
	IF NOT FOUND THEN
		RETURN;
	END IF;
	ret_done := in_expected IN (0, ret_version);
	IF ret_done THEN
		PERFORM 1 FROM gathering.care WHERE action_id = in_id FOR UPDATE; -- before its runs, as at their ends
		ret_running := ARRAY(SELECT id FROM gathering.run WHERE action_id = in_id AND state = 'running');
		DELETE FROM gathering.run WHERE action_id = in_id AND state IN ('pending','running');
		DELETE FROM gathering.run WHERE action_id = in_id AND state = 'held';
		PERFORM gathering.drop_runs(ARRAY(SELECT id FROM gathering.run WHERE action_id = in_id ORDER BY id LIMIT 1000));
		INSERT INTO gathering.removed SELECT in_id, gathering.clock()
			WHERE EXISTS (SELECT 1 FROM gathering.run WHERE action_id = in_id);
		DELETE FROM gathering.action WHERE id = in_id;
	END IF;
	RETURN NEXT;
END
$remove$;

-- Removes runs with all that belongs to them; those that somebody holds stay for another time. Returns how many went.
CREATE FUNCTION gathering.drop_runs(in_ids uuid[]) RETURNS bigint LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $drop$
DECLARE
	dropped bigint;
BEGIN
	DELETE FROM gathering.run WHERE id = ANY (ARRAY(
		SELECT r.id FROM gathering.run r WHERE r.id = ANY (in_ids) ORDER BY r.id FOR UPDATE SKIP LOCKED));
	GET DIAGNOSTICS dropped = ROW_COUNT;
	RETURN dropped;
END
$drop$;

-- Puts the rows of kept_output together, in_limit at most: their sum, which is all that is kept when there were fewer.
CREATE FUNCTION gathering.fold_output(in_limit integer, OUT ret_count bigint, OUT ret_bytes bigint)
LANGUAGE plpgsql AS $fold_output$
BEGIN
	WITH gone AS (
		DELETE FROM gathering.kept_output WHERE ctid = ANY (ARRAY(
			SELECT k.ctid FROM gathering.kept_output k LIMIT in_limit FOR UPDATE SKIP LOCKED))
		RETURNING bytes
	)
	SELECT count(*), coalesce(sum(bytes), 0) INTO ret_count, ret_bytes FROM gone;
	INSERT INTO gathering.kept_output VALUES (ret_bytes);
END
$fold_output$;

-- One step of the walk over all actions that keeps the ledger within its limits; see store_retain. An action without
-- limits of its own has those given. The ended runs that may go are found by due time (which is never after the moment a
-- run was made) for their age, by id for their number.
CREATE FUNCTION gathering.retain(in_after uuid, in_actions integer, in_limit integer, in_age_ms bigint, in_count bigint,
	in_output_bytes bigint, in_young interval,
	OUT ret_removed bigint, OUT ret_outputs bigint, OUT ret_is_done boolean, OUT ret_after uuid)
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $retain$
DECLARE
	now_at timestamptz := gathering.clock();
	seen integer := 0;
	a record;
	newest uuid; -- stays, whatever its age
	oldest uuid; -- of those that stay for their number
	folds integer := 20 * in_limit; -- small rows that nobody reads
	folded record;
BEGIN
	ret_removed := 0;
	ret_outputs := 0;
	ret_is_done := false;
	ret_after := in_after;
	FOR a IN SELECT action_id FROM gathering.removed ORDER BY action_id LIMIT in_actions LOOP
		ret_removed := ret_removed + gathering.drop_runs(ARRAY(SELECT r.id FROM gathering.run r
			WHERE r.action_id = a.action_id ORDER BY r.id LIMIT in_limit - ret_removed));
		IF NOT EXISTS (SELECT 1 FROM gathering.run r WHERE r.action_id = a.action_id) THEN
			DELETE FROM gathering.removed WHERE action_id = a.action_id;
		END IF;
		IF ret_removed >= in_limit THEN
			RETURN;
		END IF;
	END LOOP;
	FOR a IN SELECT t.id, coalesce(c.retain_age_ms, nullif(in_age_ms, 0)) AS age_ms, coalesce(c.retain_count, nullif(in_count, 0)) AS count
		FROM gathering.action t LEFT JOIN gathering.care c ON c.action_id = t.id
		WHERE t.id > in_after ORDER BY t.id LIMIT in_actions
	LOOP
		seen := seen + 1;
		PERFORM gathering.forget_definitions(a.id);
		SELECT r.id INTO newest FROM gathering.run r WHERE r.action_id = a.id ORDER BY r.id DESC LIMIT 1;
		IF a.age_ms IS NOT NULL THEN
			ret_removed := ret_removed + gathering.drop_runs(ARRAY(SELECT r.id FROM gathering.run r
				WHERE r.action_id = a.id AND r.due_at < now_at - a.age_ms * interval '1 millisecond' AND r.id <> newest
					AND r.state NOT IN ('pending','running','held')
					AND coalesce(r.finished_at, r.created_at) < now_at - a.age_ms * interval '1 millisecond'
				ORDER BY r.due_at LIMIT in_limit - ret_removed));
		END IF;
		IF a.count IS NOT NULL AND ret_removed < in_limit THEN
			SELECT r.id INTO oldest FROM gathering.run r WHERE r.action_id = a.id ORDER BY r.id DESC OFFSET a.count - 1 LIMIT 1;
			IF FOUND THEN
				ret_removed := ret_removed + gathering.drop_runs(ARRAY(SELECT r.id FROM gathering.run r
					WHERE r.action_id = a.id AND r.id < oldest AND r.state NOT IN ('pending','running','held')
						AND coalesce(r.finished_at, r.created_at) < now_at - in_young
					ORDER BY r.id LIMIT in_limit - ret_removed));
			END IF;
		END IF;
		IF ret_removed >= in_limit THEN -- this one may have more
			RETURN;
		END IF;
		ret_after := a.id;
	END LOOP;
	IF seen = in_actions THEN
		RETURN;
	END IF;
	-- what an owner that died was showing
	DELETE FROM gathering.live l WHERE NOT EXISTS (SELECT 1 FROM gathering.run r
		WHERE r.id = l.run_id AND r.epoch = l.epoch AND r.state = 'running');
	SELECT * INTO folded FROM gathering.fold_output(folds);
	ret_is_done := folded.ret_count < folds;
	IF ret_is_done AND in_output_bytes > 0 AND folded.ret_bytes > in_output_bytes THEN
		WITH oldest AS (
			SELECT t.run_id, t.epoch, t.output_kept, t.finished_at FROM gathering.attempt t
			WHERE t.output_kept > 0 ORDER BY t.finished_at LIMIT in_limit FOR NO KEY UPDATE SKIP LOCKED
		), over AS (
			SELECT *, sum(output_kept) OVER (ORDER BY finished_at, run_id, epoch) - output_kept AS before FROM oldest
		)
		UPDATE gathering.attempt t SET output = NULL, output_kept = 0 FROM over o
		WHERE o.before < folded.ret_bytes - in_output_bytes AND t.run_id = o.run_id AND t.epoch = o.epoch;
		GET DIAGNOSTICS ret_outputs = ROW_COUNT;
		ret_is_done := ret_outputs < in_limit;
	END IF;
END
$retain$;

-- Time in which the server was down counts for nobody: then no one could speak.
CREATE FUNCTION gathering.is_silent(in_heartbeat timestamptz, in_for interval) RETURNS boolean LANGUAGE sql STABLE
	AS $$ SELECT greatest(in_heartbeat, pg_postmaster_start_time()) < gathering.clock() - in_for $$;

-- We live, and so do the runs named. ret_lost: those that are not ours any more; ret_cancel, ret_pause: ours
-- that somebody asked to end or to pause; ret_silent: others that may be reaped; ret_lease_end: when the first lease of all ends; ret_is_first:
-- of those that are at work and have been heard of within a lease we are the oldest. A run that somebody has locked (a
-- delete, a person) is passed over, for the others must not wait for it: ret_lease_until says how long all of them are
-- leased, the next heartbeat names it again, and one that has been passed over for half a lease is lost, while there is
-- time to end its work.
CREATE FUNCTION gathering.heartbeat(
	in_me uuid, in_host text, in_pid integer, in_version text, in_state text, in_lease interval, in_ids uuid[],
	in_epochs bigint[],
	OUT ret_clock timestamptz, OUT ret_instances bigint, OUT ret_silent bigint, OUT ret_is_first boolean,
	OUT ret_orphans bigint, OUT ret_lease_end timestamptz, OUT ret_was_gone boolean, OUT ret_lost uuid[],
	OUT ret_cancel uuid[], OUT ret_pause uuid[], OUT ret_wish bigint, OUT ret_lease_until timestamptz)
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $heartbeat$
BEGIN
	ret_clock := gathering.clock();
	UPDATE gathering.instance SET heartbeat_at = ret_clock, state = in_state WHERE id = in_me RETURNING wish INTO ret_wish;
	ret_was_gone := NOT FOUND;
	IF ret_was_gone THEN
		INSERT INTO gathering.instance VALUES (in_me, in_host, in_pid, in_version, in_state, ret_clock, ret_clock)
		ON CONFLICT (id) DO NOTHING;
	END IF;
	WITH given AS (
		SELECT g.id, g.epoch FROM unnest(in_ids, in_epochs) g(id, epoch)
	), locked AS (
		SELECT r.id FROM given g JOIN gathering.run r ON r.id = g.id
		WHERE r.epoch = g.epoch AND r.state IS NOT DISTINCT FROM 'running' AND r.instance_id = in_me
		ORDER BY r.id FOR NO KEY UPDATE OF r SKIP LOCKED
	), extended AS (
		UPDATE gathering.run r SET lease_until = ret_clock + in_lease FROM locked l WHERE r.id = l.id
		RETURNING r.id, r.cancel_requested, r.reason
	)
	SELECT array_agg(g.id) FILTER (WHERE e.id IS NULL AND (r.id IS NULL OR r.lease_until < ret_clock + in_lease / 2)),
		array_agg(g.id) FILTER (WHERE e.cancel_requested),
		array_agg(g.id) FILTER (WHERE NOT e.cancel_requested AND e.reason = 'paused'),
		least(ret_clock + in_lease, min(r.lease_until) FILTER (WHERE r.lease_until >= ret_clock + in_lease / 2))
	INTO ret_lost, ret_cancel, ret_pause, ret_lease_until FROM given g LEFT JOIN extended e ON e.id = g.id
	LEFT JOIN gathering.run r ON e.id IS NULL AND r.id = g.id AND r.epoch = g.epoch
		AND r.state IS NOT DISTINCT FROM 'running' AND r.instance_id = in_me;
	SELECT count(*), count(*) FILTER (WHERE i.id <> in_me AND gathering.is_silent(i.heartbeat_at, 2 * in_lease)),
		in_me = (array_agg(i.id ORDER BY i.started_at, i.id) FILTER (WHERE i.state = 'ready'
			AND i.heartbeat_at > ret_clock - in_lease))[1]
	INTO ret_instances, ret_silent, ret_is_first FROM gathering.instance i;
	SELECT count(*) FILTER (WHERE r.lease_until <= ret_clock), min(r.lease_until) INTO ret_orphans, ret_lease_end
	FROM gathering.run r WHERE r.state = 'running';
END
$heartbeat$;

-- What these instances were working on is anybody's from now on.
CREATE FUNCTION gathering.end_leases(in_owners uuid[]) RETURNS void LANGUAGE sql AS $end_leases$
	UPDATE gathering.run SET lease_until = least(lease_until, gathering.clock()) WHERE id = ANY (ARRAY(
		SELECT r.id FROM gathering.run r WHERE r.state = 'running' AND r.instance_id = ANY (in_owners)
		ORDER BY r.id FOR NO KEY UPDATE))
$end_leases$;

-- Who serves vouches for the service: to those that came meanwhile this is no start. Before our row goes, so that boot()
-- sees one of the two.
CREATE FUNCTION gathering.leave(in_me uuid) RETURNS void LANGUAGE plpgsql AS $leave$
DECLARE
	mine bigint := (SELECT boot FROM gathering.instance WHERE id = in_me);
BEGIN
	IF mine > 0 THEN -- ours among them: many leave at once, and all lock in one order
		UPDATE gathering.instance SET boot = mine WHERE boot = 0 AND id = ANY (ARRAY(
			SELECT i.id FROM gathering.instance i ORDER BY i.id FOR NO KEY UPDATE));
	END IF;
	DELETE FROM gathering.instance WHERE id = in_me;
	PERFORM gathering.end_leases(ARRAY[in_me]);
END
$leave$;

-- The start of the service; see store_boot() in store.h. Who serves has the number of the start that he belongs to. One
-- that has spoken since we came is alive; one that had a session, has none and did not speak for 5 s is dead (it would have
-- spoken, see EXPOSED_BEAT_MS of the program); of the others ret_ask names those who are to. The lock on our own row keeps
-- leave() from vouching for us unseen. With the start all that wait for its answer belong to it.
CREATE FUNCTION gathering.boot(in_me uuid, in_running boolean, in_actions uuid[], in_runs uuid[], in_fates text[],
	OUT ret_answer text, OUT ret_queued bigint, OUT ret_skipped bigint, OUT ret_cancel uuid[], OUT ret_ask uuid[])
LANGUAGE plpgsql AS $boot$
DECLARE
	me gathering.instance;
	f record;
	fired record;
	current bigint;
	runs_left bigint;
BEGIN
	SELECT number INTO current FROM gathering.boot FOR UPDATE;
	PERFORM 1 FROM gathering.instance ORDER BY id FOR NO KEY UPDATE; -- in the order of leave()
	SELECT * INTO me FROM gathering.instance WHERE id = in_me;
	ret_queued := 0;
	ret_skipped := 0;
	ret_answer := 'unknown';
	IF me.id IS NULL THEN -- taken for dead; the next heartbeat enters it again
		RETURN;
	END IF;
	ret_answer := 'running';
	IF me.boot > 0 THEN
		RETURN;
	END IF;
	IF in_running OR EXISTS (SELECT 1 FROM gathering.instance i WHERE i.boot > 0 AND i.heartbeat_at > me.started_at) THEN
		UPDATE gathering.instance SET boot = greatest(current, 1) WHERE id = in_me;
		RETURN;
	END IF;
	ret_ask := ARRAY(SELECT i.id FROM gathering.instance i WHERE i.boot > 0 AND NOT (i.session_at IS NOT NULL
		AND greatest(me.started_at, pg_postmaster_start_time()) < gathering.clock() - interval '5 seconds'
		AND NOT gathering.is_held(i.id)));
	IF ret_ask <> '{}' THEN
		ret_answer := 'unknown';
		RETURN;
	END IF;
	ret_answer := 'started';
	UPDATE gathering.boot SET number = current + 1, booted_at = gathering.clock();
	UPDATE gathering.instance SET boot = current + 1 WHERE id = ANY (ARRAY(
		SELECT i.id FROM gathering.instance i ORDER BY i.id FOR NO KEY UPDATE));
	FOR f IN SELECT t AS a, g.run, g.fate FROM unnest(in_actions, in_runs, in_fates) g(id, run, fate)
		JOIN gathering.action t ON t.id = g.id ORDER BY t.id FOR NO KEY UPDATE OF t
	LOOP
		runs_left := (SELECT p.runs_left FROM gathering.pace p WHERE p.action_id = (f.a).id); -- behind the lock of its row
		SELECT * INTO fired FROM gathering.fire(f.a, f.run, 'start', NULL, NULL,
			CASE WHEN (f.a).is_paused THEN 'paused' WHEN runs_left <= 0 THEN 'limit' ELSE f.fate END);
		ret_cancel := ret_cancel || fired.ret_cancel;
		IF (fired.ret_run).state = 'skipped' THEN
			ret_skipped := ret_skipped + 1;
		ELSE
			ret_queued := ret_queued + 1;
			PERFORM gathering.pace_claimed(gathering.clock(), ARRAY[(f.a).id], ARRAY[f.run]);
		END IF;
	END LOOP;
END
$boot$;

-- Coordination through advisory locks in the two-integer form. All of it divides work and proves life; none of it
-- decides who runs what. The namespaces:
--   1198811250  duties: what one instance at a time does (1: migrate; 16 and up: enum store_duty)
--   1198811251  life: held by each instance in the session it listens in; the key is made of its id
--   1198811252  members: held by each instance that wants a share of the work
--   1198811253  shards
CREATE FUNCTION gathering.instance_key(in_id uuid) RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE
	AS $$ SELECT ('x' || right(in_id::text, 8))::bit(32)::integer $$;

-- Takes our lock of life. False: somebody tries it at this moment.
CREATE FUNCTION gathering.hail(in_me uuid) RETURNS boolean LANGUAGE plpgsql AS $hail$
BEGIN
	IF NOT pg_try_advisory_lock(1198811251, gathering.instance_key(in_me)) THEN
		RETURN false;
	END IF;
	UPDATE gathering.instance SET session_at = clock_timestamp() WHERE id = in_me;
	RETURN true;
END
$hail$;

-- Held by somebody's session? Tried in passing, so that no list of all locks has to be made.
CREATE FUNCTION gathering.is_held(in_id uuid) RETURNS boolean LANGUAGE sql VOLATILE
	AS $$ SELECT NOT pg_try_advisory_xact_lock_shared(1198811251, gathering.instance_key(in_id)) $$;

-- One that is frozen, or whose machine has lost its power, still has its session, and with it its shards. Waits a
-- moment, so that who balances next finds them free.
CREATE FUNCTION gathering.end_sessions(in_ids uuid[]) RETURNS void LANGUAGE plpgsql AS $end_sessions$
DECLARE
	pids integer[];
BEGIN
	pids := ARRAY(SELECT l.pid FROM pg_locks l WHERE l.locktype = 'advisory' AND l.classid = 1198811251 AND l.objsubid = 2
		AND l.granted AND l.mode = 'ExclusiveLock'
		AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
		AND l.objid = ANY (ARRAY(SELECT (gathering.instance_key(i)::bigint & 4294967295)::oid FROM unnest(in_ids) i)));
	PERFORM pg_terminate_backend(p) FROM unnest(pids) p;
	FOR n IN 1..50 LOOP
		EXIT WHEN NOT EXISTS (SELECT FROM pg_locks l WHERE l.locktype = 'advisory' AND l.pid = ANY (pids));
		PERFORM pg_sleep(0.01);
	END LOOP;
END
$end_sessions$;

-- Takes the dead out of the table: of in_gone, whose sessions were seen to end, those who have neither been heard of
-- since in_gone_at nor taken their lock again; and whoever has been silent for in_dead (0: nobody). Never ourselves.
CREATE FUNCTION gathering.reap(in_me uuid, in_gone uuid[], in_gone_at timestamptz, in_dead interval) RETURNS uuid[]
LANGUAGE plpgsql AS $reap$
DECLARE
	dead uuid[];
BEGIN
	WITH gone AS (
		DELETE FROM gathering.instance i WHERE i.id <> in_me AND CASE
			WHEN in_dead > interval '0' AND gathering.is_silent(i.heartbeat_at, in_dead) THEN true
			WHEN i.id = ANY (in_gone) AND greatest(i.heartbeat_at, pg_postmaster_start_time()) < in_gone_at
				THEN NOT gathering.is_held(i.id)
			ELSE false END
		RETURNING i.id
	)
	SELECT array_agg(id) INTO dead FROM gone;
	IF dead IS NOT NULL THEN
		PERFORM gathering.end_leases(dead);
		PERFORM gathering.end_sessions(dead);
	END IF;
	RETURN dead;
END
$reap$;

-- Watches the others until one that held its lock of life since this session of ours began holds it no more (io_gone, at
-- io_gone_at), or somebody has left politely, with its row, for in_for at most. It was seen to hold it (io_seen), or has written that it does (session_at). Nobody to watch: returns at once. A session that ends wakes the one that waits for its lock, which is
-- its predecessor in the ring of ids; a round of the others follows each wait. One round is a transaction and lasts
-- less than a second: a snapshot held for longer would keep VACUUM, and the claims behind it, from forgetting dead rows,
-- and a wait beyond deadlock_timeout would fill the log of a server with log_lock_waits.
CREATE PROCEDURE gathering.lookout(
	in_me uuid, in_for interval, INOUT io_seen uuid[], INOUT io_gone uuid[], INOUT io_gone_at timestamptz)
LANGUAGE plpgsql AS $lookout$
DECLARE
	stop_at timestamptz := clock_timestamp() + in_for;
	since timestamptz := (SELECT a.backend_start FROM pg_stat_activity a WHERE a.pid = pg_backend_pid());
	before uuid[] := coalesce(io_seen, '{}');
	held uuid[];
	nearest uuid;
BEGIN
	LOOP
		-- one that leaves politely takes its row away first, and its lock goes with its session, a moment later
		SELECT coalesce(array_agg(o.id) FILTER (WHERE gathering.is_held(o.id)), '{}') INTO held
		FROM (SELECT i.id FROM gathering.instance i UNION SELECT unnest(before)) o WHERE o.id <> in_me;
		io_gone := ARRAY(SELECT i.id FROM gathering.instance i WHERE i.id <> in_me AND i.id <> ALL (held)
			AND (i.id = ANY (io_seen) OR i.session_at > since));
		io_seen := held || io_gone;
		COMMIT;
		io_gone_at := gathering.clock();
		EXIT WHEN io_gone <> '{}' OR held = '{}' OR NOT before <@ held OR clock_timestamp() >= stop_at;
		before := held;
		SELECT h INTO nearest FROM unnest(held) h ORDER BY h < in_me, h LIMIT 1;
		BEGIN
			PERFORM set_config('lock_timeout', '900', true);
			PERFORM pg_advisory_xact_lock_shared(1198811251, gathering.instance_key(nearest));
		EXCEPTION WHEN lock_not_available THEN
			NULL;
		END;
		COMMIT;
	END LOOP;
END
$lookout$;

-- Brings the locks that our session holds in line with our share: what is too much is given up, what is free and due to
-- us is taken, nothing is waited for. in_owned, in_duties, in_is_member: what it holds already (session locks count,
-- so what is held must not be taken twice). ret_freed: there is something for others to take.
CREATE FUNCTION gathering.balance(
	in_me uuid, in_wants boolean, in_is_member boolean, in_owned bigint, in_duties integer, in_duty_count integer,
	OUT ret_members bigint, OUT ret_is_member boolean, OUT ret_owned bigint, OUT ret_duties integer, OUT ret_freed boolean)
LANGUAGE plpgsql AS $balance$
DECLARE
	share integer;
	mine integer := 0;
	first integer := floor(random() * 64);
	s integer;
BEGIN
	ret_is_member := in_is_member;
	ret_owned := in_owned;
	ret_duties := in_duties;
	ret_freed := false;
	IF in_wants AND NOT in_is_member THEN
		ret_is_member := pg_try_advisory_lock(1198811252, gathering.instance_key(in_me));
	ELSIF in_is_member AND NOT in_wants THEN
		PERFORM pg_advisory_unlock(1198811252, gathering.instance_key(in_me));
		ret_is_member := false;
		ret_freed := true;
	END IF;
	SELECT count(*) INTO ret_members FROM pg_locks l
	WHERE l.locktype = 'advisory' AND l.classid = 1198811252 AND l.objsubid = 2 AND l.granted
		AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database());
	share := CASE WHEN in_wants THEN ceil(64.0 / greatest(ret_members, 1)) ELSE 0 END;
	FOR n IN 0..63 LOOP
		s := n;
		CONTINUE WHEN (ret_owned >> s) & 1 = 0;
		mine := mine + 1;
		IF mine > share THEN
			PERFORM pg_advisory_unlock(1198811253, s);
			ret_owned := ret_owned & ~(1::bigint << s);
			ret_freed := true;
		END IF;
	END LOOP;
	FOR i IN 0..63 LOOP
		EXIT WHEN mine >= share;
		s := (first + i) % 64;
		IF (ret_owned >> s) & 1 = 0 AND pg_try_advisory_lock(1198811253, s) THEN
			ret_owned := ret_owned | (1::bigint << s);
			mine := mine + 1;
		END IF;
	END LOOP;
	FOR d IN 0..in_duty_count - 1 LOOP
		IF in_wants AND (ret_duties >> d) & 1 = 0 THEN
			IF pg_try_advisory_lock(1198811250, 16 + d) THEN
				ret_duties := ret_duties | (1 << d);
			END IF;
		ELSIF NOT in_wants AND (ret_duties >> d) & 1 = 1 THEN
			PERFORM pg_advisory_unlock(1198811250, 16 + d);
			ret_duties := ret_duties & ~(1 << d);
		END IF;
	END LOOP;
END
$balance$;

INSERT INTO gathering.migration (version, name, min_version) VALUES (1, '0001_init.sql', 1);
