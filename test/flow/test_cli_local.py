# SPDX-License-Identifier: Apache-2.0
"""The command line without a server: nobody there or somebody else, help, usage, next, check-config, migrate."""
import json
import re
import socket

import pytest

from calls import ABSENT, ERROR, NO_ID, OK, USAGE, local
from harness import Target

# --- no server, the wrong server ---

NEED_A_SERVER = [
    ["action", "list"], ["action", "show", "x"], ["action", "add", "x", "--shell", "true"], ["action", "export"],
    ["action", "edit", "x", "--timeout", "1m"], ["action", "pause", "x"], ["action", "resume", "x"],
    ["action", "run", "x"], ["action", "delete", "x"], ["run", "list"], ["run", "show", NO_ID], ["run", "cancel", NO_ID],
    ["run", "logs", "x"], ["instance", "list"], ["instance", "drain"], ["instance", "undrain"], ["status"],
    ["import", "crontab", "/dev/null"],
]


@pytest.fixture(scope="module")
def dead_url():
    """An address that nobody listens on, kept so for the whole module."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{holder.getsockname()[1]}"


@pytest.mark.parametrize("command", NEED_A_SERVER, ids=" ".join)
def test_unreachable_server(dead_url, command):
    done = local(*command, expect=ERROR, environ={"GATHERING_SERVER": dead_url})
    assert done.stdout == "" and done.stderr.startswith("gathering: ") and dead_url in done.stderr
    assert done.stderr.endswith(f"cannot reach {dead_url}: Connection refused; is `gathering serve` running "
                           "there? (--server)\n")
    flag = local(*command, "--server", dead_url + "/", expect=ERROR, environ={"GATHERING_SERVER": "http://127.0.0.1:1"})
    assert dead_url in flag.stderr, "the flag wins over the environment"


@pytest.mark.parametrize("server", ["ftp://127.0.0.1", "http://", "127.0.0.1:99999", "unix:", "what is this"])
def test_server_that_is_no_address(server):
    assert local("action", "list", "--server", server, expect=USAGE).stderr.startswith("gathering: ")


def test_socket_that_is_not_there(tmp_path):
    assert "no.sock" in local("status", "--server", f"unix:{tmp_path}/no.sock", expect=ERROR).stderr


@pytest.mark.parametrize("status, body, said", [
    (200, b"<html>hello</html>", "not JSON; is it gathering?"),
    (200, b'{"items": [{"na', "not JSON; is it gathering?"),
    (500, b"<html>oops</html>", "HTTP status 500"),
    (404, b"", "HTTP status 404"),
])
def test_another_server(status, body, said):
    target = Target(lambda request: (status, body))
    try:
        done = local("action", "list", "--server", target.url, expect=ABSENT if status == 404 else ERROR)
        assert said in done.stderr and done.stdout == ""
    finally:
        target.close()


# --- help and usage ---

def all_commands():
    return re.findall(r"^### gathering (.+)$", local("help", "--markdown").stdout, re.M)


def test_help_of_every_command():
    commands = all_commands()
    assert len(commands) >= 24
    for name in commands:
        page = local(*name.split(), "--help").stdout
        assert page == local("help", *name.split()).stdout == local(*name.split(), "-h").stdout
        assert page.startswith(f"usage: gathering {name}")
        assert "--server" in page or "--listen" in page
        if "--listen" not in page:
            assert max(map(len, page.split("\nexamples:")[0].splitlines())) <= 82
    overview = local("help").stdout
    assert overview == local("--help").stdout == local("-h").stdout
    assert [line.split("  ")[1].strip() for line in overview.splitlines() if line.startswith("  ") and line[2].isalpha()
            ] == commands
    group = local("help", "action").stdout
    assert len(group.splitlines()) >= 9 and all("action" in line for line in group.splitlines() if line[2] != " ")


@pytest.mark.parametrize("words, said", [
    ([], "which command? `gathering help` lists them"),
    (["actoin", "list"], "no command 'actoin'; did you mean 'action list'?"),
    (["sevre"], "no command 'sevre'; did you mean 'serve'?"),
    (["action"], "action what? one of: add, list, show, edit, pause, resume, run, delete, export"),
    (["action", "lst"], "no command 'action lst'; did you mean 'action list'?"),
    (["action", "frobnicate"], "no command 'action frobnicate'; action takes: add, list, show"),
    (["qwertyuiop"], "no command 'qwertyuiop'; `gathering help` lists them"),
    (["help", "nothing"], "no command 'nothing'; `gathering help` lists them"),
    (["run", "list", "--stat", "failed"], "no flag '--stat' here; did you mean --state?"),
    (["run", "list", "--state", "fine"], "--state 'fine': one of pending, running, succeeded"),
    (["run", "list", "--since", "yesterday"], "--since 'yesterday': a time such as 2026-"),
    (["run", "list", "-n", "-1"], "--limit '-1': a whole number from 0 to"),
    (["run", "show"], "run show needs RUN"),
    (["run", "show", "a", "b"], "run show: 'b' is one argument too many"),
    (["next"], "next needs EXPR"),
    (["--json", "serve"], "serve must be the first word"),
])
def test_usage_errors_say_what_was_meant(words, said):
    done = local(*words, expect=USAGE)
    assert done.stderr.startswith(f"gathering: {said}") and done.stdout == ""


# --- next ---

PARIS = ["30 2 * * *", "--timezone", "Europe/Paris"]


def dues(*arguments, expect=OK):
    return local("next", *arguments, expect=expect).stdout.splitlines()


@pytest.mark.parametrize("arguments, wanted", [
    (PARIS + ["--from", "2026-03-28T00:00:00Z", "--count", "3", "--notes"],
     ["2026-03-28T02:30:00+01:00", "2026-03-29T03:00:00+02:00  moved out of DST gap", "2026-03-30T02:30:00+02:00"]),
    (PARIS + ["--from", "2026-03-28T00:00:00Z", "--count", "2"],
     ["2026-03-28T02:30:00+01:00", "2026-03-29T03:00:00+02:00"]),
    (PARIS + ["--from", "2026-03-28T12:00:00Z", "--count", "1", "--dst-gap", "skip"], ["2026-03-30T02:30:00+02:00"]),
    (PARIS + ["--from", "2026-10-24T12:00:00Z", "-n", "2"], ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]),
    (PARIS + ["--from", "2026-10-24T12:00:00Z", "-n", "2", "--dst-overlap", "last"],
     ["2026-10-25T02:30:00+01:00", "2026-10-26T02:30:00+01:00"]),
    (PARIS + ["--from", "2026-10-24T12:00:00Z", "-n", "2", "--dst-overlap", "both"],
     ["2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00"]),
    (["0 0 13 * 5", "--from", "2026-01-01T00:00:00Z", "-n", "3"],
     ["2026-01-02T00:00:00+00:00", "2026-01-09T00:00:00+00:00", "2026-01-13T00:00:00+00:00"]),
    (["0 0 13 * 5", "--from", "2026-01-01T00:00:00Z", "-n", "2", "--day-match", "both"],
     ["2026-02-13T00:00:00+00:00", "2026-03-13T00:00:00+00:00"]),
    (["0", "0", "1", "1", "1", "--from", "2026-01-01T00:00:00Z", "-n", "1"], ["2026-01-05T00:00:00+00:00"]),
    (["90s", "--from", "1970-01-01T00:00:00Z", "-n", "2"], ["1970-01-01T00:01:30+00:00", "1970-01-01T00:03:00+00:00"]),
    (["2026-05-01T12:00:00+02:00", "--from", "2026-01-01T00:00:00Z"], ["2026-05-01T10:00:00+00:00"]),
    (["@yearly", "--from", "2026-01-01T00:00:00Z", "-n", "1"], ["2027-01-01T00:00:00+00:00"]),
])
def test_next_lists_due_times(arguments, wanted):
    assert dues(*arguments) == wanted


def test_next_counts_from_now_and_five():
    assert len(dues("* * * * *")) == 5
    assert len(dues("* * * * *", "-n", "1000")) == 1000


def test_next_as_json_has_utc_local_offset_and_note():
    answer = json.loads(local("next", *PARIS, "--from", "2026-03-28T12:00:00Z", "-n", "1", "--json").stdout)
    assert answer["items"] == [{"due_at": "2026-03-29T01:00:00Z", "local": "2026-03-29T03:00:00+02:00", "utc_offset": "+02:00",
                                "note": "moved out of DST gap",
                                "nominal_at": "2026-03-29T01:00:00Z"}]


@pytest.mark.parametrize("expression, warning", [
    ("*/7 * * * *", "minute '*/7' starts again at 0 each time, so the last step is shorter"),
    ("5/15 * * * *", "minute '5/15' means from 5 to 59 every 15"),
    ("0 0 13 * 5", 'day-of-month and day-of-week are both given: either one is enough ("day_match": "both" for both)'),
    ("*/15 * * * *", None),
])
def test_next_notes_what_may_surprise(expression, warning):
    done = local("next", expression, "-n", "1")
    assert done.stderr == (f"gathering: note: {warning}\n" if warning else "")
    assert json.loads(local("next", expression, "--json").stdout)["warning"] == warning


@pytest.mark.parametrize("arguments, said", [
    (["0 25 * * *"], "cron field 'hour': 25 is above 23"),
    (["60 * * * *"], "cron field 'minute': 60 is above 59"),
    (["* * 30 2 *"], "cron expression can never be due: no year has day-of-month '30' with month '2'"),
    (["* * *"], "cron expression has 3 fields; it takes 5 (minute hour day-of-month month day-of-week)"),
    (["@fortnightly"], "unknown cron macro '@fortnightly'; there are @yearly"),
    (["@reboot"], "cron macro '@reboot' names no due time"),
    (["0 0 * * fry"], "cron field 'day-of-week': 'fry' is not a number or a name such as SUN"),
    (["*/0 * * * *"], "cron field 'minute': step 0 is below 1"),
    (["22-2 * * * *"], "cron field 'minute': '22-2' runs backwards; write 22-59,0-2"),
    (["10x"], "interval '10x' is not a duration such as 90s or 1h30m"),
    (["2026-02-30T00:00:00Z"], "at '2026-02-30T00:00:00Z' is not a time with an offset"),
    (["@daily", "--timezone", "Europe/Pairs"], "Europe/Paris"),
    ([""], "cron expression has 0 fields"),
])
def test_next_says_what_is_wrong_with_the_expression(arguments, said):
    done = local("next", *arguments, expect=USAGE)
    assert said in done.stderr and done.stderr.startswith("gathering: ") and done.stdout == ""
    assert len(done.stderr.splitlines()) == 1


def test_next_with_nothing_to_come_is_exit_status_3():
    done = local("next", "2026-05-01T12:00:00Z", "--from", "2026-05-01T12:00:00Z", expect=ABSENT)
    assert done.stdout == "" and "nothing is due after that moment" in done.stderr


# --- check-config ---

def effective(*flags, environ=None):
    lines = local("check-config", *flags, environ=environ).stdout.splitlines()
    return {line.split()[0]: re.split(r"\s{2,}", line)[1:] for line in lines}


def test_check_config_shows_where_each_value_came_from(tmp_path):
    path = tmp_path / "my.conf"
    path.write_text("[gathering]\nlog_level = warn\nmax_running = 10\nlog_format = json\n")
    shown = effective("--config", str(path), "--set", "log_format=text", "--output-max", "2KiB",
                      environ={"GATHERING_MAX_RUNNING": "20", "GATHERING_LOG_FORMAT": "json"})
    assert shown["listen"] == ["127.0.0.1:8080", "default"]
    assert shown["log_level"] == ["warn", f"file {path}"]
    assert shown["max_running"] == ["20", "environment GATHERING_MAX_RUNNING"]
    assert shown["log_format"] == ["text", "flag"]
    assert shown["output_max"][1] == "flag"
    assert effective(environ={"GATHERING_CONFIG": str(path)})["log_level"] == ["warn", f"file {path}"]


@pytest.mark.parametrize("flags, environ, status, said", [
    (["--log-level", "loud"], {}, USAGE, "debug info warn error"),
    (["--max-runing", "1"], {}, USAGE, "max_running"),
    ([], {"GATHERING_MAX_RUNNING": "0"}, USAGE, "GATHERING_MAX_RUNNING"),
    (["--set", "quiet=long"], {}, USAGE, "quiet"),
    (["--config", "/no/such.conf"], {}, ERROR, "/no/such.conf"),
    (["stray"], {}, USAGE, "stray"),
])
def test_check_config_refuses(flags, environ, status, said):
    done = local("check-config", *flags, expect=status, environ=environ)
    assert said in done.stderr and done.stdout == ""


# --- migrate ---

def test_migrate_shows_applies_and_is_content(tmp_path, servers):
    url = f"sqlite:{tmp_path}/new.db"
    dry = local("migrate", "--database", url, "--dry-run").stdout.splitlines()
    assert dry and all(line.startswith("would apply 0") for line in dry)
    again = json.loads(local("migrate", "--database", url, "--dry-run", "--json").stdout)
    assert again["dry_run"] is True and again["database"] == url and len(again["migrations"]) == len(dry)
    applied = local("migrate", environ={"GATHERING_DATABASE": url}).stdout.splitlines()
    assert applied == [line.replace("would apply", "applied") for line in dry]
    assert local("migrate", "--database", url).stdout == f"{url} is up to date\n"
    assert local("migrate", "--database", url, "--dry-run").stdout == f"{url} is up to date\n"
    server = servers(database=url).start()
    assert json.loads(server.cli("action", "list", "--json").stdout) == {"items": []}


@pytest.mark.parametrize("url, status", [("mysql://localhost/x", USAGE), ("sqlite:/no/such/folder/x.db", ERROR)])
def test_migrate_a_database_that_cannot_be(url, status):
    done = local("migrate", "--database", url, expect=status)
    assert done.stderr.startswith("gathering: ") and done.stdout == ""


def test_migrate_a_file_that_is_no_database(tmp_path):
    path = tmp_path / "text.db"
    path.write_text("this is not a database\n" * 100)
    for flags in ([], ["--dry-run"]):
        done = local("migrate", "--database", f"sqlite:{path}", *flags, expect=ERROR)
        assert str(path) in done.stderr
    assert path.read_text() == "this is not a database\n" * 100


# --- version ---

def test_version():
    assert re.fullmatch(r"gathering \d+\.\d+\.\d+\n", local("version").stdout)
    assert local("--version").stdout == local("version").stdout
    assert local("version", "--json").stdout.startswith('{"version": "')
