# SPDX-License-Identifier: Apache-2.0
"""Exactly once, with 2 and 5 instances, and with instances that are killed all the time."""
import threading
import time

import pytest

from gang import Gang, psql
from harness import seeded
from pg import cluster, clusters  # noqa: F401 (fixtures)

LOAD_S = 60
KILLS = 8
KILL_EVERY_S = 3

# The locks of shards divide the work and must not carry correctness: with this nobody takes one, and everybody looks
# after every action.
NO_SHARDS = """DO $$ DECLARE
    before text := pg_get_functiondef('gathering.balance'::regproc);
    after text := replace(replace(before, 'pg_try_advisory_lock(1198811253, s)', 'true'),
        'ceil(64.0 / greatest(ret_members, 1))', '64');
BEGIN
    ASSERT length(after) < length(before) - 40, 'gathering.balance is not what it was';
    EXECUTE after;
END $$"""


@pytest.fixture
def gangs(servers, cluster, tmp_path):  # noqa: F811
    """Makes gangs, each on a database of its own in the file's cluster."""
    def make(**options):
        name = f"t{time.monotonic_ns()}"
        cluster.sql(f"CREATE DATABASE {name}")
        return Gang(servers, tmp_path, cluster.url.rsplit("/", 1)[0] + "/" + name, **options)

    return make


def assert_shared(runs, count):
    """Nobody is idle: each has at least a sixth of a fair share."""
    shares = {}
    for run in runs:
        if run["state"] == "succeeded":
            shares[run["instance_id"]] = shares.get(run["instance_id"], 0) + 1
    print(f"{count} instances:", sorted(shares.values()))
    assert len(shares) == count and min(shares.values()) >= sum(shares.values()) / count / 6, shares


def test_every_due_time_is_run_once_by_2_and_by_5_instances_that_share_the_work(gangs):
    """The two look after all actions both, the five after their shards."""
    rng = seeded()
    both = {count: gangs() for count in (2, 5)}
    both[2].start(1)
    psql(both[2].url, NO_SHARDS)
    both[2].start(1)
    both[5].start(5)
    for gang in both.values():
        gang.schedule(rng, longest_s=0.3)
    time.sleep(LOAD_S)  # the load, not a wait for an effect
    settlers = [threading.Thread(target=gang.settle) for gang in both.values()]
    for one in settlers:
        one.start()
    for one in settlers:
        one.join()
    for count, gang in both.items():
        runs = gang.assert_exactly_once()
        assert len(runs) >= 6 * (LOAD_S - 1)
        assert_shared(runs, count)


def test_kill_9_every_3_seconds_leaves_one_run_for_each_due_time_and_none_unfinished(gangs):
    rng = seeded()
    gang = gangs(lease="10s", heartbeat="500ms")
    gang.start(3)
    gang.schedule(rng, longest_s=1.0)  # long enough to be hit, too short to be hit four times
    for _ in range(KILLS):
        began = time.monotonic()
        rng.choice(gang.running()).kill()
        gang.start()
        time.sleep(max(0, KILL_EVERY_S - (time.monotonic() - began)))
    gang.wait_effects(12)
    gang.settle()
    runs = gang.assert_exactly_once(interrupted=True)
    interrupted = [run for run in runs if run["interruptions"] > 0]
    print(f"{len(runs)} runs, {len(interrupted)} of them interrupted")
    assert interrupted  # else nothing was proven
