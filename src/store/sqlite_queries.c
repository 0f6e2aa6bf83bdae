/* SPDX-License-Identifier: Apache-2.0
 *
 * The texts of sqlite_queries.def, with the parts that several of them share. */
#include "store/sqlite_priv.h"

/* Read by read_stored_action. The definition joins last and one row at a time, so a page loads no
 * more than its own. */
#define ACTION_FIELDS                                                                              \
	"a.id, a.version, a.is_paused, a.next_due_ms, a.created_at_ms, a.updated_at_ms,"           \
	" a.definition_version, d.body FROM action a LEFT JOIN definition d"                       \
	" ON d.action_id = a.id AND d.version = a.definition_version"

/* The same for the definition a run was claimed with. */
#define RUN_ACTION_FIELDS                                                                          \
	"r.action_id, r.action_version, a.is_paused, a.next_due_ms, a.created_at_ms,"              \
	" a.updated_at_ms, r.definition_version, d.body"
#define RUN_ACTION_JOINS                                                                           \
	" LEFT JOIN action a ON a.id = r.action_id LEFT JOIN definition d"                         \
	" ON d.action_id = r.action_id AND d.version = r.definition_version"

/* ?2 part of a name as LIKE pattern, ?3 kind, ?4 state, ?5 tag, ?6 run_on_start only. The state as
 * in action_state(). */
#define ACTION_FILTER                                                                              \
	"(?2 IS NULL OR a.name LIKE ?2 ESCAPE '\\') AND (?3 IS NULL OR a.kind = ?3)"               \
	" AND (?4 IS NULL OR ?4 = CASE WHEN a.is_paused = 1 THEN 'paused'"                         \
	" WHEN a.has_schedule = 1 AND a.next_due_ms IS NULL THEN 'completed' ELSE 'active' END)"   \
	" AND (?5 IS NULL OR EXISTS (SELECT 1 FROM action_tag t"                                   \
	" WHERE t.action_id = a.id AND t.tag = ?5)) AND (?6 = 0 OR a.runs_on_start = 1)"

/* Read by read_run. */
#define RUN_FIELDS                                                                                 \
	"r.id, r.action_id, r.action_version, a.name, r.triggered_by, r.due_at_ms, r.state,"       \
	" r.reason, r.attempt, r.interruptions, r.epoch, r.instance_id, r.priority,"               \
	" r.not_before_ms, r.created_at_ms, r.claimed_at_ms, r.started_at_ms, r.finished_at_ms,"   \
	" r.http_status, r.exit_code, r.error, r.output_bytes, r.missed_count,"                    \
	" r.missed_until_ms, r.cancel_requested, r.retry_of, r.traceparent, r.backfill"

/* Read by read_backfill. */
#define BACKFILL_FIELDS                                                                            \
	"b.id, b.action_id, b.number, a.name, b.state, b.rerun, b.seed, b.schedule, b.from_ms,"    \
	" b.to_ms, b.cursor_ms, b.total, b.made, b.passed, b.interval_ms, b.max_open,"             \
	" b.next_at_ms, b.created_at_ms, b.finished_at_ms, a.is_paused"                            \
	" FROM backfill b JOIN action a ON a.id = b.action_id"

/* ?2 states as ",failed,held,", ?3 trigger, ?4 and ?5 the range of due times. */
#define RUN_FILTER                                                                                 \
	"(?2 IS NULL OR instr(?2, ',' || r.state || ',') > 0)"                                     \
	" AND (?3 IS NULL OR r.triggered_by = ?3)"                                                 \
	" AND (?4 IS NULL OR r.due_at_ms >= ?4) AND (?5 IS NULL OR r.due_at_ms < ?5)"

/* As the index run_trouble has it. */
#define TROUBLE "(r.state = 'failed' OR r.state = 'timed_out' OR r.state = 'held')"

/* run_rank_ms(), as the index run_ready has it. */
#define RANK "(r.created_at_ms - r.priority * 60000)"
_Static_assert(RUN_AGEING_MS == 60000, "the schema counts on it");

/* The serial rule: one at a time, oldest due time first, those of a backfill last. And
 * max_concurrent of the others. */
#define MAY_START                                                                                  \
	"(r.is_serial = 0 OR (NOT EXISTS (SELECT 1 FROM run o INDEXED BY run_open"                 \
	" WHERE o.action_id = r.action_id AND o.state = 'running')"                                \
	" AND NOT EXISTS (SELECT 1 FROM run p INDEXED BY run_open"                                 \
	" WHERE p.action_id = r.action_id AND p.state = 'pending'"                                 \
	" AND (p.backfill, p.due_at_ms) < (r.backfill, r.due_at_ms))))"                            \
	" AND (r.max_concurrent = 0 OR r.max_concurrent > (SELECT count(*) FROM run o"             \
	" INDEXED BY run_open WHERE o.action_id = r.action_id AND o.state = 'running'))"

const struct query_text query_texts[QUERY_COUNT] = {
#define X(name, plan, text) [QUERY_##name] = {#name, QUERY_PLAN_##plan, text},
#include "store/sqlite_queries.def"
#undef X
};
