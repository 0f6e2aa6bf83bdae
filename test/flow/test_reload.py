# SPDX-License-Identifier: Apache-2.0
"""SIGHUP: the configuration is read again; what may change does, what may not is named, what is wrong changes
nothing."""
import os
import signal
import socket

import pytest

from harness import shell, wait_for, wait_lines


@pytest.fixture
def configured(servers, tmp_path):
    """A server with a configuration file beside its flags, and a way to change it."""
    file = tmp_path / "gathering.conf"

    def make(text, **options):
        server = servers(**options)
        server.environ["GATHERING_CONFIG"] = str(file)
        server.reloads = 0
        file.write_text("[gathering]\n" + text)

        def reload(new, words):
            file.write_text("[gathering]\n" + new)
            server.reloads += 1
            server.signal(signal.SIGHUP)
            wait_for(lambda: server.log.count("reloaded") + server.log.count("reload refused") == server.reloads, "the reload")
            for word in words:
                assert word in server.log, server.log
        server.reload = reload
        return server.start()
    return make


def test_a_live_option_changes_and_another_is_named(configured):
    server = configured("rate_health = 5\nlog_level = info\n")
    while server.get("/health").status == 200:
        pass
    server.reload("rate_health = 0\nlog_level = debug\nconnections_max = 77\n",
                  ["option changed option=rate_health from=5 to=0", "option changed option=log_level from=info to=debug",
                   "option waits for a restart option=connections_max from=1024 to=77", "reloaded waiting_for_restart=1"])
    assert {server.get("/health").status for _ in range(20)} == {200}
    server.stop()
    assert " debug " in server.log


def test_a_password_that_changes_is_not_logged(configured):
    server = configured("sql_databases = a=postgresql://u:first@h/d\n")
    server.reload("sql_databases = a=postgresql://u:second@h/d\n",
                  ["option waits for a restart option=sql_databases from=\"a=postgresql://u:***@h/d\" to=\"a=postgresql://u:***@h/d\""])
    server.stop()
    assert "first" not in server.log and "second" not in server.log


def test_the_limits_of_a_stop_can_be_changed_before_it(configured):
    server = configured("notice_min = 600s\nnotice_max = 600s\ntotal_max = 1000s\n")
    server.reload("notice_min = 0s\nnotice_max = 1s\ntotal_max = 20s\n", ["option=notice_max from=10m to=1s"])
    server.stop()


@pytest.mark.parametrize("text, words", [
    ("notice_mni = 1s\n", ["notice_mni", "notice_min"]),
    ("log_level = loud\n", ["log_level", "debug"]),
    ("notice_min = 20s\nnotice_max = 10s\n", ["notice_min", "is above notice_max"]),
    ("[other]\nx = 1\n", ["[other]"]),
], ids=["unknown_option", "unknown_word", "contradiction", "unknown_section"])
def test_a_configuration_that_is_wrong_changes_nothing(configured, text, words):
    server = configured("log_level = info\n")
    server.reload("log_level = debug\n" + text, ["reload refused: the old configuration stays", *words])
    assert server.get("/health/ready").status == 200
    server.reload("log_level = info\n", ["reloaded waiting_for_restart=0"])
    assert "option changed" not in server.log
    server.stop()


def test_live_values_that_contradict_one_that_waits_are_refused(configured):
    """The lease waits for a restart: with the old one the new heartbeat would come too seldom."""
    server = configured("lease = 30s\nheartbeat = 5s\n")
    server.reload("lease = 90s\nheartbeat = 20s\n", ["reload refused", "lease (30s) must be at least twice heartbeat (20s)"])
    server.stop()


def test_room_that_a_reload_makes_is_taken_at_once_and_room_it_takes_is_given_back(configured, tmp_path):
    """Four programs wait; one may run, then three, then one again: who runs goes on, and nobody is added."""
    conf = "exec_enabled = true\nmax_running_exec = {}\n"
    server = configured(conf.format(1))
    server.create(name="long", overlap="allow", **shell("echo $$ >> up; while ! [ -e go ]; do sleep 0.05; done"))
    runs = [server.post("/api/v1/actions/long/run").json["id"] for _ in range(4)]
    wait_lines(tmp_path / "up", "the first program")
    assert len(server.runs(state="running")) == 1
    server.reload(conf.format(3), ["option=max_running_exec from=1 to=3"])
    wait_lines(tmp_path / "up", "two more", 3)
    server.reload(conf.format(1), ["option=max_running_exec from=3 to=1"])
    assert len(server.runs(state="running")) == 3 and len(server.runs(state="pending")) == 1
    (tmp_path / "go").touch()
    for run in runs:
        ended = server.wait_run(run)
        assert (ended["state"], ended["attempt"], ended["interruptions"]) == ("succeeded", 1, 0)
    server.stop()


def test_a_grace_that_is_shortened_holds_for_programs_that_run(configured, tmp_path):
    server = configured("exec_enabled = true\nterm_grace = 10m\nrun_max = 100ms\ntotal_max = 20m\n")
    server.create(name="stubborn", **shell("trap '' TERM; echo up > up; while :; do sleep 0.05; done"))
    server.post("/api/v1/actions/stubborn/run")
    wait_lines(tmp_path / "up", "the program")
    server.reload("exec_enabled = true\nterm_grace = 100ms\nrun_max = 100ms\ntotal_max = 20m\n", ["option=term_grace from=10m to=100ms"])
    server.stop(expect=3)


def test_a_missing_file_changes_nothing(configured, tmp_path):
    server = configured("log_level = info\n")
    os.unlink(tmp_path / "gathering.conf")
    server.signal(signal.SIGHUP)
    wait_for(lambda: "reload refused" in server.log and "gathering.conf" in server.log, "the refusal")
    assert server.get("/health/ready").status == 200
    server.stop()


def test_flags_stay_above_the_file(configured):
    server = configured("http_max = 1s\n", http_max="7s")
    server.reload("http_max = 2s\n", ["reloaded waiting_for_restart=0"])
    assert "option=http_max" not in server.log
    server.stop()


def test_no_reload_while_stopping(configured):
    server = configured("", notice_min="2s")
    server.signal(signal.SIGTERM)
    wait_for(lambda: "to=draining" in server.log, "the drain")
    server.signal(signal.SIGHUP)
    wait_for(lambda: "SIGHUP ignored state=draining" in server.log, "the refusal")
    assert server.wait() == 0


def test_the_log_file_is_opened_anew(servers, tmp_path):
    file = tmp_path / "server.log"
    server = servers(log_file=str(file)).spawn()
    wait_for(lambda: file.exists() and "to=ready" in file.read_text(), "the start")
    file.rename(tmp_path / "server.log.1")
    server.signal(signal.SIGHUP)
    wait_for(lambda: file.exists() and "reloaded" in file.read_text(), "the new file")
    assert "reloaded" not in (tmp_path / "server.log.1").read_text()
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert "exit status=0" in file.read_text() and server.log == ""


def test_the_service_manager_is_told_of_a_reload(configured, tmp_path):
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.bind(str(tmp_path / "notify"))
    notify.settimeout(30)
    server = configured("", environ={"NOTIFY_SOCKET": str(tmp_path / "notify")})
    server.reload("", [])
    heard = []
    while not heard or "RELOADING=1" not in heard[-1]:
        heard.append(notify.recv(4096).decode())
    assert "MONOTONIC_USEC=" in heard[-1]
    while "READY=1" not in heard[-1]:
        heard.append(notify.recv(4096).decode())
    server.stop()
    notify.close()
