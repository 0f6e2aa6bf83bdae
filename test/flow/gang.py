# SPDX-License-Identifier: Apache-2.0
"""Several servers on one PostgreSQL database, and programs that write down what they do, so that doubling and overlap are
seen by the effect and not only in the ledger.

Each attempt appends two lines to one file (O_APPEND, one write each): `start TIME DUE ATTEMPT EPOCH ACTION KEY`, then `end ...`. While it
lives it holds a lock on a file of its run; who finds that taken writes `overlap` instead of `start`.

GATHERING_CLUSTER_SQL is run in each database once it has its schema: it switches a rule off, so that these tests can be
seen to fail. doc/design/storage.md tells with what they were.
"""
import json
import os
import subprocess
import time

from harness import wait_for
from test_scheduling import assert_every_due_time_once, at_ms

PROGRAM = """#!/bin/sh
exec 9>>"{folder}/run-$GATHERING_RUN_ID"
word=start
flock -n 9 || word=overlap
who="$(date +%s.%N) $GATHERING_DUE_AT $GATHERING_ATTEMPT $GATHERING_EPOCH $GATHERING_ACTION $GATHERING_IDEMPOTENCY_KEY"
echo "$word $who" >>"{folder}/effects"
[ -z "$1" ] || sleep "$1"
echo "end $who" >>"{folder}/effects"
"""
EVERY_S = 10  # an action; many seldom ones rather than few frequent ones, so that shards can be shared fairly


def psql(url, text):
    """The only value of the result, as text."""
    done = subprocess.run(["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", url, "-c", text], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class Effect:
    def __init__(self, line):
        self.word, began, self.due, attempt, epoch, self.action, self.key = line.split()
        self.began_s, self.attempt, self.epoch = float(began), int(attempt), int(epoch)


class Gang:
    def __init__(self, make, folder, url, **options):
        self.make, self.url = make, url
        self.options = {"database": url, "exec_enabled": True, "max_running_exec": 100, **options}
        self.folder = os.path.join(folder, f"gang-{time.monotonic_ns()}")
        os.mkdir(self.folder)
        self.program = os.path.join(self.folder, "program")
        with open(self.program, "w", encoding="utf-8") as file:
            file.write(PROGRAM.format(folder=self.folder))
        os.chmod(self.program, 0o755)
        self.servers = []
        self.names = []

    def spawn(self, **more):
        """Another server, not waited for."""
        self.servers.append(self.make(**{**self.options, **more}).spawn())
        return self.servers[-1]

    def start(self, count=1, **more):
        """-> the new servers, which answer."""
        made = [self.spawn(**more) for _ in range(count)]
        for server in made:
            server.wait_listening()
        for server in made:
            wait_for(lambda: server.get("/health/startup").status == 200, f"a start\n{server.log}", timeout=60)
        if made == self.servers and "GATHERING_CLUSTER_SQL" in os.environ:
            psql(self.url, os.environ["GATHERING_CLUSTER_SQL"])
        return made

    def running(self):
        return [server for server in self.servers if server.process.poll() is None]

    def any(self):
        return self.running()[0]

    # --- work ---

    def run_program(self, seconds=None):
        return {"kind": "exec", "exec": {"command": [self.program] + ([str(seconds)] if seconds is not None else [])}}

    def schedule(self, rng, per_second=6, longest_s=0.0, prefix="a"):
        """So many due times a second, at random phases; the programs take up to `longest_s`."""
        items = []
        for n in range(per_second * EVERY_S):
            anchor = rng.randrange(EVERY_S * 1000)
            more = self.run_program(round(rng.uniform(0, longest_s), 2) if longest_s else None)
            items.append({"name": f"{prefix}{n}", "overlap": "allow", "misfire": "all", "on_interrupt": "retry", **more,
                          "schedule": {"every": f"{EVERY_S}s", "anchor": f"2020-01-01T00:00:{anchor // 1000:02}.{anchor % 1000:03}Z"}})
        answer = self.any().post("/api/v1/actions", {"items": items})
        assert answer.status == 201, answer
        self.names += [item["name"] for item in items]
        self.scheduled_at_s = time.monotonic()

    def effects(self):
        path = os.path.join(self.folder, "effects")
        if not os.path.exists(path):
            return []
        with open(path, encoding="utf-8") as file:
            return [Effect(line) for line in file.read().splitlines(keepends=True) if line.endswith("\n")]

    def wait_effects(self, more, word="start", timeout=60):
        """Until there are so many more lines than now."""
        count = sum(e.word == word for e in self.effects())
        wait_for(lambda: sum(e.word == word for e in self.effects()) >= count + more, f"{more} more programs\n{self.any().log[-3000:]}",
                 timeout=timeout)

    def settle(self, timeout=90):
        """No due time is claimed any more, and nothing is pending or running."""
        server = self.any()
        self.scheduled_s = time.monotonic() - self.scheduled_at_s
        for name in self.names:
            wait_for(lambda: server.post(f"/api/v1/actions/{name}/pause").status == 200, "the pause", timeout)
        wait_for(lambda: not server.runs(state="pending,running"), "the last runs", timeout)

    # --- proof ---

    def ledger(self):
        """Every run with its attempts, from the tables themselves."""
        text = psql(self.url, """
            SELECT coalesce(json_agg(t), '[]') FROM (
                SELECT r.id, a.name AS action, r.due_at, r.missed_until, r.triggered_by, r.state, r.reason, r.epoch, r.attempt,
                       r.interruptions, r.instance_id, (SELECT coalesce(json_agg(t ORDER BY t.epoch), '[]') FROM gathering.attempt t
                       WHERE t.run_id = r.id) AS attempts
                FROM gathering.run r JOIN gathering.action a ON a.id = r.action_id ORDER BY r.due_at) t""")
        return json.loads(text)

    def lags(self):
        """Seconds from each due time to the moment its program looked at the clock of this machine."""
        return [effect.began_s - at_ms(effect.due) / 1000 for effect in self.effects() if effect.word == "start"]

    def assert_exactly_once(self, interrupted=False):
        """After settle(): each due time has one row, each row was carried out, once unless it was interrupted, and never
        twice at a time. -> the runs"""
        runs = self.ledger()
        started, ended = {}, {}
        for effect in self.effects():
            assert effect.word != "overlap", f"two at a time: {vars(effect)}"
            (started if effect.word == "start" else ended).setdefault((effect.action, effect.key), []).append(effect)
        for name in self.names:
            rows = [run for run in runs if run["action"] == name and run["triggered_by"] == "schedule"]
            if rows or self.scheduled_s > EVERY_S:  # else its first due time may still have been to come
                assert_every_due_time_once(rows, EVERY_S * 1000)
        ran = [run for run in runs if run["reason"] != "paused"]
        for run in ran:
            assert_consistent(run, interrupted)
        assert len(ran) == len(started), f"{len(ran)} runs in the ledger, {len(started)} by effect"
        for key, effects in started.items():
            assert len({effect.epoch for effect in effects}) == len(effects), f"an epoch twice: {key}"
            assert interrupted or len(effects) == 1, f"{len(effects)} times: {key}"
        unended = [key for key in started if not ended.get(key)]
        assert len(unended) <= sum(is_given_up(run) for run in ran), f"never carried out to its end: {unended}"
        return runs


def is_given_up(run):
    """Killed four times in a row, which is bad luck in a test and the rule (INTERRUPTIONS_MAX): the fourth one fails it."""
    return (run["state"], run["reason"], run["interruptions"]) == ("failed", "owner_lost", 3)


def assert_consistent(run, interrupted):
    """A run against its attempts: the last one is the result, those before were interruptions, epochs ascend."""
    attempts = run["attempts"]
    if interrupted and is_given_up(run):
        assert len(attempts) <= 4 and "succeeded" not in {a["outcome"] for a in attempts}, run
        return
    assert run["state"] == "succeeded", run
    assert attempts and attempts[-1]["outcome"] == "succeeded" and attempts[-1]["epoch"] == run["epoch"], run
    assert {a["outcome"] for a in attempts[:-1]} <= {"interrupted"}, run
    assert run["attempt"] == attempts[-1]["attempt"] == 1, run  # an interruption does not use up an attempt
    # each attempt before the last was an interruption; what was handed back before it began left an epoch only
    assert len(attempts) - 1 <= run["interruptions"] <= run["epoch"] - 1, run
    assert interrupted or run["interruptions"] == 0, run
