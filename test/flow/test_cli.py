# SPDX-License-Identifier: Apache-2.0
"""Every subcommand that talks to a server, against the real one: what it does, prints and exits with.

One server serves the tests that only need their own actions; each test names its own.
"""
import json
import re
import subprocess

import pytest

from calls import ABSENT, ERROR, NO_ID, USAGE, local
from harness import BINARY, Server, wait_for


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("shared"), exec_enabled=True, exec_users="root, nobody", sql_databases="shop=postgresql://127.0.0.1:9/x").start()
    yield server
    server.close()


def show(server, name):
    return json.loads(server.cli("action", "show", name, "--json").stdout)


def names(server, *filters):
    done = server.cli("action", "list", "--json", *filters)
    return [action["name"] for action in json.loads(done.stdout)["items"]]


def add_shell(server, name, text, *flags):
    server.cli("action", "add", name, "--shell", text, *flags)


def refused(server, *arguments, expect=USAGE, stdin=None):
    """A command that must fail: nothing on standard output, no new action; returns what it said."""
    before = names(server)
    done = server.cli(*arguments, expect=expect, stdin=stdin)
    assert done.stdout == "" and done.stderr.startswith("gathering: ")
    assert names(server) == before
    return done.stderr


# --- action add ---

def test_add_takes_the_program_behind_two_dashes_as_it_is(shared):
    done = shared.cli("action", "add", "argv", "--cron", "0 2 * * *", "--", "/bin/echo", "--json", "a b", "$HOME", "")
    assert re.fullmatch(r"created argv; next due \d{4}-\d\d-\d\dT02:00:00Z \(in .+\)\n", done.stdout)
    action = show(shared, "argv")
    assert action["kind"] == "exec" and not action["exec"].get("shell")
    assert action["exec"]["command"] == ["/bin/echo", "--json", "a b", "$HOME", ""]
    assert shared.cli("action", "run", "argv", "--wait").stdout == "--json a b $HOME \n"


def test_add_without_a_schedule_says_how_it_runs(shared):
    done = shared.cli("action", "add", "by-hand", "--manual", "--", "/bin/true")
    assert done.stdout == "created by-hand; no schedule: `gathering action run by-hand` runs it\n"


# flags, pointer into the action, value there
EXEC_FLAGS = [
    (["--cron", "*/5 1 2 3 4"], "schedule/cron", "*/5 1 2 3 4"),
    (["--timezone", "Europe/Paris"], "schedule/timezone", "Europe/Paris"),
    (["--dst-gap", "skip"], "schedule/dst_gap", "skip"),
    (["--dst-overlap=both"], "schedule/dst_overlap", "both"),
    (["--day-match", "both"], "schedule/day_match", "both"),
    (["--description", "what: \"größe\""], "description", "what: \"größe\""),
    (["--tag", "a", "--tag", "b"], "tags", ["a", "b"]),
    (["--cwd", "/tmp"], "exec/cwd", "/tmp"),
    (["--env", "A=1=2", "-e", "B="], "exec/env", {"A": "1=2", "B": ""}),
    (["--stdin", "in\nput"], "exec/stdin", "in\nput"),
    (["--timeout", "90s"], "timeout", "1m30s"),
    (["--overlap", "queue"], "overlap", "queue"),
    (["--queue-limit", "3"], "queue_limit", 3),
    (["--misfire", "all"], "misfire", "all"),
    (["--misfire-grace", "2m"], "misfire_grace", "2m"),
    (["--max-lateness", "2h"], "max_lateness", "2h"),
    (["--max-catchup", "7"], "max_catchup", 7),
    (["--retries", "2"], "retry/max_attempts", 3),
    (["--backoff", "fixed"], "retry/backoff", "fixed"),
    (["--retry-initial", "1s"], "retry/initial", "1s"),
    (["--retry-max", "5s"], "retry/max", "5s"),
    (["--on-interrupt", "hold"], "on_interrupt", "hold"),
    (["--priority", "-5"], "priority", -5),
    (["--max-pending", "77"], "max_pending", 77),
    (["--pause-records", "false"], "pause_records", False),
    (["--retry-jitter", "0.35"], "retry/jitter", 0.35),
    (["--retry-on", "timeout", "--retry-on", "exit:75"], "retry/on", ["timeout", "exit:75"]),
    (["--blackout", "0 22 * * * for 8h", "--blackout", "2026-12-24T00:00:00Z to 2026-12-27T00:00:00Z"], "schedule/blackout",
     [{"cron": "0 22 * * *", "duration": "8h"}, {"from": "2026-12-24T00:00:00Z", "to": "2026-12-27T00:00:00Z"}]),
    (["--max-runs", "9"], "schedule/max_runs", 9),
    (["--user", "nobody"], "exec/user", "nobody"),
    (["--limit-cpu", "30s"], "exec/limits/cpu", "30s"),
    (["--limit-memory", "512MiB"], "exec/limits/memory", "512MiB"),
    (["--limit-file-size", "1GiB"], "exec/limits/file_size", "1GiB"),
    (["--limit-files", "64"], "exec/limits/files", 64),
    (["--limit-processes", "500"], "exec/limits/processes", 500),
    (["--nice", "10"], "exec/limits/nice", 10),
]
HTTP_FLAGS = [
    (["--url", "http://127.0.0.1:9/x"], "http/url", "http://127.0.0.1:9/x"),
    (["--method", "PUT"], "http/method", "PUT"),
    (["--header", "X-A: 1: 2", "-H", "X-B:b"], "http/headers", {"X-A": "1: 2", "X-B": "b"}),
    (["--body", "text"], "http/body", "text"),
    (["--expect-status", "204"], "http/expect_status", 204),
    (["--overlap", "allow"], "overlap", "allow"),
    (["--max-concurrent", "4"], "max_concurrent", 4),
    (["--max-redirects", "2"], "http/max_redirects", 2),
    (["--connect-timeout", "3s"], "http/connect_timeout", "3s"),
    (["--first-byte-timeout", "7s"], "http/first_byte_timeout", "7s"),
    (["--every", "90s"], "schedule/every", "90s"),
    (["--anchor", "2026-01-01T00:00:00Z"], "schedule/anchor", "2026-01-01T00:00:00Z"),
    (["--start-at", "2026-01-01T00:00:00Z"], "schedule/start_at", "2026-01-01T00:00:00Z"),
    (["--end-at", "9999-01-01T00:00:00Z"], "schedule/end_at", "9999-01-01T00:00:00Z"),
    (["--jitter", "20s"], "schedule/jitter", "20s"),
]
SQL_FLAGS = [
    (["--sql", "SELECT 1"], "sql/statement", "SELECT 1"),
    (["--sql-database", "shop"], "sql/database", "shop"),
    (["--sql-read-only", "true"], "sql/read_only", True),
    (["--every-after", "1h"], "schedule/every_after", "1h"),
]
NOOP_FLAGS = [
    (["--noop"], "kind", "noop"),
    (["--on", "order.created"], "schedule/on", "order.created"),
    (["--run-on-start"], "schedule/run_on_start", True),
    (["--retention-age", "30d"], "retention/age", "30d"),
    (["--retention-count", "7"], "retention/count", 7),
    (["--expect-success-within", "90s"], "expect_success_within", "1m30s"),
    (["--on-failure", "page"], "on_failure", "page"),
    (["--on-recovery", "page"], "on_recovery", "page"),
    (["--on-late", "page"], "on_late", "page"),
]
ALL_FLAGS = {"all-exec": EXEC_FLAGS, "all-http": HTTP_FLAGS, "all-sql": SQL_FLAGS, "all-noop": NOOP_FLAGS}
OF_THE_SERVER = {"id", "version", "state", "next_due_at", "created_at", "updated_at", "failing_since", "late_since", "deadline"}


def members(value, path=""):
    """Paths of what is no object."""
    if not isinstance(value, dict):
        return {path}
    return set().union(*(members(each, f"{path}/{key}" if path else key) for key, each in value.items()))


@pytest.mark.parametrize("name", ALL_FLAGS)
def test_add_every_flag_sets_its_member(shared, name):
    flags, rest = ALL_FLAGS[name], ["--", "/bin/true"] if name == "all-exec" else []
    shared.cli("action", "add", name, *(word for words, _, _ in flags for word in words), *rest)
    action = show(shared, name)
    for _, pointer, value in flags:
        found = action
        for key in pointer.split("/"):
            found = found[key]
        assert found == value, pointer
    every = {"name", "kind", "exec/command", "exec/shell"}.union(pointer for table in ALL_FLAGS.values() for _, pointer, _ in table)
    unknown = {member for member in members(action) if not any(f"{member}/".startswith(f"{known}/") for known in every)}
    assert unknown - {"warnings"} == OF_THE_SERVER, "a member of definitions that no flag sets: a row in src/cli/commands.c, and one above"


def test_add_once_at_a_moment(shared):
    shared.cli("action", "add", "once", "--at", "2038-01-19T04:14:07+01:00", "--", "/bin/true")
    assert show(shared, "once")["next_due_at"] == "2038-01-19T03:14:07Z"


@pytest.mark.parametrize("arguments, said", [
    ([], "the action needs a name"),
    (["x", "--name", "y", "--", "/bin/true"], "two names, 'x' and --name 'y'"),
    (["x"], "what shall 'x' do? a program behind `--`, --shell TEXT, --url URL, --sql STATEMENT or --noop"),
    (["x", "--"], "no program behind `--`"),
    (["x", "--shell", "a", "--", "b"], "a program behind `--`, --shell, --url, --sql and --noop: only one of them"),
    (["x", "--noop", "--retry-jitter", "1.5"], "--retry-jitter '1.5': a share from 0 to 1, such as 0.2"),
    (["x", "--noop", "--pause-records", "no"], "--pause-records 'no': one of false, true"),
    (["x", "--noop", "--blackout", "nights"], "--blackout 'nights': written 'CRON for DURATION'"),
    (["x", "--cron", "@daily", "--every", "1m", "--", "b"], "--cron, --every, --every-after, --at, --rrule, --on and --manual: only one of them"),
    (["x", "/bin/true"], "'/bin/true' is one argument too many; the program goes behind `--`"),
    (["x", "--env", "A", "--", "b"], "--env 'A': written NAME=VALUE"),
    (["x", "--header", ": v", "--url", "http://a"], "--header ': v': written 'NAME: VALUE'"),
    (["x", "--retries", "1.5", "--", "b"], "--retries '1.5': a whole number from 0 to 1000"),
    (["x", "--timeout", "soon", "--", "b"], "--timeout 'soon': a duration such as 90s, 5m or 1h30m"),
    (["x", "--overlap", "never", "--", "b"], "--overlap 'never': one of skip, queue, allow, cancel_running"),
    (["x", "--corn", "@daily", "--", "b"], "no flag '--corn' here; did you mean --cron?"),
    (["x", "-l", "--", "b"], "no flag '-l' here; flags of your own program go behind `--`"),
    (["x", "--shell"], "--shell needs a value: TEXT"),
    (["x", "--manual=yes", "--", "b"], "--manual stands alone, it takes no value"),
    (["x", "--file", "a.json", "--cron", "@daily"], "either --file or flags that describe the action"),
])
def test_add_says_what_is_wrong_with_the_call(shared, arguments, said):
    text = refused(shared, "action", "add", *arguments)
    assert text.startswith(f"gathering: {'action add: ' if 'too many' in said else ''}{said}\n")
    assert "usage: gathering action add" in text


def test_add_lists_each_member_the_server_refuses(shared):
    text = refused(shared, "action", "add", "bad name", "--cron", "0 25 * * *", "--timeout", "8d", "--", "/bin/true")
    assert text.splitlines()[1:] == [
        "  /name: " + text.split("  /name: ")[1].split("\n")[0],
        "  /schedule/cron: cron field 'hour': 25 is above 23",
        "  /timeout: " + text.split("  /timeout: ")[1].split("\n")[0]]
    assert "Europe/Paris" in refused(shared, "action", "add", "x", "--cron", "@daily", "--timezone", "Europe/Pairs",
                                     "--", "/bin/true")


def test_add_a_name_that_is_taken(shared):
    add_shell(shared, "taken", "true")
    assert "'taken'" in refused(shared, "action", "add", "taken", "--shell", "true", expect=ERROR)


def test_add_a_program_where_programs_are_off(servers):
    server = servers().start()
    assert "exec_enabled" in refused(server, "action", "add", "x", "--shell", "true", expect=ERROR)


# --- files ---

def definition(name, **more):
    return {"name": name, "kind": "exec", "exec": {"command": ["/bin/true"]}, **more}


@pytest.mark.parametrize("name, wrap", [("one", lambda d: d[0]), ("array", lambda d: d), ("items", lambda d: {"items": d})])
def test_add_from_a_file_and_from_standard_input(shared, tmp_path, name, wrap):
    for way in ("file", "stdin"):
        wanted = [definition(f"{name}-{way}-{n}") for n in range(1 if name == "one" else 3)]
        text = json.dumps(wrap(wanted))
        path = tmp_path / "actions.json"
        path.write_text(text)
        done = shared.cli("action", "add", "--file", str(path) if way == "file" else "-", stdin=text)
        assert [line.split(";")[0] for line in done.stdout.splitlines()] == [f"created {d['name']}" for d in wanted]
        assert names(shared, "--name", f"{name}-{way}") == [d["name"] for d in wanted]


def test_add_from_a_file_is_all_or_none(shared):
    bulk = [definition("bulk-1"), definition("bulk-2", timeout="never"), definition("bulk-3")]
    assert "  /1/timeout: " in refused(shared, "action", "add", "-f", "-", stdin=json.dumps(bulk))
    assert "  /items/1/timeout: " in refused(shared, "action", "add", "-f", "-", stdin=json.dumps({"items": bulk}))
    assert not names(shared, "--name", "bulk-")


@pytest.mark.parametrize("text, status, said", [
    ('{"name": "x",}', USAGE, "standard input: JSON, line 1, column 14: "),
    ('{"name": "x", "name": "y"}', USAGE, "standard input: JSON, line 1, column 20: duplicate object key"),
    ("", USAGE, "standard input: JSON expected, found nothing"),
    ('"text"', USAGE, "object"),
    ('{"name": "x", "kind": "exec", "exec": {"command": ["a"]}, "colour": 1}', USAGE, "colour"),
])
def test_add_a_file_that_is_no_definition(shared, text, status, said):
    assert said in refused(shared, "action", "add", "-f", "-", expect=status, stdin=text)


def test_add_a_file_that_is_not_there(shared):
    assert "cannot read /no/such.json: No such file" in refused(
        shared, "action", "add", "--file", "/no/such.json", expect=ABSENT)
    refused(shared, "action", "add", "--file", "/", expect=ERROR)


# --- action list, show, export ---

def test_list_filters_and_limits(shared):
    for n in range(3):
        add_shell(shared, f"list-{n}", "true", "--tag", f"list{n % 2}", "--cron", "@daily")
    shared.cli("action", "add", "list-http", "--url", "http://127.0.0.1:9/", "--manual")
    shared.cli("action", "pause", "list-1")
    assert names(shared, "--name", "list-") == ["list-0", "list-1", "list-2", "list-http"]
    assert names(shared, "--tag", "list0") == ["list-0", "list-2"]
    assert names(shared, "--name", "list-", "--kind", "http") == ["list-http"]
    assert names(shared, "--name", "list-", "--state", "paused") == ["list-1"]
    assert names(shared, "--name", "list-", "-n", "2") == ["list-0", "list-1"]
    assert names(shared, "--name", "no-such-thing") == []
    table = shared.cli("action", "list", "--name", "list-").stdout.splitlines()
    assert table[0].split() == ["NAME", "STATE", "SCHEDULE", "NEXT", "DUE", "KIND", "TARGET"]
    assert table[1].split()[:3] == ["list-0", "active", "@daily"]
    assert table[4].split() == ["list-http", "active", "manual", "-", "http", "GET", "http://127.0.0.1:9/"]


def test_list_reads_all_pages(servers):
    server = servers(exec_enabled=True).start()
    every = [f"page-{n:04}" for n in range(1500)]
    for at in (0, 750):
        server.cli("action", "add", "-f", "-", stdin=json.dumps([definition(n) for n in every[at:at + 750]]))
    assert names(server) == every
    assert names(server, "--limit", "1200") == every[:1200]


def test_show_is_for_people_or_json(shared):
    add_shell(shared, "shown", "echo 'a  b'", "--cron", "0 2 * * *", "--timezone", "Europe/Paris")
    text = shared.cli("action", "show", "shown").stdout
    assert re.search(r"^name +shown$", text, re.M)
    assert re.search(r"^schedule\n +cron +0 2 \* \* \*\n +timezone +Europe/Paris$", text, re.M)
    assert re.search(r"^next_due_at +\S+Z \(in .*\)$", text, re.M)
    action = show(shared, "shown")
    assert show(shared, action["id"]) == action == shared.get("/api/v1/actions/shown").json
    assert "'no-such'" in refused(shared, "action", "show", "no-such", expect=ABSENT)


def test_export_and_add_carry_actions_to_another_server(shared, servers):
    add_shell(shared, "carried", "cat", "--stdin", "größe\n", "--cron", "0 2 * * *", "--retries", "2", "--tag", "t")
    shared.cli("action", "add", "carried-http", "--url", "http://127.0.0.1:9/", "--header", "X-A: b", "--manual")
    one = json.loads(shared.cli("action", "export", "carried").stdout)
    assert one["name"] == "carried" and "id" not in one and "next_due_at" not in one
    two = shared.cli("action", "export", "carried", "carried-http").stdout
    assert [action["name"] for action in json.loads(two)["items"]] == ["carried", "carried-http"]

    everything = shared.cli("action", "export").stdout
    assert len(json.loads(everything)["items"]) == len(names(shared))
    other = servers(exec_enabled=True, exec_users="root, nobody", sql_databases="shop=postgresql://127.0.0.1:9/x").start()
    other.cli("action", "add", "--file", "-", stdin=everything)
    assert other.cli("action", "export").stdout == everything
    shared.cli("action", "export", "carried", "no-such", expect=ABSENT)


# --- action edit ---

def test_edit_changes_what_the_flags_name(shared):
    add_shell(shared, "edited", "true", "--cron", "@daily", "--timezone", "Asia/Tokyo", "--env", "A=1", "--tag", "x")
    before = show(shared, "edited")
    done = shared.cli("action", "edit", "edited", "--timeout", "2h", "--env", "B=2", "--tag", "y", "--tag", "z")
    assert done.stdout.startswith("changed edited; next due ")
    after = show(shared, "edited")
    assert after["timeout"] == "2h" and after["exec"]["env"] == {"A": "1", "B": "2"} and after["tags"] == ["y", "z"]
    assert after["version"] == before["version"] + 1 and after["id"] == before["id"]
    changed = {"timeout", "exec", "tags", "version", "updated_at"}
    assert {key for key in before if before[key] != after[key]} == changed


def test_edit_replaces_schedule_and_target(shared):
    add_shell(shared, "replaced", "true", "--every", "90s", "--anchor", "2026-01-01T00:00:00Z")
    shared.cli("action", "edit", "replaced", "--cron", "@daily")
    assert show(shared, "replaced")["schedule"].keys() & {"every", "anchor", "cron"} == {"cron"}
    shared.cli("action", "edit", "replaced", "--url", "http://127.0.0.1:9/", "--manual")
    action = show(shared, "replaced")
    assert action["kind"] == "http" and not action.get("exec") and not action.get("schedule")
    shared.cli("action", "edit", "replaced", "--name", "replaced-2", "--", "/bin/echo", "hi")
    action = show(shared, "replaced-2")
    assert action["kind"] == "exec" and action["exec"]["command"] == ["/bin/echo", "hi"] and not action.get("http")
    shared.cli("action", "edit", "replaced-2", "--sql", "SELECT 1", "--sql-database", "shop")
    action = show(shared, "replaced-2")
    assert action["kind"] == "sql" and not action.get("exec")
    assert "shop: SELECT 1" in shared.cli("action", "list").stdout
    shared.cli("action", "edit", "replaced-2", "--noop")
    assert show(shared, "replaced-2")["kind"] == "noop" and not show(shared, "replaced-2").get("sql")
    assert "'replaced'" in refused(shared, "action", "edit", "replaced", "--timeout", "1m", expect=ABSENT)


def test_edit_from_a_file_replaces_the_definition(shared, tmp_path):
    add_shell(shared, "rewritten", "true", "--tag", "old", "--timeout", "2h")
    path = tmp_path / "new.json"
    path.write_text(json.dumps(definition("rewritten", description="new")))
    shared.cli("action", "edit", "rewritten", "--file", str(path))
    action = show(shared, "rewritten")
    assert action["description"] == "new" and not action.get("tags") and action["timeout"] == "10m"
    shared.cli("action", "edit", "rewritten", "-f", "-", stdin=json.dumps(definition("rewritten", priority=3)))
    assert show(shared, "rewritten")["priority"] == 3


@pytest.mark.parametrize("arguments, said", [
    (["steady"], "what shall be changed? flags, or --file FILE"),
    (["steady", "--file", "x", "--cron", "@daily"], "either --file or flags that describe the change"),
    (["steady", "--cron", "@daily", "--manual"], "--cron, --every, --every-after, --at, --rrule, --on and --manual: only one of them"),
    (["steady", "--cron", "61 * * * *"], "cron field 'minute': 61 is above 59"),
    ([], "action edit needs ACTION"),
])
def test_edit_says_what_is_wrong_and_changes_nothing(shared, arguments, said):
    if "steady" not in names(shared, "--name", "steady"):
        add_shell(shared, "steady", "true")
    before = show(shared, "steady")
    assert said in refused(shared, "action", "edit", *arguments)
    assert show(shared, "steady") == before


# --- action pause, resume, delete ---

def test_pause_and_resume(shared):
    for n in range(2):
        add_shell(shared, f"held-{n}", "true", "--cron", "@daily")
    assert shared.cli("action", "pause", "held-0", "held-1").stdout.splitlines()[0].startswith("paused held-0")
    assert [show(shared, f"held-{n}")["state"] for n in range(2)] == ["paused", "paused"]
    shared.cli("action", "pause", "held-0")
    assert shared.cli("action", "resume", "held-0").stdout.startswith("resumed held-0; next due ")
    assert show(shared, "held-0")["state"] == "active"
    assert json.loads(shared.cli("action", "resume", "held-1", "--json").stdout)["state"] == "active"


@pytest.mark.parametrize("verb, done", [("pause", "paused"), ("resume", "resumed"), ("delete", "deleted")])
def test_what_goes_for_many_goes_on_after_one_that_is_absent(shared, verb, done):
    for n in range(2):
        add_shell(shared, f"many-{verb}-{n}", "true")
    result = shared.cli("action", verb, f"many-{verb}-0", "no-such", f"many-{verb}-1", expect=ABSENT)
    assert [line.split(";")[0] for line in result.stdout.splitlines()] == [f"{done} many-{verb}-{n}" for n in range(2)]
    assert "'no-such'" in result.stderr


def test_delete_takes_the_history_along(shared):
    add_shell(shared, "deleted", "true")
    shared.cli("action", "run", "deleted", "--wait")
    run = json.loads(shared.cli("run", "list", "--action", "deleted", "--json").stdout)["items"][0]["id"]
    assert shared.cli("action", "delete", "deleted").stdout == "deleted deleted\n"
    shared.cli("action", "show", "deleted", expect=ABSENT)
    shared.cli("run", "show", run, expect=ABSENT)


# --- action run ---

def test_run_waits_prints_the_output_and_tells_the_end(shared):
    add_shell(shared, "works", "echo to stdout; echo to stderr >&2")
    done = shared.cli("action", "run", "works", "--wait")
    assert set(done.stdout.splitlines()) == {"to stdout", "to stderr"}
    assert re.fullmatch(r"run \S{36} succeeded in \S+\n", done.stderr)


def test_run_without_waiting_says_how_to_look(shared):
    add_shell(shared, "started", "true")
    done = shared.cli("action", "run", "started")
    found = re.fullmatch(r"run (\S{36}) is \w+; `gathering run logs \1` prints its output\n", done.stdout)
    assert shared.wait_run(found.group(1))["state"] == "succeeded"
    run = json.loads(shared.cli("action", "run", "started", "--json").stdout)
    assert run["trigger"] == "manual" and shared.wait_run(run["id"])["state"] == "succeeded"


def test_run_that_overlap_skips_is_told_and_is_exit_status_1(shared, tmp_path):
    gate = tmp_path / "gate"
    add_shell(shared, "alone", f"echo 40% > $GATHERING_PROGRESS_FILE; while [ ! -e {gate} ]; do sleep 0.05; done")
    shared.cli("action", "run", "alone")
    wait_for(lambda: (shared.runs("alone", state="running") or [{}])[0].get("progress"), "its progress")
    done = shared.cli("action", "run", "alone", expect=ERROR)
    assert done.stdout == "" and re.fullmatch(r"run \S{36} skipped: overlap\n", done.stderr)
    rows = shared.cli("run", "list", "--action", "alone").stdout.splitlines()[1:]
    assert [row.split()[2:4] for row in rows] == [["skipped", "overlap"], ["running", "40"]], rows
    gate.touch()
    wait_for(lambda: shared.runs("alone", state="succeeded"), "the run")


@pytest.mark.parametrize("name, script, flags, state, told", [
    ("ends-3", "echo before; exit 3", [], "failed", "exit"),
    ("too-slow", "echo before; sleep 60", ["--timeout", "2s"], "timed_out", ""),
    ("killed", "echo before; kill -9 $$", [], "failed", "signal"),
])
def test_run_that_does_not_succeed_is_exit_status_1(shared, name, script, flags, state, told):
    add_shell(shared, name, script, *flags)
    done = shared.cli("action", "run", name, "--wait", expect=ERROR)
    assert done.stdout == "before\n"
    assert re.match(rf"run \S+ {state}( in \S+)?: .*{told}", done.stderr), done.stderr
    run = json.loads(shared.cli("action", "run", name, "--wait", "--json", expect=ERROR).stdout)
    assert run["state"] == state


def test_run_that_takes_longer_than_the_wait_goes_on(shared, tmp_path):
    gate = tmp_path / "gate"
    add_shell(shared, "patient", f"while [ ! -e {gate} ]; do sleep 0.05; done; echo through")
    done = shared.cli("action", "run", "patient", "--wait", "--wait-timeout", "200ms", expect=ABSENT)
    assert done.stdout == "" and "the run goes on" in done.stderr
    gate.touch()
    wait_for(lambda: shared.runs("patient", state="succeeded"), "the run")
    assert shared.cli("run", "logs", "patient").stdout == "through\n"


def test_run_an_action_that_is_absent(shared):
    assert "'no-such'" in refused(shared, "action", "run", "no-such", "--wait", expect=ABSENT)


# --- run list, show, cancel, logs ---

def run_ids(server, *filters):
    return [run["id"] for run in json.loads(server.cli("run", "list", "--json", *filters).stdout)["items"]]


def test_run_list_filters_and_limits(shared):
    add_shell(shared, "runs-good", "true")
    add_shell(shared, "runs-bad", "exit 7")
    for _ in range(3):
        shared.cli("action", "run", "runs-good", "--wait")
    shared.cli("action", "run", "runs-bad", "--wait", expect=ERROR)
    good, bad = run_ids(shared, "--action", "runs-good"), run_ids(shared, "-a", "runs-bad")
    assert len(good) == 3 and len(bad) == 1
    dues = [run["due_at"] for run in shared.runs("runs-good")]
    assert dues == sorted(dues, reverse=True)
    assert run_ids(shared, "--action", "runs-good", "-n", "2") == good[:2]
    assert run_ids(shared, "--action", "runs-bad", "--state", "failed") == bad
    assert run_ids(shared, "--action", "runs-bad", "--state", "succeeded") == []
    assert run_ids(shared, "--action", "runs-good", "--trigger", "manual") == good
    assert run_ids(shared, "--action", "runs-good", "--trigger", "schedule") == []
    assert run_ids(shared, "--action", "runs-good", "--since", dues[1]) == good[:2]
    assert run_ids(shared, "--action", "runs-good", "--until", dues[1]) == good[2:]
    assert run_ids(shared, "--action", "runs-good", "--since", "1h") == good
    assert run_ids(shared, "--action", "runs-good", "--until", "1h") == []
    assert run_ids(shared, "--limit", "0") == [run["id"] for run in shared.runs()]
    table = shared.cli("run", "list", "--action", "runs-bad").stdout.splitlines()
    assert table[0].split() == ["RUN", "ACTION", "STATE", "RESULT", "TRIGGER", "DUE", "TOOK", "ERROR"]
    assert table[1].split()[:6] == [bad[0], "runs-bad", "failed", "exit", "7", "manual"]
    assert "'no-such'" in refused(shared, "run", "list", "--action", "no-such", expect=ABSENT)


def test_run_list_shows_twenty_unless_asked(shared):
    add_shell(shared, "often", "true", "--overlap", "allow")
    for _ in range(22):
        shared.post("/api/v1/actions/often/run")
    assert len(run_ids(shared, "--action", "often")) == 20
    assert len(run_ids(shared, "--action", "often", "--limit", "0")) == 22


def test_run_show(shared):
    add_shell(shared, "looked-at", "echo hi")
    shared.cli("action", "run", "looked-at", "--wait")
    run = run_ids(shared, "--action", "looked-at")[0]
    text = shared.cli("run", "show", run).stdout
    assert re.search(rf"^id +{run}$", text, re.M) and re.search(r"^state +succeeded$", text, re.M)
    assert json.loads(shared.cli("run", "show", run, "--json").stdout) == shared.get(f"/api/v1/runs/{run}").json
    refused(shared, "run", "show", NO_ID, expect=ABSENT)
    refused(shared, "run", "show", "not-an-id", expect=ABSENT)


def test_run_cancel(shared):
    add_shell(shared, "cancelled", "echo started; exec sleep 60")
    run = json.loads(shared.cli("action", "run", "cancelled", "--json").stdout)["id"]
    shared.wait_run(run, states=("running",))
    done = shared.cli("run", "cancel", run, NO_ID, expect=ABSENT)
    assert done.stdout == f"run {run}: is being ended\n"
    assert done.stderr == f"gathering: run {NO_ID}: no such run\n"
    assert shared.wait_run(run)["state"] == "cancelled"
    refused(shared, "run", "cancel", run, expect=ERROR)


def test_run_logs_of_a_run_of_an_action_and_of_an_attempt(shared, tmp_path):
    count = tmp_path / "count"
    add_shell(shared, "logged", f"echo x >> {count}; echo attempt $(wc -l < {count}); [ $(wc -l < {count}) -ge 3 ]",
              "--retries", "2", "--backoff", "fixed", "--retry-initial", "10ms")
    shared.cli("action", "run", "logged", "--wait")
    run = run_ids(shared, "--action", "logged")[0]
    assert shared.cli("run", "logs", run).stdout == "attempt 3\n" == shared.cli("run", "logs", "logged").stdout
    for n in (1, 2, 3):
        assert shared.cli("run", "logs", run, "--attempt", str(n)).stdout == f"attempt {n}\n"
    refused(shared, "run", "logs", run, "--attempt", "4", expect=ABSENT)
    refused(shared, "run", "logs", "no-such", expect=ABSENT)
    add_shell(shared, "never-ran", "true")
    assert "no run of 'never-ran' has been started yet" in refused(shared, "run", "logs", "never-ran", expect=ABSENT)


# --- instances, status ---

def test_instance_drain_and_undrain(servers):
    server = servers().start()
    instances = json.loads(server.cli("instance", "list", "--json").stdout)["items"]
    assert len(instances) == 1
    name = instances[0]["id"]
    table = server.cli("instance", "list").stdout.splitlines()
    assert table[0].split() == ["ID", "STATE", "STARTED", "HEARTBEAT", "RUNS", "VERSION", "PID", "HOST"] and table[1].split()[0] == name
    for argument in ([], [name]):
        assert server.cli("instance", "drain", *argument).stdout.startswith(f"{name}: draining")
        assert server.get("/health/ready").status == 503
        assert server.cli("instance", "undrain", *argument).stdout == f"{name}: ready\n"
        assert server.get("/health/ready").status == 200
    refused(server, "instance", "drain", NO_ID, expect=ABSENT)


def test_status_is_one_glance(shared):
    text = shared.cli("status").stdout
    assert re.match(r"status +\w+\nversion +\d", text)
    assert re.search(r"^CHECK +STATUS +DETAIL$", text, re.M) and re.search(r"^database +healthy ", text, re.M)
    both = json.loads(shared.cli("status", "--json").stdout)
    assert both["health"].keys() == shared.get("/health").json.keys()
    assert both["checks"].keys() == shared.get("/health/checks").json.keys()


@pytest.mark.parametrize("overall, status", [("healthy", 0), ("warning", 0), ("critical", ERROR)])
def test_status_fails_when_a_check_is_critical(targets, overall, status):
    checks = {"overall_status": overall, "checks": [{"name": "disk", "status": overall, "detail": "1 % free"}]}
    target = targets(lambda request: (200, json.dumps(checks if request["path"] == "/health/checks" else {}).encode()))
    for flags in ([], ["--json"]):
        done = local("status", "--server", target.url, *flags, expect=status)
        assert "1 % free" in done.stdout and done.stderr == ""


# --- the same things as JSON ---

@pytest.mark.parametrize("command", [
    ["action", "list"], ["run", "list"], ["instance", "list"], ["status"], ["version"], ["action", "export"],
    ["next", "@daily", "--from", "2026-01-01T00:00:00Z"], ["action", "list", "--name", "there-is-none"],
    ["import", "crontab", "/dev/null", "--dry-run"],
])
def test_json_is_json_however_it_is_asked_for(shared, command):
    long, short, letter = (json.loads(shared.cli(*command, *flags).stdout)
                           for flags in (["--output", "json"], ["--json"], ["-o", "json"]))
    assert isinstance(long, dict) and long.keys() == short.keys() == letter.keys()
    done = shared.cli(*command, "--output", "yaml", expect=USAGE)
    assert "--output 'yaml': one of table, json" in done.stderr


def test_output_that_cannot_be_written_is_an_error(shared):
    environ = {**shared.environ, "GATHERING_SERVER": f"http://{shared.host}:{shared.port}"}
    for command in (["help"], ["action", "list"], ["status", "--json"]):
        with open("/dev/full", "w", encoding="utf-8") as full:
            done = subprocess.run([BINARY, *command], env=environ, stdout=full, stderr=subprocess.PIPE, timeout=60,
                                  check=False)
        assert done.returncode == ERROR and b"No space left" in done.stderr
