# SPDX-License-Identifier: Apache-2.0
"""Answers that go on: output that is followed while it comes, events; who leaves, who does not read, and the stop."""
import signal
import socket
import subprocess

import pytest

from calls import local
from harness import BINARY, free_port, shell, wait_for
from streams import Stream, open_streams

# Writes a line, then waits until the test has made the file.
STEP = "until [ -e {0} ]; do sleep 0.05; done; "


def steps(folder, *texts):
    """A program that prints the texts, each but the first when the file of its number is there."""
    return "; ".join((STEP.format(f"{folder}/go{n}") if n else "") + f"printf '%b' '{text}'" for n, text in enumerate(texts))


def go(folder, n):
    (folder / f"go{n}").touch()


def follow_path(run_id, more=""):
    return f"/api/v1/runs/{run_id}/output?follow=1{more}"


@pytest.fixture
def running(servers):
    return servers(exec_enabled=True, notice_max="0s", run_max="0s").start()


def run_now(server, name="job"):
    return server.post(f"/api/v1/actions/{name}/run").json["id"]


def test_output_is_followed_while_it_comes_to_the_end_of_the_run(running, tmp_path):
    running.create(name="job", **shell(steps(tmp_path, "one\\n", "tw\\0303", "\\0251\\n", "four\\n") + "; exit 7"))
    run = run_now(running)
    events, plain = Stream(running, follow_path(run)), Stream(running, follow_path(run), accept="text/plain")
    assert plain.answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    events.wait_output("one\n")
    wait_for(lambda: "one\n" in plain.text, "the first line as text")
    assert not events.named("end") and not events.has_ended
    go(tmp_path, 1)
    events.wait_output("tw")
    go(tmp_path, 2)  # the second half of a character
    events.wait_output("twé\n")
    events.leave()
    back = Stream(running, follow_path(run), last_id=events.events[-1][2])  # goes on where it was
    go(tmp_path, 3)
    end = back.wait("end")
    back.wait_end()
    assert back.output() == "four\n"
    assert (end["state"], end["exit_code"], end["attempt"]) == ("failed", 7, 1)
    plain.wait_end()
    assert wait_for(lambda: plain.text.endswith("four\n") and plain.text, "all as text") == "one\ntwé\nfour\n"
    again = Stream(running, follow_path(run))  # it has ended: all at once
    again.wait("end")
    assert again.output() == "one\ntwé\nfour\n"
    wait_for(lambda: open_streams(running) == 0, "streams that have ended to be counted down")


def test_a_value_that_is_secret_is_redacted_across_two_writes(servers, tmp_path):
    key = tmp_path / "secret.key"
    key.touch(0o600)
    key.write_text(local("secret", "keygen").stdout)
    server = servers(secret_key_file=str(key), exec_enabled=True, notice_max="0s").start()
    assert server.request("PUT", "/api/v1/secrets/TOKEN", {"value": "hush-hush"}).status == 204
    command = "printf 'a hush-'; " + STEP.format(f"{tmp_path}/go1") + "printf 'hush b'; " + STEP.format(f"{tmp_path}/go2") + "echo $T"
    server.create(name="job", kind="exec", exec={"shell": True, "command": command, "env": {"T": "{{secret.TOKEN}}"}})
    stream = Stream(server, follow_path(run_now(server)))
    stream.wait_output("a ")
    go(tmp_path, 1)
    stream.wait_output("b")
    go(tmp_path, 2)
    stream.wait("end")
    assert stream.output() == "a [redacted] b[redacted]\n"
    assert "hush" not in stream.text


def test_what_is_forgotten_before_it_is_read_has_a_mark(servers, tmp_path):
    server = servers(exec_enabled=True, output_max=4096, notice_max="0s").start()
    server.create(name="job", **shell(steps(tmp_path, "begin\\n", "end\\n").replace("until", "seq 1 20000; until", 1)))
    run = run_now(server)
    wait_for(lambda: server.get(f"/api/v1/runs/{run}/output").body.decode().endswith("\n20000\n"), "all that it writes at first")
    stream = Stream(server, follow_path(run))
    stream.wait_output("\n20000\n")
    go(tmp_path, 1)
    stream.wait("end")
    left_out = sum(data.get("left_out", 0) for data in stream.named("output"))
    total = len("begin\n" + "".join(f"{n}\n" for n in range(1, 20001)) + "end\n")
    assert left_out > 0 and len(stream.output()) + left_out == total
    assert stream.output().startswith("begin\n1\n2\n") and stream.output().endswith("\n20000\nend\n")
    kept = Stream(server, follow_path(run), accept="text/plain")
    kept.wait_end()
    assert kept.text.count(" bytes left out ...]\n") == 1 and kept.text.startswith("begin\n") and kept.text.endswith("\nend\n")


def test_a_run_that_has_not_begun_is_awaited_and_every_attempt_is_told(running, tmp_path):
    running.create(name="job", overlap="queue", retry={"max_attempts": 2, "initial": "100ms"},
                   **shell(STEP.format(f"{tmp_path}/go1") + "echo attempt $GATHERING_ATTEMPT; [ $GATHERING_ATTEMPT = 2 ]"))
    first = run_now(running)
    wait_for(lambda: running.runs("job", state="running"), "the first to run")  # while it waits there is no room for another
    second = run_now(running)
    stream = Stream(running, follow_path(second))
    assert stream.wait("state")["state"] == "pending"
    only = Stream(running, follow_path(second, "&attempt=2"))
    go(tmp_path, 1)
    assert stream.wait("end")["state"] == "succeeded"
    assert [data["state"] for data in stream.named("state")][0] == "pending"
    assert stream.output() == "attempt 1\nattempt 2\n"
    assert [data["attempt"] for data in stream.named("output")] == [1, 2]
    only.wait("end")
    assert only.output() == "attempt 2\n"
    assert running.wait_run(first)["state"] == "succeeded"
    done = running.cli("run", "logs", "-f", second, "--attempt", "1")
    assert done.stdout == "attempt 1\n"


def test_a_client_that_leaves_is_noticed_and_head_opens_nothing(running, tmp_path):
    running.create(name="job", **shell(steps(tmp_path, "one\\n", "two\\n")))
    path = follow_path(run_now(running))
    streams = [Stream(running, path) for _ in range(5)]
    assert open_streams(running) == 5
    for stream in streams[:4]:
        stream.leave()
    wait_for(lambda: open_streams(running) == 1, "four to be counted down, with nothing to write to them")
    head = running.request("HEAD", path)
    assert head.status == 200 and head.body == b"" and open_streams(running) == 1
    go(tmp_path, 1)
    streams[4].wait("end")
    assert streams[4].output() == "one\ntwo\n"


def test_streams_too_many_are_refused(servers, tmp_path):
    server = servers(exec_enabled=True, streams_max=3, streams_per_address=2, notice_max="0s").start()
    server.create(name="job", **shell(steps(tmp_path, "one\\n", "two\\n")))
    path = follow_path(run_now(server))
    first, _ = Stream(server, path), Stream(server, path)
    refused = server.get(path)
    assert refused.status == 429 and refused.json["code"] == "rate_limited" and "streams_per_address" in refused.json["detail"], refused
    first.leave()
    wait_for(lambda: open_streams(server) == 1, "room")
    Stream(server, path)
    go(tmp_path, 1)


def test_the_command_line_goes_on_at_the_next_server_and_after_its_death(servers, tmp_path):
    """Three processes one after the other on one address: stopped while the run is followed, then killed."""
    listen = f"127.0.0.1:{free_port()}"
    first = servers(exec_enabled=True, listen=listen, notice_max="0s", run_max="0s").start()
    command = (f"echo attempt $GATHERING_EPOCH >> {tmp_path}/begun; echo begin $GATHERING_EPOCH; "
               + "[ $GATHERING_EPOCH = 3 ] || sleep 600; echo done; exit 3")
    first.create(name="job", retry={"max_attempts": 1}, **shell(command))
    run = run_now(first)
    with open(tmp_path / "told", "wb") as told, open(tmp_path / "said", "wb") as said:
        client = subprocess.Popen([BINARY, "--server", listen, "run", "logs", "--follow", run], stdout=told, stderr=said)
    try:
        wait_for(lambda: (tmp_path / "told").read_text() == "begin 1\n", "the first attempt")
        first.stop(3)
        second = servers(exec_enabled=True, listen=listen).start()
        wait_for(lambda: (tmp_path / "told").read_text() == "begin 1\nbegin 2\n", "the second")
        second.kill()
        servers(exec_enabled=True, listen=listen).start()
        assert client.wait(60) == 1, (tmp_path / "said").read_text()
    finally:
        client.kill()
        client.wait()
    assert (tmp_path / "told").read_text() == "begin 1\nbegin 2\nbegin 3\ndone\n"
    assert "failed" in (tmp_path / "said").read_text()


def test_a_stop_closes_streams_with_a_last_event_one_after_the_other(servers, tmp_path):
    """200 of them."""
    server = servers(exec_enabled=True, notice_max="0s", close_spread="3s", run_max="0s", http_max="100s", total_max="200s").start()
    server.create(name="job", **shell(steps(tmp_path, "one\\n", "never\\n")))
    path = follow_path(run_now(server))
    streams = [Stream(server, path) for _ in range(200)]
    for stream in streams:
        stream.wait_output("one\n")
    assert open_streams(server) == 200
    server.signal(signal.SIGTERM)
    for stream in streams:
        stream.wait_end()
    server.wait()
    for stream in streams:
        name, data, _, _ = stream.events[-1]
        assert (name, data) == ("closing", {"reason": "shutting_down"}) and stream.broke is None
        assert "retry: 1000\n" in stream.text
    # by the server's clock: the last one goes after 199/200 of the time; clients may hear of it late, in a bunch
    took = server.stop_events["http_drained"] - server.stop_events["listener_closed"]
    assert took >= 2900, server.log
    assert "requests cut" not in server.log


def test_a_reader_that_never_reads_is_cut_off_and_disturbs_nobody(servers, tmp_path):
    server = servers(exec_enabled=True, output_max="16MiB", stream_heartbeat="3s", notice_max="0s", run_max="0s").start()
    server.create(name="job", **shell("seq 1 1200000; " + STEP.format(f"{tmp_path}/go1")))
    path = follow_path(run_now(server))
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect((server.host, server.port))
        deaf.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        other = Stream(server, path, accept="text/plain")
        wait_for(lambda: other.text.endswith("\n1200000\n"), "one that reads gets all of 8 MB, whatever the other does")
        wait_for(lambda: open_streams(server) == 1, "the other is cut off")
    go(tmp_path, 1)
    other.wait_end()
    assert other.broke is None


def test_events_tell_what_changes_and_who_comes_back_misses_none(running):
    stream = Stream(running, "/api/v1/stream")
    assert stream.wait("hello") == {}
    running.create(name="job", **shell("true"))
    running.create(name="other", **shell("true"))
    stream.wait("action.changed", 2)
    here = stream.events[-1][2]
    stream.leave()
    run = running.wait_run(run_now(running))
    running.wait_run(run_now(running, "other"))
    running.post("/api/v1/actions/job/pause")
    back = Stream(running, "/api/v1/stream?action=job", last_id=here)
    wait_for(lambda: run in back.named("run.finished"), f"the run as it ended; {back.events}")
    assert back.wait("action.changed")["state"] == "paused"
    assert not back.named("reset") and not back.named("hello")
    assert {data["action"] for name in ("run.started", "run.pending", "run.finished") for data in back.named(name)} == {"job"}
    lost = Stream(running, "/api/v1/stream", last_id=here.split(".")[0] + ".99999")
    lost.wait("reset")
    for bad, status in (("kind=nothing", 400), ("action=nobody", 404)):
        assert running.get(f"/api/v1/stream?{bad}").status == status
    running.stop()
    back.wait_end()
    assert back.events[-1][:2] == ("closing", {"reason": "shutting_down"})


def test_what_is_too_large_for_an_event_is_told_in_brief(servers):
    """Also when it is larger than all that may wait for a listener."""
    server = servers(exec_enabled=True, stream_buffer="128KiB", notice_max="0s").start()
    stream = Stream(server, "/api/v1/stream")
    stream.wait("hello")
    large = server.create(name="large", kind="http", http={"url": "http://127.0.0.1:9/", "body": "x" * 200 * 1024})
    assert stream.wait("action.changed") == {"id": large["id"], "name": "large", "state": "active", "is_brief": True}
    small = server.create(name="small", **shell("true"))
    assert stream.wait("action.changed", 2)["exec"] == small["exec"]
    assert not stream.named("closing") and not stream.has_ended
