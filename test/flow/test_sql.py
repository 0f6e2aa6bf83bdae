# SPDX-License-Identifier: Apache-2.0
"""sql actions on a real PostgreSQL: what they may do, what is kept of them, how they end."""
import random
import threading
import time

import pytest

from harness import wait_for
from pg import cluster  # noqa: F401 (a fixture)


@pytest.fixture
def server(servers, cluster):
    return servers(sql_databases=f"target={cluster.url}").start()


def run_sql(server, statement, states=("succeeded",), **more):
    sql = {"database": "target", "statement": statement, **more.pop("sql", {})}
    name = server.create(name=f"sql-{len(server.get('/api/v1/actions?limit=1000').json['items'])}", kind="sql", sql=sql, **more)["name"]
    run = server.wait_run(server.post(f"/api/v1/actions/{name}/run").json["id"])
    assert run["state"] in states, run
    return run, server.get(f"/api/v1/runs/{run['id']}/output").body.decode()


def test_the_statement_is_committed_and_knows_its_run(server, cluster):
    cluster.sql("CREATE TABLE seen (run text, due text, attempt int, epoch int)")
    run, output = run_sql(server, "INSERT INTO seen VALUES (current_setting('gathering.run_id'),"
                          " current_setting('gathering.due_at'), current_setting('gathering.attempt')::int,"
                          " current_setting('gathering.epoch')::int)")
    assert output == "(1 row)\n"
    assert cluster.sql("SELECT run || ' ' || attempt || ' ' || epoch FROM seen") == f"{run['id']} 1 1"
    assert cluster.sql(f"SELECT count(*) FROM seen WHERE due::timestamptz = '{run['due_at']}'") == "1"


def test_the_first_rows_are_the_output(server):
    _, output = run_sql(server, "SELECT 1 AS one, NULL AS nothing, E'tab\\there\\nand \\\\' AS text")
    assert output == "one\tnothing\ttext\n1\t\\N\ttab\\there\\nand \\\\\n(1 row)\n"
    _, output = run_sql(server, "SELECT generate_series(1, 1000) AS n")
    lines = output.splitlines()
    assert lines[:2] == ["n", "1"] and lines[100:] == ["100", "[... more rows left out ...]", "(1000 rows)"]


def test_a_statement_that_fails_changes_nothing_and_says_why(server, cluster):
    cluster.sql("CREATE TABLE facts (n int CHECK (n > 0))")
    run, output = run_sql(server, "INSERT INTO facts SELECT 3 - i FROM generate_series(1, 3) i", ("failed",))
    assert run["error"] == ('target: new row for relation "facts" violates check constraint "facts_n_check" (SQLSTATE 23514); '
                            'Failing row contains (0).'), run
    assert output == ""
    assert cluster.sql("SELECT count(*) FROM facts") == "0"
    run, _ = run_sql(server, "INSERT INTO facts VALUES (1); INSERT INTO facts VALUES (2)", ("failed",))
    assert run["error"].endswith("(SQLSTATE 42601)"), run
    run, _ = run_sql(server, "SELECT n FROM fact", ("failed",))
    assert run["error"] == 'target: relation "fact" does not exist, at character 15 (SQLSTATE 42P01)', run
    assert cluster.sql("SELECT count(*) FROM facts") == "0"


def test_read_only_is_enforced_by_the_server(server, cluster):
    cluster.sql("CREATE TABLE safe (n int)")
    run, _ = run_sql(server, "INSERT INTO safe VALUES (1)", ("failed",), sql={"read_only": True})
    assert "read-only transaction" in run["error"] and "25006" in run["error"], run
    _, output = run_sql(server, "SELECT count(*) FROM safe", sql={"read_only": True})
    assert output == "count\n0\n(1 row)\n"


def test_cancel_and_timeout_end_the_statement_on_the_server_too(server, cluster):
    def active():
        return cluster.sql("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'SELECT pg_sleep%'")
    server.create(name="sleeper", kind="sql", sql={"database": "target", "statement": "SELECT pg_sleep(1000)"})
    run = server.post("/api/v1/actions/sleeper/run").json
    wait_for(lambda: active() == "1", "the statement to run")
    assert server.post(f"/api/v1/runs/{run['id']}/cancel").status == 202
    ended = server.wait_run(run["id"])
    assert (ended["state"], ended["error"]) == ("cancelled", "cancelled; nothing was changed")
    wait_for(lambda: active() == "0", "the statement to be gone")
    run, _ = run_sql(server, "SELECT pg_sleep(1000)", ("timed_out",), timeout="300ms")
    assert run["error"] == "timed out after 300ms; nothing was changed"
    wait_for(lambda: active() == "0", "the statement to be gone")


def test_a_stop_hands_the_run_back_and_leaves_nothing_on_the_server(servers, cluster):
    server = servers(sql_databases=f"target={cluster.url}", run_max="200ms").start()
    cluster.sql("CREATE TABLE slow (n int)")
    server.create(name="slow", kind="sql", sql={
        "database": "target", "statement": "INSERT INTO slow SELECT 1 FROM pg_sleep(1000)"})
    run = server.post("/api/v1/actions/slow/run").json
    wait_for(lambda: cluster.sql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'INSERT INTO slow%'") == "1", "the statement")
    server.stop(expect=3)
    assert cluster.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'gathering sql'") == "0"
    server.start()
    wait_for(lambda: server.get(f"/api/v1/runs/{run['id']}").json["state"] == "running", "the next attempt")
    assert server.get(f"/api/v1/runs/{run['id']}").json["interruptions"] == 1
    assert cluster.sql("SELECT count(*) FROM slow") == "0"


def test_a_lost_database_is_a_failure_that_says_so(server, cluster):
    server.create(name="later", kind="sql", timeout="2s", sql={"database": "target", "statement": "SELECT 1"})
    cluster.stop()
    run = server.wait_run(server.post("/api/v1/actions/later/run").json["id"])
    cluster.start()
    assert run["state"] in ("failed", "timed_out"), run
    assert run["error"]
    wait_for(lambda: server.wait_run(server.post("/api/v1/actions/later/run").json["id"])["state"] == "succeeded", "a success")


def test_only_configured_databases_can_be_used(server):
    for name, words in (("other", "add other=postgresql://"), ("self", "sql_self_role")):
        answer = server.post("/api/v1/actions", {"name": "x", "kind": "sql", "sql": {"database": name, "statement": "SELECT 1"}})
        assert answer.status == 403 and words in answer.body.decode(), answer


def test_a_wrong_list_of_databases_is_refused_at_the_start_without_its_passwords(servers):
    server = servers(sql_databases="target=postgresql://me:swordfish@h/db target=postgresql://h/db").spawn()
    assert server.wait() != 0
    assert "'target' is given twice" in server.log and "swordfish" not in server.log, server.log


# --- on our own database ---


BATCH = ("WITH batch AS (INSERT INTO {table} SELECT g FROM generate_series({last} + 1, {last} + 3) g RETURNING n), last AS (SELECT max(n) AS n FROM batch)"
         " SELECT jsonb_build_object('progress', jsonb_build_object('percent', 10 * n, 'message', 'row ' || n),"
         " 'checkpoint', jsonb_build_object('n', n), 'done', n >= 9) AS gathering FROM last")
AGAIN = {"max_attempts": 5, "initial": "0s"}


def test_a_statement_can_go_on_from_its_checkpoint_until_it_says_that_it_is_done(server, cluster):
    cluster.sql("CREATE TABLE part (n int)")
    last = "coalesce((nullif(current_setting('gathering.checkpoint'), '')::jsonb ->> 'n')::int, 0)"
    run, _ = run_sql(server, BATCH.format(table="part", last=last), retry=AGAIN)
    assert (run["attempt"], run["progress"]) == (3, {"percent": 90, "message": "row 9"})
    assert cluster.sql("SELECT string_agg(n::text, ' ' ORDER BY n) FROM part") == "1 2 3 4 5 6 7 8 9"
    run, _ = run_sql(server, "SELECT '{\"done\": false, \"checkpoint\": 7}' AS gathering", ("failed",))
    assert run["error"] == "the target is not done yet, it says" and run["checkpoint_bytes"] == 1


def test_what_a_statement_says_of_itself_and_cannot_be_read_changes_nothing(server):
    for said, why in (("half", "not taken: "), ("[1]", "not taken: it is not an object")):
        run, output = run_sql(server, f"SELECT 1 AS one, '{said}' AS gathering")
        assert run["progress"] is None and "[gathering: the column 'gathering' was" in output and why in output, output


def test_on_our_own_database_each_batch_is_recorded_with_its_attempt(own, cluster):
    server = own().start()
    cluster.sql("CREATE TABLE batch (n int); GRANT SELECT, INSERT ON batch TO jobs")
    run, output = run_sql(server, BATCH.format(table="batch", last="(SELECT coalesce(max(n), 0) FROM batch)"), sql={"database": "self"}, retry=AGAIN)
    assert run["attempt"] == 3 and "checkpoint_bytes" not in run
    assert "on 'self' a checkpoint is kept in a table of your own" in output
    assert cluster.sql("SELECT count(*) FROM batch") == "9"


@pytest.fixture
def own(servers, cluster):
    """Servers on one PostgreSQL, whose sql actions become the role `jobs`."""
    cluster.sql("DROP SCHEMA IF EXISTS gathering CASCADE")
    cluster.sql("DROP TABLE IF EXISTS effect, batch")
    cluster.sql("DROP ROLE IF EXISTS jobs")
    cluster.sql("CREATE ROLE jobs")
    cluster.sql("CREATE TABLE effect (run text, epoch int)")
    cluster.sql("GRANT SELECT, INSERT ON effect TO jobs")
    return lambda: servers(database=cluster.url, sql_self_role="jobs", lease="10s", heartbeat="1s")


EFFECT = "INSERT INTO effect SELECT current_setting('gathering.run_id'), current_setting('gathering.epoch')::int"


def test_an_effect_and_its_record_are_committed_together_whenever_the_server_is_killed(own, cluster):
    """kill -9 at random moments while runs follow each other: each run has its effect exactly once."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    server = own().start()
    server.create(name="effect", kind="sql", overlap="allow", sql={"database": "self", "statement":
                  EFFECT + " FROM pg_sleep(random() * 0.02)"})
    for _ in range(4):
        stop = threading.Event()

        def trigger():
            while not stop.is_set():
                try:
                    server.post("/api/v1/actions/effect/run")
                except OSError:
                    return

        thread = threading.Thread(target=trigger)
        thread.start()
        time.sleep(0.2 + chance.random() * 0.3)  # the moment is the point; nothing is waited for
        server.kill()
        stop.set()
        thread.join()
        server.start()
    wait_for(lambda: all(run["state"] == "succeeded" for run in server.runs("effect")), "every run to succeed", 60)
    runs = server.runs("effect")
    assert len(runs) > 20
    assert any(run["interruptions"] for run in runs), "no kill has hit a run"
    assert cluster.sql("SELECT count(*) || ' ' || count(DISTINCT run) FROM effect") == f"{len(runs)} {len(runs)}"
    assert cluster.sql("SELECT count(*) FROM effect e JOIN gathering.run r ON r.id = e.run::uuid AND r.epoch = e.epoch"
                       " WHERE r.state = 'succeeded'") == str(len(runs))


def test_an_attempt_that_was_taken_over_has_no_effect(own, cluster):
    server = own().start()
    server.create(name="late", kind="sql", sql={"database": "self", "statement": EFFECT + " FROM pg_sleep(1)"})
    run = server.post("/api/v1/actions/late/run").json
    wait_for(lambda: cluster.sql("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'INSERT INTO effect%'") == "1",
             "the statement to run")
    cluster.sql(f"UPDATE gathering.run SET epoch = epoch + 1 WHERE id = '{run['id']}'")
    wait_for(lambda: "stale" in server.log, "the refusal")
    assert cluster.sql("SELECT count(*) FROM effect") == "0"


def test_statements_on_our_own_database_run_as_the_role_that_was_given(own, cluster):
    server = own().start()
    answers = {"INSERT INTO effect VALUES (current_user, 1)": "",
               "DELETE FROM gathering.run": "permission denied for schema gathering",
               "COMMIT": "the statement has ended its transaction, which is not its to end"}
    for number, (statement, error) in enumerate(answers.items()):
        server.create(name=f"s{number}", kind="sql", sql={"database": "self", "statement": statement})
        run = server.wait_run(server.post(f"/api/v1/actions/s{number}/run").json["id"])
        assert run["state"] == ("failed" if error else "succeeded") and error in (run["error"] or ""), run
    assert cluster.sql("SELECT run FROM effect") == "jobs"
    server.create(name="look", kind="sql", sql={"database": "self", "statement": "SELECT current_user", "read_only": True})
    run = server.wait_run(server.post("/api/v1/actions/look/run").json["id"])
    assert server.get(f"/api/v1/runs/{run['id']}/output").body == b"current_user\njobs\n(1 row)\n"
