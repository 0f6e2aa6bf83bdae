# SPDX-License-Identifier: Apache-2.0
"""With a long ledger no statement of the server walks a whole table: PostgreSQL's own auto_explain tells of each
that ran, those inside our functions too, how it was done."""
import re

from harness import wait_for
from pg import clusters  # noqa: F401 (fixture)
from test_scheduling import shell

ACTIONS, RUNS_EACH = 5000, 8

# Below 100,000 actions the health page counts them one by one; above, the statistics will do (src/store/pg_runs.c).
MAY_WALK = re.compile(r"SELECT count\(\*\) FROM gathering\.action\b")


def fill(cluster):
    """One finished run of one action, many times over, as rows."""
    cluster.sql(f"""INSERT INTO gathering.action SELECT (jsonb_populate_record(a, jsonb_build_object(
        'id', gen_random_uuid(), 'name', 'a' || n, 'next_due_at', now() + n * interval '1 hour'))).*
        FROM gathering.action a, generate_series(1, {ACTIONS}) n WHERE a.name = 'seed'""")
    cluster.sql("""INSERT INTO gathering.definition SELECT a.id, a.definition_version,
        jsonb_set(d.body::jsonb, '{name}', to_jsonb(a.name))::json FROM gathering.action a
        JOIN gathering.action s ON s.name = 'seed' JOIN gathering.definition d ON d.action_id = s.id WHERE a.name <> 'seed'""")
    cluster.sql("""INSERT INTO gathering.action_tag SELECT a.id, a.name FROM gathering.action a""")
    cluster.sql(f"""INSERT INTO gathering.run SELECT (jsonb_populate_record(r, jsonb_build_object(
        'id', gen_random_uuid(), 'action_id', a.id, 'finished_at', now() - interval '1 hour', 'due_at', r.due_at - n * interval '1 minute'))).*
        FROM gathering.run r, gathering.action a, generate_series(1, {RUNS_EACH}) n WHERE a.name <> 'seed'""")
    cluster.sql("""INSERT INTO gathering.attempt SELECT (jsonb_populate_record(t, jsonb_build_object('run_id', r.id))).*
        FROM gathering.attempt t, gathering.run r WHERE r.id <> t.run_id""")
    cluster.sql("ANALYZE")


def use_everything(server):
    """Each kind of statement at least once, with due times coming and going meanwhile."""
    assert server.get("/api/v1/actions/a77").status == 200
    assert server.get("/api/v1/actions?limit=10&state=paused").status == 200
    assert [a["name"] for a in server.get("/api/v1/actions?tag=a79").json["items"]] == ["a79"]
    for query in ("", "&state=failed", "&state=pending,running", "&trigger=manual", "&until=2020-01-01T00:00:00Z"):
        assert server.get("/api/v1/runs?limit=5" + query).status == 200
    assert server.get("/api/v1/actions/a78/runs?limit=5").status == 200
    server.create(name="tick", schedule={"every": "200ms"}, overlap="allow", **shell("true"))
    wait_for(lambda: len(server.runs("tick", state="succeeded")) >= 3, "some due times")
    server.create(name="told", schedule={"on": "order.created"}, **shell("true"))
    assert server.post("/api/v1/events/order.created", {"id": 1}).status in (200, 201, 202)
    wait_for(lambda: server.runs("told", state="succeeded"), "the run of an event")
    server.create(name="bad", on_failure="told", expect_success_within="100ms", **shell("false"))
    server.wait_run(server.post("/api/v1/actions/bad/run").json["id"])
    wait_for(lambda: len(server.runs("told")) == 2, "an alert")
    wait_for(lambda: "gathering_actions_late_total 1\n" in server.get("/metrics").body.decode(), "a deadline")
    run = server.post("/api/v1/actions/a80/run").json["id"]
    server.wait_run(run)
    assert server.get(f"/api/v1/runs/{run}/output").status == 200
    server.create(name="slow", **shell("exec sleep 300"))
    slow = server.post("/api/v1/actions/slow/run").json["id"]
    server.wait_run(slow, states=["running"])
    assert server.post(f"/api/v1/runs/{slow}/cancel").status == 202
    server.wait_run(slow, states=["cancelled"])
    definition = server.get("/api/v1/actions/a81").json
    assert server.request("PUT", "/api/v1/actions/a81", {**definition, "priority": 3, "retention": {"count": 4}}).status == 200
    wait_for(lambda: len(server.runs("a81")) == 4, "the retention")
    for verb in ("pause", "resume"):
        assert server.post(f"/api/v1/actions/a82/{verb}").status == 200
    assert server.request("DELETE", "/api/v1/actions/a83").status == 204
    for page in ("/health", "/health/checks", "/api/v1/instances"):
        assert server.get(page).status == 200


def walks(log):
    """[(table, statement)] of the plans in a server log that read all of a big table."""
    found = []
    for entry in re.split(r"\n(?=\d{4}-\d\d-\d\d |\S+ LOG: )", log):
        if "plan:" in entry:
            for table in re.findall(r"Seq Scan on (run|action|attempt|definition|action_tag)\b", entry):
                statement = re.search(r"Query Text: (.*?)\n(?=\s*(?:->|[A-Z][a-z]+.*\(cost))", entry, re.S)
                found.append((table, " ".join((statement.group(1) if statement else entry).split())))
    return found


def test_no_statement_walks_a_table_of_a_long_ledger(clusters, servers):  # noqa: F811
    cluster = clusters("--set", "session_preload_libraries=auto_explain", "--set", "auto_explain.log_min_duration=0",
                       "--set", "auto_explain.log_nested_statements=on")
    server = servers(database=cluster.url, exec_enabled=True).start()
    server.create(name="seed", schedule={"every": "365d"}, tags=["t"], **shell("echo hello"))
    server.wait_run(server.post("/api/v1/actions/seed/run").json["id"])
    server.stop()
    fill(cluster)
    with open(cluster.folder + "/log", encoding="utf-8", errors="replace") as log:
        log.seek(0, 2)
        server = servers(database=cluster.url, exec_enabled=True, retention_every="3s").start()
        use_everything(server)
        server.stop()
        text = log.read()
    assert text.count("plan:") > 50 and "FROM gathering.run" in text  # it was watched at all
    bad = [(table, statement) for table, statement in walks(text)
           if not MAY_WALK.search(statement)]
    assert not bad, "\n".join(f"{table}: {statement[:1500]}" for table, statement in sorted(set(bad)))
