# SPDX-License-Identifier: Apache-2.0
"""run_on_start: once for each start of the service, however many instances it has, and not for a deploy of them."""
import re
import signal

from harness import wait_for
from pg import cluster, clusters  # noqa: F401 (fixtures)
from test_handover import hand_over, heirs  # noqa: F401 (fixture)

ANSWERS = re.compile(r"the service (starts|was running already)")
STARTER = {"kind": "noop", "schedule": {"run_on_start": True}}


def answer(server):
    """What this process was told: starts, or was running already."""
    return wait_for(lambda: ANSWERS.search(server.log), f"what the store says of the start\n{server.log}", timeout=90).group(1)


def starts(server):
    """Of the action `first`: all its runs, which have ended well."""
    wait_for(lambda: all(run["state"] == "succeeded" for run in server.runs("first")), "the runs to end")
    runs = server.runs("first")
    assert {run["trigger"] for run in runs} <= {"start"}
    return len(runs)


def make(servers, cluster, count=1):  # noqa: F811
    """Servers on the cluster that start at the same time."""
    made = [servers(database=cluster.url, log_level="debug").spawn() for _ in range(count)]
    for server in made:
        server.wait_listening()
    return made


def kill_all(made):
    for server in made:
        server.signal(signal.SIGSTOP)  # so that nobody sees another die
    for server in made:
        server.kill()


def test_of_many_instances_that_start_together_one_fires_and_a_rolling_deploy_fires_nothing(clusters, servers):  # noqa: F811
    database = clusters()
    first = make(servers, database)[0]
    assert answer(first) == "starts"
    first.create(name="first", **STARTER)
    assert starts(first) == 0, "an action that came later waits for the next start"
    first.stop()

    together = make(servers, database, 3)
    assert sorted(answer(server) for server in together) == ["starts", "was running already", "was running already"]
    assert starts(together[0]) == 1

    fresh = make(servers, database, 3)
    for old, new in zip(together, fresh):
        old.stop()  # some of the new ones may not have been answered yet: who leaves vouches for the service
        answer(new)
    assert [answer(server) for server in fresh] == ["was running already"] * 3
    assert starts(fresh[0]) == 1

    kill_all(fresh)
    again = make(servers, database, 2)
    assert sorted(answer(server) for server in again) == ["starts", "was running already"]
    assert starts(again[0]) == 2
    for server in again:
        server.stop()


def test_a_restart_of_the_only_server_is_a_start_and_its_handover_is_not(servers):
    server = servers(log_level="debug").start()
    assert answer(server) == "starts"
    server.create(name="first", **STARTER)
    server.create(name="paused", **STARTER)
    server.post("/api/v1/actions/paused/pause")
    server.stop()

    server.start()
    assert answer(server) == "starts"
    assert starts(server) == 1
    assert [(run["state"], run["reason"]) for run in server.runs("paused")] == [("skipped", "paused")]
    hand_over(server)
    wait_for(lambda: "was running already" in server.log, "the successor to be told")
    assert starts(server) == 1
    server.kill()

    server.start()
    assert answer(server) == "starts"
    assert starts(server) == 2
    server.stop()
