# SPDX-License-Identifier: Apache-2.0
"""`gathering import crontab` on the real server: the machine's own crontabs, every thing a line can say, refused
lines, importing again, and 5,000 lines.

Where a file holds jobs that are not ours to run, the server is drained first: it then creates and lists, and
starts nothing.
"""
import datetime
import glob
import json
import os
import pwd
import random
import re
import subprocess
import time

import pytest

from calls import ABSENT, ERROR, OK, USAGE, local
from harness import ROOT

MAKE_CRONTAB = os.path.join(ROOT, "test", "make-crontab")
MACHINE = [path for path in ["/etc/crontab", *sorted(glob.glob("/etc/cron.d/*"))] if os.path.isfile(path)]
ME = pwd.getpwuid(os.getuid()).pw_name
AS_ROOT = pytest.mark.skipif(os.getuid() != 0, reason="only root runs programs as others")


@pytest.fixture
def parked(servers):
    """A server that starts no runs."""
    server = servers(exec_enabled=True).start()
    server.cli("instance", "drain")
    return server


def write(tmp_path, text, name="crontab"):
    path = tmp_path / name
    path.write_text(text)
    return str(path)


def actions(server):
    """By line of the crontab."""
    items = json.loads(server.cli("action", "list", "--json").stdout)["items"]
    by_line = {int(re.match(r"line (\d+) of ", action["description"]).group(1)): action for action in items}
    assert len(by_line) == len(items)
    return by_line


def names(server):
    return sorted(action["name"] for action in json.loads(server.cli("action", "list", "--json").stdout)["items"])


def plan(*arguments, expect=OK, stdin=""):
    return json.loads(local("import", "crontab", *arguments, "--dry-run", "--json", expect=expect, stdin=stdin).stdout)


# --- the machine's own ---

def job_lines(path):
    """{line: (time, user, command)} as a plain reading of crontab(5) has it, for files without % or @."""
    jobs = {}
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if re.match(r"\s*(#|$)|\s*\w+\s*=", line):
                continue
            fields = line.split(None, 6)
            jobs[number] = (" ".join(fields[:5]), fields[5], fields[6].rstrip("\n"))
    return jobs


@pytest.mark.skipif(not MACHINE, reason="this machine has no crontabs")
@pytest.mark.parametrize("path", MACHINE)
def test_crontabs_of_this_machine(parked, path):
    expected = job_lines(path)
    user = [] if os.getuid() == 0 else ["--user", "-"]

    shown = plan(path, *user)
    assert shown["refused"] == [] and names(parked) == []
    assert [item["line"] for item in shown["items"]] == sorted(expected)
    table = local("import", "crontab", path, "--dry-run").stdout
    assert f"{len(expected)} action{'' if len(expected) == 1 else 's'} would be created (system form)" in table
    for when, _, command in expected.values():
        assert when in table and command in table

    if os.getuid() == 0:  # whoever the jobs want to be, they are imported as that
        users = ",".join({column for _, column, _ in expected.values()} | {ME})
        parked.stop()
        parked.options["exec_users"] = users
        parked.start()
        parked.cli("instance", "drain")
    done = parked.cli("import", "crontab", path, *user)
    assert done.stdout.startswith(f"created {len(expected)}, already there 0, refused 0\n")
    found = actions(parked)
    assert sorted(found) == sorted(expected)
    for number, (when, column, command) in expected.items():
        action = found[number]
        assert action["schedule"]["cron"] == when and action["exec"]["command"] == command
        assert action["exec"].get("user") == (column if os.getuid() == 0 else None)
        assert action["state"] == "active" and action["next_due_at"]
    again = parked.cli("import", "crontab", path, *user)
    assert again.stdout == f"created 0, already there {len(expected)}, refused 0\n"
    assert actions(parked) == found


# --- what a line says ---

CARRIED = """\
# a comment
MAILTO=ops@example.org
GREETING = "hello  world"
EMPTY=
'QUOTED'='a b'
5\t4 * * mon-fri   /usr/bin/backup --all > /dev/null 2>&1
@daily /opt/report.py
CRON_TZ=Europe/Paris
30 2 * * * cat; echo 100\\%%first line%second \\% line
SHELL=/bin/bash
HOME=/tmp
TZ=Asia/Tokyo
  */10 * * * *\t[[ -n $GREETING ]] && pwd
"""


def test_user_form_carries_all_of_a_line_over(parked, tmp_path):
    path = write(tmp_path, CARRIED)
    done = parked.cli("import", "crontab", path, "--timezone", "America/New_York")
    assert done.stdout.startswith("created 4, already there 0, refused 0\n")
    assert re.search(r"^line 2 note: .*MAILTO", done.stderr, re.M)
    found = actions(parked)
    assert sorted(found) == [6, 7, 9, 13]
    assert [found[n]["name"] for n in (6, 7)] == ["cron-backup", "cron-report"]
    env = {"GREETING": "hello  world", "EMPTY": "", "QUOTED": "a b"}

    first = found[6]
    assert first["schedule"]["cron"] == "5 4 * * mon-fri" and first["schedule"]["timezone"] == "America/New_York"
    assert first["exec"] == {"shell": True, "command": "/usr/bin/backup --all > /dev/null 2>&1", "env": env}
    assert (first["overlap"], first["misfire"], first["timeout"]) == ("allow", "skip", "1d")
    assert first["retry"]["max_attempts"] == 1
    assert first["description"] == f"line 6 of {path}"
    assert first["tags"][0] == "crontab" and re.fullmatch("crontab-[0-9a-f]{12}", first["tags"][1])

    assert found[7]["schedule"]["cron"] == "@daily" and not found[7]["exec"].get("stdin")
    assert found[9]["schedule"]["timezone"] == "Europe/Paris"
    assert found[9]["exec"]["stdin"] == "first line\nsecond % line\n"
    assert found[13]["exec"]["command"] == ["/bin/bash", "-c", "[[ -n $GREETING ]] && pwd"]
    assert found[13]["exec"]["cwd"] == "/tmp" and not found[13]["exec"].get("shell")
    assert found[13]["exec"]["env"] == {**env, "SHELL": "/bin/bash", "HOME": "/tmp", "TZ": "Asia/Tokyo"}
    assert found[13]["schedule"]["timezone"] == "Europe/Paris"


def test_imported_jobs_run_as_under_cron(server_of_programs, tmp_path):
    """On the first of January they would be due; here they are run by hand."""
    server = server_of_programs
    text = CARRIED.replace("30 2 * * *", "@yearly").replace("*/10 * * * *", "@yearly").replace("5\t4 * * mon-fri", "@yearly")
    text = text.replace("/usr/bin/backup --all > /dev/null 2>&1", 'echo "$GREETING|$EMPTY|$QUOTED"').replace("@daily", "@yearly")
    server.cli("import", "crontab", write(tmp_path, text))
    found = actions(server)

    def output(line):
        return server.cli("action", "run", found[line]["name"], "--wait").stdout

    assert output(6) == "hello  world||a b\n"
    assert output(9) == "first line\nsecond % line\n100%\n"
    assert output(13) == "/tmp\n"


def test_what_looks_like_a_template_reaches_the_program_as_it_stands(server_of_programs, tmp_path):
    server = server_of_programs
    path = write(tmp_path, "FORMAT={{.Names}} {{run_id}}\n@yearly printf '%s|' \"$FORMAT\" '{{.Id}}'; cat%{{payload.x}} {{\n".replace("'%s|'", "'\\%s|'"))
    server.cli("import", "crontab", path)
    name, = (action["name"] for action in actions(server).values())
    assert server.cli("action", "run", name, "--wait").stdout == "{{.Names}} {{run_id}}|{{.Id}}|{{payload.x}} {{\n"
    assert "already there 1" in server.cli("import", "crontab", path).stdout


@pytest.fixture
def server_of_programs(servers):
    return servers(exec_enabled=True).start()


@AS_ROOT
def test_system_form_runs_as_the_user_of_the_column(servers, tmp_path):
    server = servers(exec_enabled=True, exec_users=f"{ME},nobody").start()
    path = write(tmp_path, "@yearly root id -un\n@yearly\tnobody  id -un; cat%in\n")
    shown = local("import", "crontab", path, "--dry-run").stdout
    assert "2 actions would be created (system form)" in shown and "they run as root (1) nobody (1)" in shown
    server.cli("import", "crontab", path)
    for line, user, text in ((1, "root", "root\n"), (2, "nobody", "nobody\nin\n")):
        action = actions(server)[line]
        assert action["exec"]["user"] == user
        assert server.cli("action", "run", action["name"], "--wait").stdout == text


@pytest.mark.parametrize("flags, form, user, command", [
    ([], "user", None, "nobody id"),
    (["--system"], "system", "nobody", "id"),
    (["--system", "--user", "-"], "system", None, "id"),
    (["--user", "backup"], "user", "backup", "nobody id"),
])
def test_forms_and_users(flags, form, user, command, tmp_path):
    path = write(tmp_path, "@daily nobody id\n")
    action = plan(path, *flags)["items"][0]["action"]
    assert action["exec"].get("user") == user and action["exec"]["command"] == [command]
    assert f"({form} form)" in local("import", "crontab", path, *flags, "--dry-run").stdout


def test_flags_choose_zone_names_and_policies(parked):
    done = parked.cli("import", "crontab", "-", "--timezone", "Asia/Tokyo", "--prefix", "old.", "--overlap", "skip",
                      "--misfire", "latest", "--timeout", "2h", stdin="0 1 * * * /bin/sync\n")
    assert done.stdout.startswith("created 1,")
    action = actions(parked)[1]
    assert action["name"] == "old.sync" and action["description"] == "line 1 of a crontab"
    assert (action["overlap"], action["misfire"], action["timeout"]) == ("skip", "latest", "2h")
    assert action["schedule"]["timezone"] == "Asia/Tokyo"
    assert datetime.datetime.fromisoformat(action["next_due_at"].replace("Z", "+00:00")).hour == 16


# --- what cannot be taken ---

@pytest.mark.parametrize("line, why", [
    ("61 * * * * job", "61"),
    ("0 0 30 2 * job", "30"),
    ("22-2 * * * * job", "22-2"),
    ("-5 * * * * job", ""),
    ("* * * * *", "command"),
    ("* * * job", ""),
    ("@fortnightly job", "@fortnightly"),
    ("BAD-NAME=1", "BAD-NAME"),
    ("CRON_TZ=Europe/Pairs\n0 0 * * * job", "Europe/Paris"),
    ("0 0 * * * " + "x" * 17000, "16384"),
])
def test_a_refused_line_is_named_and_nothing_is_created(parked, tmp_path, line, why):
    path = write(tmp_path, f"# first\n0 1 * * * good-1\n{line}\n")
    number = 3 + line.count("\n")
    text = write(tmp_path, f"0 1 * * * good-2\n\n{line}\n", "other")
    for arguments in ((path,), (text,)):
        done = parked.cli("import", "crontab", *arguments, expect=ERROR)
        refusals = re.findall(r"^line (\d+) refused: (.+)$", done.stderr, re.M)
        assert [int(found) for found, _ in refusals] == [number] and why in refusals[0][1]
        assert "nothing was created; --keep-going imports the other lines" in done.stderr
        assert done.stdout == "" and names(parked) == []


def test_reboot_becomes_run_on_start(parked, tmp_path):
    path = write(tmp_path, "@reboot /usr/bin/warm-up\n")
    assert plan(path)["items"][0]["next_due_at"] is None
    parked.cli("import", "crontab", path)
    schedule = parked.get("/api/v1/actions/cron-warm-up").json["schedule"]
    assert schedule["run_on_start"] is True and "cron" not in schedule


MIXED = "0 1 * * * good-1\n0 0 31 2 * one\n0 2 * * * good-2\n0 25 * * * two\n0 3 * * * good-3\n"


def test_keep_going_imports_the_rest(parked, tmp_path):
    path = write(tmp_path, MIXED)
    shown = plan(path, expect=ERROR)
    assert [fault["line"] for fault in shown["refused"]] == [2, 4] and "can never be due" in shown["refused"][0]["detail"]
    assert "an import would stop here" in local("import", "crontab", path, "--dry-run", expect=ERROR).stdout
    assert len(plan(path, "--keep-going")["items"]) == 3 and names(parked) == []
    done = parked.cli("import", "crontab", path, "--keep-going")
    assert done.stdout.startswith("created 3, already there 0, refused 2\n")
    assert re.findall(r"^line (\d+) refused", done.stderr, re.M) == ["2", "4"]
    assert names(parked) == ["cron-good-1", "cron-good-2", "cron-good-3"]
    report = json.loads(parked.cli("import", "crontab", path, "--keep-going", "--json").stdout)
    assert [item["existing"] for item in report["items"]] == [True] * 3 and len(report["refused"]) == 2


@AS_ROOT
def test_what_the_server_refuses_is_found_line_by_line(parked, tmp_path):
    """The server runs programs as itself only; two of eleven lines want another user."""
    lines = [f"{n} 1 * * * {'nobody' if n in (3, 7) else 'root'} job-{n}" for n in range(11)]
    path = write(tmp_path, "\n".join(lines) + "\n")
    done = parked.cli("import", "crontab", path, expect=ERROR)
    assert "exec_users" in done.stderr and names(parked) == []
    done = parked.cli("import", "crontab", path, "--keep-going")
    assert done.stdout.startswith("created 9, already there 0, refused 2\n")
    assert re.findall(r"^line (\d+) refused", done.stderr, re.M) == ["4", "8"]
    assert sorted(actions(parked)) == [n + 1 for n in range(11) if n not in (3, 7)]


def test_a_server_where_programs_are_off_refuses_and_says_what_to_change(server, tmp_path):
    for flags, status in (([], ERROR), (["--keep-going"], OK)):
        done = server.cli("import", "crontab", write(tmp_path, "0 1 * * * job\n"), *flags, expect=status)
        assert "set exec_enabled = true" in done.stderr and names(server) == []


@pytest.mark.parametrize("arguments, status, said", [
    (["/no/such/crontab"], ABSENT, "cannot read /no/such/crontab: No such file"),
    (["/"], ERROR, "cannot read /"),
    (["-", "--timezone", "Mars/Base"], USAGE, "Mars/Base"),
    (["-", "--overlap", "maybe"], USAGE, "--overlap 'maybe': one of skip"),
    ([], USAGE, "import crontab needs FILE"),
])
def test_calls_that_cannot_be(arguments, status, said):
    done = local("import", "crontab", *arguments, "--dry-run", expect=status, stdin="0 1 * * * job\n")
    assert said in done.stderr and done.stdout == ""


# --- importing again ---

def test_importing_again_recognises_what_moved_was_renamed_or_paused(parked, tmp_path):
    parked.cli("import", "crontab", write(tmp_path, "0 1 * * * one\n0 2 * * * two\n0 3 * * * three\n0 4 * * * four\n"))
    parked.cli("action", "edit", "cron-one", "--name", "uno", "--overlap", "skip")
    parked.cli("action", "pause", "cron-two")
    before = {action["id"]: action for action in parked.get("/api/v1/actions").json["items"]}

    moved = "# new remark\nLEVEL=1\n0 3 * * * three\n\n0   1 * * *\tone\n0 2 * * * two\n30 4 * * * four\n"
    done = parked.cli("import", "crontab", write(tmp_path, moved, "moved"))
    assert done.stdout.startswith("created 1, already there 3, refused 0\n")
    after = {action["id"]: action for action in parked.get("/api/v1/actions").json["items"]}
    assert all(after[name] == action for name, action in before.items())
    new = [action for name, action in after.items() if name not in before]
    assert len(new) == 1 and new[0]["schedule"]["cron"] == "30 4 * * *"
    assert re.fullmatch("cron-four-[0-9a-f]{6}", new[0]["name"]), "the plain name is taken"


def test_identical_lines_are_as_many_actions(parked, tmp_path):
    path = write(tmp_path, "0 1 * * * same\n" * 3)
    assert parked.cli("import", "crontab", path).stdout.startswith("created 3,")
    assert parked.cli("import", "crontab", path).stdout == "created 0, already there 3, refused 0\n"
    parked.cli("action", "delete", actions(parked)[2]["name"])
    assert parked.cli("import", "crontab", path).stdout.startswith("created 1, already there 2,")


# --- 5,000 lines ---

def expected_lines(text):
    """{line: time} of the jobs that test/make-crontab wrote."""
    jobs = {}
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(r"\s*(#|$)|\w+\s*=", line):
            continue
        jobs[number] = line.split()[0] if line.startswith("@") else " ".join(line.split()[:5])
    return jobs


def pages(server, limit):
    query = f"/api/v1/actions?limit={limit}"
    page = server.get(query).json
    while True:
        yield page["items"]
        if "next_cursor" not in page:
            return
        page = server.get(f"{query}&cursor={page['next_cursor']}").json


def test_5000_lines_are_imported_and_listed_page_by_page(parked, tmp_path):
    seed = os.environ.get("GATHERING_TEST_SEED", str(time.time_ns() % 1_000_000))
    print("GATHERING_TEST_SEED =", seed)
    text = subprocess.run([MAKE_CRONTAB, "--lines", "5000", "--seed", seed], check=True, capture_output=True,
                          text=True, timeout=60).stdout
    path = write(tmp_path, text)
    expected = expected_lines(text)
    assert len(expected) == 5000

    started = time.monotonic()
    done = parked.cli("import", "crontab", path, "--timezone", "UTC")
    print(f"5000 lines imported in {time.monotonic() - started:.2f} s by this build")
    assert done.stdout.startswith("created 5000, already there 0, refused 0\n")

    listed = list(pages(parked, 300))
    assert [len(page) for page in listed] == [300] * 16 + [200]
    everything = [action for page in listed for action in page]
    assert [action["name"] for action in everything] == sorted(action["name"] for action in everything)
    found = actions(parked)
    assert {number: action["schedule"]["cron"] for number, action in found.items()} == expected

    for number in random.Random(seed).sample(sorted(expected), 20):
        action = found[number]
        before = datetime.datetime.fromisoformat(action["created_at"].replace("Z", "+00:00")).isoformat()
        due = json.loads(local("next", action["schedule"]["cron"], "--timezone", action["schedule"]["timezone"],
                               "--from", before, "-n", "1", "--json").stdout)["items"][0]["due_at"]
        assert action["next_due_at"] == due, action
    assert parked.cli("import", "crontab", path, "--timezone", "UTC").stdout == (
        "created 0, already there 5000, refused 0\n")
