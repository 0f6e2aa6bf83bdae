/* SPDX-License-Identifier: Apache-2.0
 *
 * Isolation specs: what the statements of the PostgreSQL backend do to each other when two or three
 * sessions run them at the same time. Each session is one transaction, `BEGIN; statement` and
 * `COMMIT`, and every order of these steps is played on a real server; a step that waits for a lock
 * is left waiting while the others go on. After each order one row must be among those expected,
 * and no session may have failed, or wait for one that waits for it.
 *
 * GATHERING_SPEC_SQL is run after the migrations: a function put in place of ours, with a rule
 * switched off, must make a spec fail.
 *
 * The model is PostgreSQL's own src/test/isolation; nothing is taken from it. */
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pg_cluster.h"
#include "store/store.h"

#define SESSIONS_MAX 3
#define STEPS        2 /* BEGIN and the statement; COMMIT */
#define EXPECTED_MAX 4

struct spec {
	const char *name;
	const char *setup; /* on an empty ledger; see helpers_text */
	const char *sessions[SESSIONS_MAX + 1];
	const char *look;                       /* one row, one column */
	const char *expected[EXPECTED_MAX + 1]; /* one of them */
};

/* Short names for what the program sends. Ids are made of a letter: '1a...' actions, '2r...' runs.
 */
static const char helpers_text[] =
	"CREATE SCHEMA spec;"
	"CREATE FUNCTION spec.id(n integer) RETURNS uuid LANGUAGE sql IMMUTABLE AS"
	" $$ SELECT lpad(to_hex(n), 32, '0')::uuid $$;"
	"CREATE FUNCTION spec.at(s integer) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS"
	" $$ SELECT timestamptz '2026-01-01' + s * interval '1 s' $$;"
	/* action 1, due at second 0 */
	"CREATE FUNCTION spec.action(overlap text) RETURNS void LANGUAGE sql AS $$"
	" INSERT INTO gathering.action (id, version, definition_version, next_due_at, created_at,"
	" updated_at, queue_limit, priority, is_paused, has_schedule, kind, overlap, name)"
	" VALUES (spec.id(1), 1, 1, spec.at(0), now(), now(), 1, 0, false, true, 'http', overlap, "
	"'a');"
	" INSERT INTO gathering.definition VALUES (spec.id(1), 1, '{}'); $$;"
	"CREATE FUNCTION spec.run(n integer, state text) RETURNS void LANGUAGE sql AS $$"
	" INSERT INTO gathering.run (id, action_id, action_version, definition_version, due_at, "
	"epoch,"
	" created_at, missed_count, missed_until, output_bytes, attempt, interruptions, priority,"
	" is_serial, cancel_requested, kind, triggered_by, state, reason, instance_id, lease_until)"
	" SELECT spec.id(n), a.id, 1, 1, spec.at(n - 1000), (state = 'running')::integer, now(), 1,"
	" now(), 0, (state = 'running')::integer, 0, 0, a.overlap <> 'allow', false, 'http',"
	" 'schedule', state, '', CASE state WHEN 'running' THEN spec.id(77) END, now()"
	" FROM gathering.action a; $$;"
	"CREATE FUNCTION spec.claim(me integer, run integer) RETURNS record LANGUAGE sql AS $$"
	" SELECT gathering.claim(spec.id(me), interval '30 s', false, '{http,exec}', '{9,9}',"
	" ARRAY[spec.id(1)], '{1}', ARRAY[spec.at(0)], ARRAY[spec.at(60)], '{1}',"
	" ARRAY[spec.id(run)], ARRAY[spec.at(0)], ARRAY[spec.at(0)], '{1}', '{0}', '{f}') $$;"
	"CREATE FUNCTION spec.claim_to(me integer, run integer, next integer) RETURNS record "
	"LANGUAGE sql"
	" AS $$ SELECT gathering.claim(spec.id(me), interval '30 s', false, '{http,exec}', '{9,9}',"
	" ARRAY[spec.id(1)], '{1}', ARRAY[spec.at(0)], ARRAY[spec.at(next)], '{1}',"
	" ARRAY[spec.id(run)], ARRAY[spec.at(0)], ARRAY[spec.at(0)], '{1}', '{0}', '{f}') $$;"
	"CREATE FUNCTION spec.take(me integer) RETURNS bigint LANGUAGE sql AS $$"
	" SELECT count(*) FROM gathering.take(spec.id(me), interval '30 s', spec.id(me), false,"
	" '{http,exec}', '{9,9}', '{}', '{}', '{}') $$;"
	"CREATE FUNCTION spec.take_limited(me integer) RETURNS bigint LANGUAGE sql AS $$"
	" SELECT count(*) FROM gathering.take(spec.id(me), interval '30 s', spec.id(me), false,"
	" '{http,exec}', '{9,9}', '{NULL,http}', '{db,NULL}', '{2,9}') $$;"
	"CREATE FUNCTION spec.finish(run integer, outcome text, state text, reason text)"
	" RETURNS text LANGUAGE sql AS $$ SELECT ret_state FROM gathering.finish(false,"
	" ARRAY[spec.id(run)], '{1}', ARRAY[outcome], '{200}', '{NULL}', ARRAY[now()], '{NULL}',"
	" '{NULL}', '{0}', ARRAY[state], ARRAY[reason], '{0}', ARRAY[outcome <> 'interrupted'],"
	" '{true}') $$;"
	"CREATE FUNCTION spec.finish_two(one integer, of_one text, two integer, of_two text)"
	" RETURNS bigint LANGUAGE sql AS $$ SELECT count(*) FROM gathering.finish(false,"
	" ARRAY[spec.id(one), spec.id(two)], '{1,1}', ARRAY[of_one, of_two], '{200,200}',"
	" '{NULL,NULL}', ARRAY[now(), now()], '{NULL,NULL}', '{NULL,NULL}', '{0,0}',"
	" ARRAY[of_one, of_two], ARRAY['', ''], '{0,0}', '{t,t}', '{t,t}') $$;"
	"CREATE FUNCTION spec.heartbeat(me integer, run integer) RETURNS record LANGUAGE sql AS $$"
	" SELECT gathering.heartbeat(spec.id(me), 'h', 1, 'v', 'ready', interval '30 s',"
	" ARRAY[spec.id(run)], '{1}') $$;"
	/* the owner of running runs; its session was seen to end after its last heartbeat */
	"CREATE FUNCTION spec.gone_one() RETURNS void LANGUAGE sql AS $$"
	" INSERT INTO gathering.instance VALUES (spec.id(77), 'h', 1, 'v', 'ready', spec.at(0),"
	" spec.at(0)) $$;"
	"CREATE FUNCTION spec.reap_gone() RETURNS uuid[] LANGUAGE sql AS $$"
	" SELECT gathering.reap(spec.id(8), ARRAY[spec.id(77)],"
	" pg_postmaster_start_time() + interval '1 ms', NULL) $$;"
	"CREATE TABLE spec.got (me integer, owned bigint, duties integer);"
	"CREATE FUNCTION spec.balance(me integer) RETURNS void LANGUAGE sql AS $$"
	" INSERT INTO spec.got SELECT me, ret_owned, ret_duties"
	" FROM gathering.balance(spec.id(me), true, false, 0, 0, 2) $$;"
	"CREATE FUNCTION spec.replace(event text) RETURNS record LANGUAGE sql AS $$"
	" SELECT gathering.replace(spec.id(1), 0, false, 'a', spec.at(0), 'http', 'skip', 1, 0, 0, "
	"true, false,"
	" '{\"new\":1}', '{}', event, '{NULL,NULL,NULL}', false, '{NULL,NULL,NULL}',"
	" '{NULL,NULL,NULL}') $$;"
	/* actions that others tell of: the third waits for an event */
	"CREATE FUNCTION spec.other(n integer, name text) RETURNS void LANGUAGE sql AS $$"
	" INSERT INTO gathering.action (id, version, definition_version, created_at, updated_at,"
	" queue_limit, priority, is_paused, has_schedule, kind, overlap, name)"
	" VALUES (spec.id(n), 1, 1, now(), now(), 1000, 0, false, false, 'http', 'allow', name) "
	"$$;"
	"CREATE FUNCTION spec.listener(event text) RETURNS void LANGUAGE sql AS $$"
	" SELECT spec.other(3, 'hook'); INSERT INTO gathering.subscription VALUES (spec.id(3), "
	"event) $$;"
	/* or is told what becomes of action 1, whose deadline has passed */
	"CREATE FUNCTION spec.hook() RETURNS void LANGUAGE sql AS $$ SELECT spec.other(3, 'hook');"
	" INSERT INTO gathering.care (action_id, on_failure, on_recovery, on_late, expect_ms,"
	" deadline) VALUES (spec.id(1), 'hook', 'hook', 'hook', 3600000, gathering.clock()) $$;"
	/* a backfill of action 1 whose next due time is ten minutes before the action's */
	"CREATE FUNCTION spec.backfill() RETURNS void LANGUAGE sql AS $$"
	" INSERT INTO gathering.backfill VALUES (spec.id(50), spec.id(1), 1, 'running', 'all', 'a',"
	" '{}', spec.at(-600), spec.at(0), spec.at(-600), 10, 0, 0, 1000, 10, now(), now()) $$;"
	"CREATE FUNCTION spec.advance(run integer) RETURNS record LANGUAGE sql AS $$"
	" SELECT gathering.advance_backfill(spec.id(50), spec.at(-600), ARRAY[spec.id(run)],"
	" ARRAY[spec.at(-600)], spec.at(-540), 1) $$;"
	/* an instance that serves since start `boot`, or (0) has not been answered */
	"CREATE FUNCTION spec.instance(n integer, boot bigint) RETURNS void LANGUAGE sql AS $$"
	" INSERT INTO gathering.instance (id, host, pid, version, state, started_at, heartbeat_at,"
	" boot) VALUES (spec.id(n), 'h', 1, 'v', 'ready', now(), now(), boot) $$;"
	"CREATE FUNCTION spec.boot(me integer, run integer) RETURNS record LANGUAGE sql AS $$"
	" SELECT gathering.boot(spec.id(me), false, ARRAY[spec.id(1)], ARRAY[spec.id(run)],"
	" '{NULL}') $$;"
	/* of each action one run stays, however young the others are */
	"CREATE FUNCTION spec.retain() RETURNS record LANGUAGE sql AS $$"
	" SELECT gathering.retain(spec.id(0), 100, 100, 0, 1, 0, interval '-1 h') $$;";

#define RUNS                                                                                       \
	"SELECT string_agg(state || CASE WHEN cancel_requested THEN '!' ELSE '' END, ' '"          \
	" ORDER BY state) FROM gathering.run"

#define TOLD                                                                                       \
	"SELECT coalesce(string_agg(name, ' ' ORDER BY name), '(nobody)') FROM "                   \
	"gathering.run_event"

/* clang-format off */
static const struct spec specs[] = {
	{"advance, advance: each due time of a backfill once",
	 "SELECT spec.action('allow'), spec.backfill()",
	 {"SELECT spec.advance(201)", "SELECT spec.advance(202)", "SELECT spec.advance(203)"},
	 "SELECT string_agg(r.state, ' ') || ' ' || b.made FROM gathering.run r, gathering.backfill b GROUP BY b.made", {"pending 1"}},
	{"advance, cancel: a backfill that was cancelled leaves nothing to run",
	 "SELECT spec.action('allow'), spec.backfill()",
	 {"SELECT spec.advance(201)", "SELECT gathering.cancel_backfill(spec.id(50), false)"},
	 "SELECT b.state || ' ' || coalesce((SELECT string_agg(state, ' ') FROM gathering.run), '(none)') FROM gathering.backfill b",
	 {"cancelled cancelled", "cancelled (none)"}},
	{"claim, take of a backfill's run, serial: one at a time",
	 "SELECT spec.action('skip'), spec.backfill(); SELECT spec.run(100, 'pending'); UPDATE gathering.run SET backfill = 1, priority = -100",
	 {"SELECT spec.claim(7, 201)", "SELECT spec.take(8)"},
	 RUNS, {"pending running", "running"}}, /* the last: the lock was skipped */
	{"boot, boot: the service starts once",
	 "SELECT spec.action('allow'), spec.instance(7, 0), spec.instance(8, 0), spec.instance(9, 0)",
	 {"SELECT spec.boot(7, 201)", "SELECT spec.boot(8, 202)", "SELECT spec.boot(9, 203)"},
	 RUNS, {"pending"}},
	{"leave, boot: who leaves vouches for the service",
	 "UPDATE gathering.boot SET number = 1; SELECT spec.action('allow'), spec.instance(7, 0), spec.instance(8, 0), spec.instance(77, 1)",
	 {"SELECT gathering.leave(spec.id(77))", "SELECT spec.boot(7, 201)", "SELECT spec.boot(8, 202)"},
	 "SELECT count(*) || ' runs, ' || (SELECT number FROM gathering.boot) FROM gathering.run", {"0 runs, 1"}},
	{"boot, claim: what max_runs leaves is given once",
	 "SELECT spec.action('allow'), spec.instance(7, 0); INSERT INTO gathering.pace VALUES (spec.id(1), NULL, NULL, 1)",
	 {"SELECT spec.boot(7, 201)", "SELECT spec.claim(8, 202)"},
	 RUNS, {"running skipped", "pending"}},
	{"claim, claim: one due time, one run",
	 "SELECT spec.action('allow')",
	 {"SELECT spec.claim(7, 201)", "SELECT spec.claim(8, 202)", "SELECT spec.claim(9, 203)"},
	 RUNS " HAVING count(DISTINCT instance_id) = 1", {"running"}},
	{"claim, claim: the cursor is the winner's",
	 "SELECT spec.action('allow')",
	 {"SELECT spec.claim_to(7, 201, 30)", "SELECT spec.claim_to(8, 202, 60)"},
	 "SELECT (r.instance_id = spec.id(7)) || ' ' || (a.next_due_at = spec.at(30)) FROM gathering.run r"
	 " JOIN gathering.action a ON a.id = r.action_id", {"true true", "false false"}},
	{"take, an older run, take: one at a time",
	 "SELECT spec.action('queue'); SELECT spec.run(101, 'pending')",
	 {"SELECT spec.take(7)", "SELECT spec.run(100, 'pending')", "SELECT spec.take(8)"},
	 RUNS, {"pending running", "pending pending"}}, /* the last: both skipped the other's lock */
	{"claim, trigger, overlap skip: never two open",
	 "SELECT spec.action('skip')",
	 {"SELECT spec.claim(7, 201)", "SELECT gathering.trigger(spec.id(1), spec.id(202), NULL, NULL, 0)"},
	 RUNS, {"running skipped", "pending skipped", "pending"}}, /* the last: the lock was skipped */
	{"trigger, trigger, overlap skip: one of them",
	 "SELECT spec.action('skip')",
	 {"SELECT gathering.trigger(spec.id(1), spec.id(201), NULL, NULL, 0)",
	  "SELECT gathering.trigger(spec.id(1), spec.id(202), NULL, NULL, 0)",
	  "SELECT gathering.trigger(spec.id(1), spec.id(203), NULL, NULL, 0)"},
	 RUNS, {"pending skipped skipped"}},
	{"trigger, trigger, overlap queue: no more than the limit",
	 "SELECT spec.action('queue'); SELECT spec.run(100, 'running')",
	 {"SELECT gathering.trigger(spec.id(1), spec.id(201), NULL, NULL, 0)",
	  "SELECT gathering.trigger(spec.id(1), spec.id(202), NULL, NULL, 0)"},
	 RUNS, {"pending running"}},
	{"take, take, serial: one at a time",
	 "SELECT spec.action('queue'); SELECT spec.run(100, 'pending'), spec.run(101, 'pending')",
	 {"SELECT spec.take(7)", "SELECT spec.take(8)", "SELECT spec.take(9)"},
	 RUNS " HAVING count(*) FILTER (WHERE epoch = 1) = 1", {"pending running"}},
	{"take, take, allow: each run once",
	 "SELECT spec.action('allow'); SELECT spec.run(100, 'pending'), spec.run(101, 'pending')",
	 {"SELECT spec.take(7)", "SELECT spec.take(8)"},
	 RUNS " HAVING max(epoch) = 1 AND max(attempt) = 1", {"running running"}},
	{"take, take, max_concurrent: no more than that many",
	 "SELECT spec.action('allow'); UPDATE gathering.action SET max_concurrent = 2;"
	 " SELECT spec.run(99, 'running'), spec.run(100, 'pending'), spec.run(101, 'pending');"
	 " UPDATE gathering.run SET max_concurrent = 2",
	 {"SELECT spec.take(7)", "SELECT spec.take(8)", "SELECT spec.take(9)"},
	 RUNS, {"pending running running"}},
	{"take, take, limit of a tag: no more than that many",
	 "SELECT spec.action('allow'); INSERT INTO gathering.action_tag VALUES (spec.id(1), 'db');"
	 " SELECT spec.run(100, 'running'), spec.run(101, 'pending'), spec.run(102, 'pending')",
	 {"SELECT spec.take_limited(7)", "SELECT spec.take_limited(8)",
	  "SELECT spec.take_limited(9)"},
	 RUNS, {"pending running running"}},
	{"take, trigger, overlap skip",
	 "SELECT spec.action('skip'); SELECT spec.run(100, 'pending')",
	 {"SELECT spec.take(7)", "SELECT gathering.trigger(spec.id(1), spec.id(201), NULL, NULL, 0)"},
	 RUNS, {"running skipped", "pending skipped"}},
	{"take, claim, cancel_running: the one that ran is asked to end",
	 "SELECT spec.action('cancel_running'); SELECT spec.run(100, 'pending')",
	 {"SELECT spec.take(7)", "SELECT spec.claim(8, 201)"},
	 RUNS, {"pending running!", "cancelled running", "running"}}, /* the last: the lock was skipped */
	{"take, finish: a serial one starts only after the other",
	 "SELECT spec.action('queue'); SELECT spec.run(100, 'running'), spec.run(101, 'pending')",
	 {"SELECT spec.take(8)", "SELECT spec.finish(100, 'succeeded', 'succeeded', '')"},
	 RUNS, {"pending succeeded", "running succeeded"}},
	{"finish, finish: one result",
	 "SELECT spec.action('skip'); SELECT spec.run(100, 'running')",
	 {"SELECT spec.finish(100, 'succeeded', 'succeeded', '')",
	  "SELECT spec.finish(100, 'failed', 'failed', '')"},
	 "SELECT r.state || ' ' || string_agg(t.outcome, ' ') FROM gathering.run r"
	 " JOIN gathering.attempt t ON t.run_id = r.id GROUP BY r.state",
	 {"succeeded succeeded", "failed failed"}},
	{"finish, recover, recover: one of them, and no live owner stays",
	 "SELECT spec.action('skip'); SELECT spec.run(100, 'running')",
	 {"SELECT spec.finish(100, 'succeeded', 'succeeded', '')",
	  "SELECT spec.finish(100, 'interrupted', 'pending', 'owner_lost')",
	  "SELECT spec.finish(100, 'interrupted', 'pending', 'owner_lost')"},
	 "SELECT r.state || ' ' || r.interruptions || ' ' || string_agg(t.outcome, ' ')"
	 " FROM gathering.run r JOIN gathering.attempt t ON t.run_id = r.id GROUP BY r.state, r.interruptions",
	 {"succeeded 0 succeeded", "pending 1 interrupted"}},
	{"hand-back, cancel: it does not run again",
	 "SELECT spec.action('skip'); SELECT spec.run(100, 'running')",
	 {"SELECT spec.finish(100, 'interrupted', 'pending', 'handed_back')",
	  "UPDATE gathering.run r SET state = CASE r.state WHEN 'running' THEN r.state ELSE 'cancelled' END,"
	  " cancel_requested = r.cancel_requested OR r.state = 'running', reason = 'user'"
	  " WHERE state IN ('pending','held','running')"},
	 "SELECT state FROM gathering.run", {"cancelled"}},
	{"hand-back, take: the next epoch, once",
	 "SELECT spec.action('skip'); SELECT spec.run(100, 'running')",
	 {"SELECT spec.finish(100, 'interrupted', 'pending', 'handed_back')", "SELECT spec.take(8)",
	  "SELECT spec.take(9)"},
	 "SELECT state || ' ' || epoch FROM gathering.run", {"pending 1", "running 2"}},
	{"heartbeat, recover: extended or lost, never both",
	 "SELECT spec.action('skip'); SELECT spec.run(100, 'running')",
	 {"SELECT spec.heartbeat(77, 100)",
	  "SELECT spec.finish(100, 'interrupted', 'pending', 'owner_lost')"},
	 "SELECT state || ' ' || (lease_until IS NULL) FROM gathering.run", {"pending true"}},
	{"reap, heartbeat: who is in the table has its lease",
	 "SELECT spec.action('skip'); SELECT spec.run(100, 'running'); SELECT spec.gone_one()",
	 {"SELECT spec.reap_gone()", "SELECT spec.heartbeat(77, 100)"},
	 "SELECT count(*) || ' ' || (SELECT lease_until > now() FROM gathering.run)"
	 " FROM gathering.instance WHERE id = spec.id(77)", {"1 true"}},
	{"reap, reap, finish: a result that comes before the recovery counts",
	 "SELECT spec.action('skip'); SELECT spec.run(100, 'running'); SELECT spec.gone_one()",
	 {"SELECT spec.reap_gone()", "SELECT spec.reap_gone()",
	  "SELECT spec.finish(100, 'succeeded', 'succeeded', '')"},
	 "SELECT state || ' ' || (SELECT count(*) FROM gathering.instance) FROM gathering.run", {"succeeded 0"}},
	{"balance, balance, balance: no shard and no duty twice",
	 "DELETE FROM spec.got",
	 {"SELECT spec.balance(7)", "SELECT spec.balance(8)", "SELECT spec.balance(9)"},
	 "SELECT count(*) || ' ' || bool_or(a.owned & b.owned <> 0 OR a.duties & b.duties <> 0)"
	 " FROM spec.got a JOIN spec.got b ON a.me < b.me", {"3 false"}},
	{"claim, replace: an open run has its definition",
	 "SELECT spec.action('skip')",
	 {"SELECT spec.claim(7, 201)", "SELECT spec.replace(NULL)"},
	 "SELECT a.version || ' ' || count(r.id) || ' ' || count(d.version)"
	 " || coalesce(' ' || max(r.definition_version), '') FROM gathering.action a"
	 " LEFT JOIN gathering.run r ON r.action_id = a.id LEFT JOIN gathering.definition d"
	 " ON d.action_id = a.id AND d.version = r.definition_version GROUP BY a.version",
	 {"2 1 1 1", "2 0 0"}},
	{"claim, pause: a claim planned before the pause is lost after it",
	 "SELECT spec.action('skip')",
	 {"SELECT spec.claim(7, 201)", "SELECT gathering.pause(spec.id(1), 0, false, true, NULL)"},
	 "SELECT a.version || ' ' || count(r.id) || ' ' || (a.next_due_at IS NULL) FROM gathering.action a"
	 " LEFT JOIN gathering.run r ON r.action_id = a.id GROUP BY a.version, a.next_due_at",
	 {"2 1 true", "2 0 true"}},
	{"claim, delete: nothing is left behind",
	 "SELECT spec.action('skip'); SELECT spec.run(100, 'running')",
	 {"SELECT spec.claim(7, 201)", "SELECT gathering.remove(spec.id(1), 0)"},
	 "SELECT count(*) || ' ' || (SELECT count(*) FROM gathering.run) FROM gathering.action", {"0 0"}},
	{"failure, failure: the first one is told, once",
	 "SELECT spec.action('allow'); SELECT spec.run(n, 'running') FROM unnest('{100,101}'::integer[]) n; SELECT spec.hook()",
	 {"SELECT spec.finish(100, 'failed', 'failed', '')", "SELECT spec.finish(101, 'failed', 'failed', '')"},
	 TOLD, {"action.a.failing"}},
	{"failure, delete: the end of the one is told, or it is gone with its action",
	 "SELECT spec.action('allow'); SELECT spec.run(100, 'running'); SELECT spec.listener('action.*.failing')",
	 {"SELECT spec.finish(100, 'failed', 'failed', '')", "SELECT gathering.remove(spec.id(1), 0)"},
	 TOLD, {"action.a.failing", "(nobody)"}},
	{"replace that waits for an end, delete, replace: each locks the subscriptions before an action",
	 "SELECT spec.action('allow')",
	 {"SELECT spec.replace('action.x.failed')", "SELECT gathering.remove(spec.id(1), 0)", "SELECT spec.replace(NULL)"},
	 "SELECT (SELECT count(*) FROM gathering.action) || ' ' || coalesce((SELECT event FROM gathering.subscription), '(none)')",
	 {"0 (none)"}},
	{"failure, delete, heartbeat: neither waits for the other for ever",
	 "SELECT spec.action('allow'); SELECT spec.run(100, 'running'); SELECT spec.hook()",
	 {"SELECT spec.finish(100, 'failed', 'failed', '')", "SELECT gathering.remove(spec.id(1), 0)", "SELECT spec.heartbeat(77, 100)"},
	 TOLD, {"action.a.failing", "(nobody)"}},
	{"cancel of a backfill, failure, trigger: each locks actions in their order",
	 "SELECT spec.action('allow'), spec.backfill(); SELECT spec.run(100, 'pending'), spec.run(101, 'running');"
	 " UPDATE gathering.run SET backfill = 1 WHERE id = spec.id(100); SELECT spec.other(0, 'hook'), spec.other(5, 'x');"
	 " UPDATE gathering.run SET action_id = spec.id(5) WHERE id = spec.id(101);"
	 " INSERT INTO gathering.care (action_id, on_failure) VALUES (spec.id(5), 'hook');"
	 " INSERT INTO gathering.subscription VALUES (spec.id(0), 'action.a.cancelled'), (spec.id(1), 'action.x.failed')",
	 {"SELECT gathering.cancel_backfill(spec.id(50), false)", "SELECT spec.finish(101, 'failed', 'failed', '')",
	  "SELECT gathering.trigger(spec.id(0), spec.id(300), NULL, NULL, 0)"},
	 TOLD, {"action.a.cancelled action.x.failed action.x.failing"}},
	{"recovery and failure at once, failures, trigger: each locks actions before how they fare",
	 "SELECT spec.action('allow'); SELECT spec.run(n, 'running') FROM unnest('{100,101,102,103}'::integer[]) n;"
	 " SELECT spec.other(0, 'hook'), spec.other(5, 'x'); UPDATE gathering.run SET action_id = spec.id(5) WHERE id = spec.id(102);"
	 " INSERT INTO gathering.care (action_id, on_failure, failing_since) VALUES (spec.id(1), 'hook', now()), (spec.id(5), 'hook', NULL)",
	 {"SELECT spec.finish_two(100, 'succeeded', 101, 'failed')", "SELECT spec.finish_two(102, 'failed', 103, 'failed')",
	  "SELECT gathering.trigger(spec.id(0), spec.id(300), NULL, NULL, 0)"},
	 TOLD, {"action.a.failing action.x.failing"}},
	{"lapse, lapse: late is told once",
	 "SELECT spec.action('allow'); SELECT spec.hook()",
	 {"SELECT gathering.lapse(10)", "SELECT gathering.lapse(10)"},
	 TOLD, {"action.a.late"}},
	{"lapse, success: late and recovered, or neither",
	 "SELECT spec.action('allow'); SELECT spec.run(100, 'running'); SELECT spec.hook()",
	 {"SELECT gathering.lapse(10)", "SELECT spec.finish(100, 'succeeded', 'succeeded', '')"},
	 TOLD, {"action.a.late action.a.recovered", "(nobody)"}},
	{"retain, claim: each does its own",
	 "SELECT spec.action('allow'); SELECT spec.run(n, 'succeeded') FROM unnest('{100,101,102}'::integer[]) n",
	 {"SELECT spec.retain()", "SELECT spec.claim(7, 201)"},
	 RUNS, {"running", "running succeeded"}},
	{"retain, retain: what one holds the other leaves",
	 "SELECT spec.action('allow'); SELECT spec.run(n, 'succeeded') FROM unnest('{100,101,102}'::integer[]) n",
	 {"SELECT spec.retain()", "SELECT spec.retain()"},
	 RUNS, {"succeeded"}},
	{"retain, finish, heartbeat: what is open stays",
	 "SELECT spec.action('allow'); SELECT spec.run(100, 'running'); SELECT spec.run(101, 'running');"
	 " SELECT spec.run(102, 'succeeded')",
	 {"SELECT spec.retain()", "SELECT spec.finish(100, 'succeeded', 'succeeded', '')", "SELECT spec.heartbeat(77, 101)"},
	 RUNS, {"running succeeded succeeded", "running succeeded"}},
	{"finish, delete: nothing is left behind",
	 "SELECT spec.action('skip'); SELECT spec.run(100, 'running')",
	 {"SELECT spec.finish(100, 'succeeded', 'succeeded', '')", "SELECT gathering.remove(spec.id(1), 0)"},
	 "SELECT (SELECT count(*) FROM gathering.action) || ' ' || (SELECT count(*) FROM gathering.run) || ' '"
	 " || (SELECT count(*) FROM gathering.attempt)", {"0 0 0"}},
};
/* clang-format on */

static struct cluster cluster;
static char url[320];
static PGconn *control;

/* --- statements --- */

static PGconn *connect_one(void)
{
	PGconn *conn = PQconnectdb(url);

	if (PQstatus(conn) != CONNECTION_OK)
		fail_msg("%s", PQerrorMessage(conn));
	return conn;
}

static void ask(const char *sql, char *ret_value, size_t size)
{
	PGresult *result = PQexec(control, sql);
	ExecStatusType status = PQresultStatus(result);

	if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
		fail_msg("%.100s: %s", sql, PQresultErrorMessage(result));
	if (ret_value)
		(void)snprintf(ret_value, size, "%s",
			PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "(no row)");
	PQclear(result);
}

/* --- one order of steps --- */

struct session {
	PGconn *conn;
	bool is_busy;
	char problem[256];
};
static struct session sessions[SESSIONS_MAX];

static void take_results(struct session *session)
{
	PGresult *result;

	while ((result = PQgetResult(session->conn)) != NULL) {
		ExecStatusType status = PQresultStatus(result);

		if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
			(void)snprintf(session->problem, sizeof(session->problem), "%s",
				PQresultErrorMessage(result));
		PQclear(result);
	}
	session->is_busy = false;
}

static bool is_blocked(const struct session *session)
{
	char sql[96], value[8];

	(void)snprintf(sql, sizeof(sql), "SELECT cardinality(pg_blocking_pids(%d)) > 0",
		PQbackendPID(session->conn));
	ask(sql, value, sizeof(value));
	return value[0] == 't';
}

/* Until it has ended, or waits for another session. */
static void settle(struct session *session)
{
	while (session->is_busy) {
		assert_int_equal(PQconsumeInput(session->conn), 1);
		if (!PQisBusy(session->conn))
			take_results(session);
		else if (is_blocked(session))
			return;
	}
}

static void settle_all(int count)
{
	for (int i = 0; i < count; i++)
		settle(&sessions[i]);
}

/* False: this session waits still, so the order cannot be played. */
static bool play_step(int count, const struct spec *spec, int which, int step)
{
	auto_free char *begin = xasprintf("BEGIN; %s", spec->sessions[which]);

	if (sessions[which].is_busy)
		return false;
	assert_int_equal(PQsendQuery(sessions[which].conn, step == 0 ? begin : "COMMIT"), 1);
	sessions[which].is_busy = true;
	settle(&sessions[which]);
	settle_all(count); /* whom it has let go */
	return true;
}

static bool is_expected(const struct spec *spec, const char *value)
{
	for (int i = 0; spec->expected[i]; i++)
		if (strcmp(spec->expected[i], value) == 0)
			return true;
	return false;
}

static void reset(const struct spec *spec)
{
	ask("SET client_min_messages = warning; TRUNCATE gathering.action, gathering.run, "
	    "gathering.removed, "
	    "gathering.instance "
	    "CASCADE",
		NULL, 0);
	ask(spec->setup, NULL, 0);
}

/* What waits still must be over before the next order begins. The session is used again: to make
 * one costs more than to play an order. */
static void stop(struct session *session)
{
	static const char clean[] = "ROLLBACK; SELECT pg_advisory_unlock_all()";
	PGcancel *cancel = PQgetCancel(session->conn);
	char why[256];

	while (session->is_busy) {
		assert_int_equal(PQcancel(cancel, why, sizeof(why)), 1);
		take_results(session);
	}
	PQfreeCancel(cancel);
	session->problem[0] = '\0';
	assert_int_equal(PQsendQuery(session->conn, clean), 1);
	take_results(session);
	assert_string_equal(session->problem, "");
}

/* What a session said, or that some of them wait for each other in a circle; "": nothing. */
static void find_problem(int count, char *problem, size_t size)
{
	char sql[400], value[8];

	problem[0] = '\0';
	for (int i = 0; i < count; i++)
		if (sessions[i].problem[0])
			(void)snprintf(problem, size, "session %d: %s", i, sessions[i].problem);
	(void)snprintf(sql, sizeof(sql),
		"WITH RECURSIVE w AS (SELECT p, unnest(pg_blocking_pids(p)) AS b"
		" FROM unnest(ARRAY[%d, %d, %d]) p"
		" UNION SELECT w.p, unnest(pg_blocking_pids(w.b)) FROM w)"
		" SELECT count(*) > 0 FROM w WHERE p = b",
		PQbackendPID(sessions[0].conn), PQbackendPID(sessions[1].conn),
		PQbackendPID(sessions[2].conn));
	ask(sql, value, sizeof(value));
	if (value[0] == 't')
		(void)snprintf(problem, size, "a deadlock");
}

/* True when it could be played to its end. */
static bool play_order(const struct spec *spec, const int *order, int length, int count)
{
	int done[SESSIONS_MAX] = {0}, at;
	char value[256], problem[300] = "";

	reset(spec);
	for (at = 0; at < length && problem[0] == '\0'; at++) {
		bool is_played = play_step(count, spec, order[at], done[order[at]]++);

		find_problem(count, problem, sizeof(problem));
		if (!is_played)
			break;
	}
	for (int i = 0; i < count; i++)
		stop(&sessions[i]);
	if (problem[0])
		fail_msg("%s: %s", spec->name, problem);
	if (at < length)
		return false;
	ask(spec->look, value, sizeof(value));
	if (!is_expected(spec, value))
		fail_msg("%s: order %d%d%d%d%d%d gives '%s'", spec->name, order[0], order[1],
			order[2], order[3], length > 4 ? order[4] : 9, length > 5 ? order[5] : 9,
			value);
	return true;
}

/* Every order of the steps; within a session they keep theirs. */
static int play_all(const struct spec *spec, int *order, int at, int left[], int count)
{
	int length = count * STEPS, played = 0;

	if (at == length)
		return play_order(spec, order, length, count);
	for (int i = 0; i < count; i++) {
		if (left[i] == 0)
			continue;
		left[i]--;
		order[at] = i;
		played += play_all(spec, order, at + 1, left, count);
		left[i]++;
	}
	return played;
}

static void test_spec(void **state)
{
	const struct spec *spec = *state;
	int order[SESSIONS_MAX * STEPS] = {0}, left[SESSIONS_MAX] = {STEPS, STEPS, STEPS},
				 count = 0;

	while (spec->sessions[count])
		count++;
	assert_true(play_all(spec, order, 0, left, count) >= count);
}

/* --- the program --- */

static void no_name(const char *name, void *data)
{
	(void)name;
	(void)data;
}

static int set_up(void **state)
{
	struct err err = {0};

	cluster_start(&cluster, NULL);
	(void)snprintf(url, sizeof(url), "%s", cluster.url);
	if (store_migrate(url, STORE_MIGRATE_APPLY, no_name, NULL, &err) < 0)
		fail_msg("%s", err.text);
	control = connect_one();
	for (int i = 0; i < SESSIONS_MAX; i++)
		sessions[i].conn = connect_one();
	ask(helpers_text, NULL, 0);
	if (getenv("GATHERING_SPEC_SQL"))
		ask(getenv("GATHERING_SPEC_SQL"), NULL, 0);
	return 0;
}

static int tear_down(void **state)
{
	for (int i = 0; i < SESSIONS_MAX; i++)
		PQfinish(sessions[i].conn);
	PQfinish(control);
	cluster_stop(&cluster);
	return 0;
}

int main(void)
{
	struct CMUnitTest tests[COUNT_OF(specs)];

	for (size_t i = 0; i < COUNT_OF(specs); i++)
		tests[i] = (struct CMUnitTest){.name = specs[i].name,
			.test_func = test_spec,
			.initial_state = (void *)(uintptr_t)&specs[i]};
	return cmocka_run_group_tests_name("isolation", tests, set_up, tear_down);
}
