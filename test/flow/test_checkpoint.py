# SPDX-License-Identifier: Apache-2.0
"""Checkpoints and progress of real programs: seen while they run, and not lost with the server."""
import os
import re
import signal

import pytest

from harness import wait_for
from pg import cluster  # noqa: F401 (a fixture)

# Goes on from its checkpoint and counts to 6. It stops for good at 3, unless it has begun behind that.
COUNTER = """
from=$(cat $GATHERING_CHECKPOINT_FILE 2>/dev/null || echo 0)
echo "from $from"
for i in $(seq $((from + 1)) 6); do
    echo "$i $GATHERING_EPOCH" >> {folder}/steps
    echo $i > $GATHERING_CHECKPOINT_FILE.new && mv $GATHERING_CHECKPOINT_FILE.new $GATHERING_CHECKPOINT_FILE
    echo "$((i * 100 / 6))% step $i" > $GATHERING_PROGRESS_FILE
    while [ $i = 3 ]; do sleep 0.05; done
done
"""


def create_counter(server, folder, **more):
    return server.create(name="counter", kind="exec", exec={"shell": True, "command": COUNTER.format(folder=folder)}, **more)


def wait_for_step_3(server, run_id):
    def noted():
        run = server.get(f"/api/v1/runs/{run_id}").json
        return run if (run["progress"] or {}).get("message") == "step 3" and run.get("checkpoint_bytes") == 2 else None
    return wait_for(noted, "step 3 to be noted")


def steps(folder):
    with open(os.path.join(folder, "steps"), encoding="ascii") as file:
        return [int(line.split()[0]) for line in file]


def private_files(folder):
    return [os.path.join(at, name) for at, _, names in os.walk(os.path.join(folder, "gathering.state")) for name in names]


def test_after_kill_9_the_next_start_goes_on_from_the_checkpoint(servers, tmp_path):
    server = servers(exec_enabled=True).start()
    create_counter(server, tmp_path)
    run = server.post("/api/v1/actions/counter/run").json
    seen = wait_for_step_3(server, run["id"])
    assert seen["state"] == "running"
    assert seen["progress"] == {"percent": 50, "message": "step 3"}
    server.kill()
    server.start()
    ended = server.wait_run(run["id"])
    assert (ended["state"], ended["attempt"], ended["interruptions"]) == ("succeeded", 1, 1), ended
    assert ended["progress"] == {"percent": 100, "message": "step 6"}
    assert "checkpoint_bytes" not in ended
    assert steps(tmp_path) == [1, 2, 3, 4, 5, 6]
    assert server.get(f"/api/v1/runs/{run['id']}/output").body == b"from 3\n"
    server.stop()
    assert private_files(server.folder) == []


def crash(server):
    server.kill()


def deploy(server):
    server.stop(expect=3)  # it is handed back, as it would take longer than run_max


@pytest.mark.parametrize("end", [crash, deploy])
def test_after_a_crash_or_a_deploy_another_instance_goes_on_from_the_checkpoint(servers, tmp_path, cluster, end):  # noqa: F811
    cluster.sql("DROP SCHEMA IF EXISTS gathering CASCADE")
    first = servers(database=cluster.url, exec_enabled=True, lease="10s", heartbeat="1s", run_max="300ms").start()
    create_counter(first, tmp_path)
    run = first.post("/api/v1/actions/counter/run").json
    wait_for_step_3(first, run["id"])
    second = servers(database=cluster.url, exec_enabled=True, lease="10s", heartbeat="1s").start()
    assert wait_for_step_3(second, run["id"])["instance_id"] == first.id
    end(first)
    ended = second.wait_run(run["id"])
    assert (ended["state"], ended["attempt"], ended["interruptions"]) == ("succeeded", 1, 1), ended
    assert ended["instance_id"] == second.id
    assert steps(tmp_path) == [1, 2, 3, 4, 5, 6]
    second.stop()


def test_a_failed_run_that_is_retried_by_hand_goes_on_from_its_checkpoint(servers):
    server = servers(exec_enabled=True).start()
    server.create(name="once", kind="exec", exec={"shell": True, "command": (
        "cat $GATHERING_CHECKPOINT_FILE 2>/dev/null && exit 0; echo here > $GATHERING_CHECKPOINT_FILE; exit 7")})
    run = server.wait_run(server.post("/api/v1/actions/once/run").json["id"])
    assert (run["state"], run["exit_code"], run["checkpoint_bytes"]) == ("failed", 7, 5)
    again = server.wait_run(server.post(f"/api/v1/runs/{run['id']}/retry").json["id"])
    assert again["state"] == "succeeded"
    assert server.get(f"/api/v1/runs/{again['id']}/output").body == b"here\n"


def test_a_program_learns_that_the_server_stops_and_until_when_it_may_finish(servers):
    server = servers(exec_enabled=True, run_max="30s", total_max="60s").start()
    server.create(name="polite", kind="exec", exec={"shell": True, "command": (
        "echo 1 > $GATHERING_PROGRESS_FILE; while ! cat $GATHERING_FINISH_BY_FILE 2>/dev/null; do sleep 0.05; done")})
    run = server.post("/api/v1/actions/polite/run").json
    wait_for(lambda: server.get(f"/api/v1/runs/{run['id']}").json["progress"], "the program to be up")
    server.signal(signal.SIGTERM)
    assert server.wait() == 0, server.log
    server.start()
    assert server.get(f"/api/v1/runs/{run['id']}").json["state"] == "succeeded"
    output = server.get(f"/api/v1/runs/{run['id']}/output").body.decode()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z\n", output), output
