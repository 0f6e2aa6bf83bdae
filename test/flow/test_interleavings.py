# SPDX-License-Identifier: Apache-2.0
"""Random interleavings of signals, requests, due times, database losses and ends of runs, against a small model of
what must come out (LIFECYCLE test 45). A story is some lives of a server on one SQLite file, or of two on one
PostgreSQL; after it everything is let settle and the invariants are looked at:

  answered     a request that was taken is answered, unless a second signal or kill -9 cut it
  durable      what was answered 201 is there after the last start
  due          no due time of the ticking action is missing or doubled
  owners       no run has two programs at a time, no epoch begins twice, and none succeeds that has not ended
  exit         the process ends within total_max, with the status the model allows

GATHERING_TEST_SEED gives a story back; SOAK_SECONDS makes as many as fit (make soak).
"""
import contextlib
import os
import random
import signal
import threading
import time

import pytest

import trouble
from harness import Server, head_of_post, lines_of, seeded, shell, wait_for
from pg import Cluster
from test_scheduling import assert_every_due_time_once

SOAK_S = float(os.environ.get("SOAK_SECONDS", "0"))
STORIES = 5 if os.environ.get("PROVE_WITHOUT") else 1  # chance must not hide a rule that is off
TOTAL_MAX_S = 12
OPTIONS = {"exec_enabled": True, "run_max": "1s", "term_grace": "500ms", "db_max": "2s", "http_max": "3s", "notice_max": "500ms",
           "total_max": f"{TOTAL_MAX_S}s"}
# flock sees a second owner of the run; the lines tell which attempts began and which ended in peace
PROGRAM = ('exec 9>"$FOLDER/lock.$GATHERING_RUN_ID"; flock -n 9 || echo "$GATHERING_RUN_ID" >> "$FOLDER/overlap"; '
           'echo "began $GATHERING_RUN_ID $GATHERING_EPOCH" >> "$FOLDER/said"; sleep 0.$((RANDOM % 10)); '
           'echo "ended $GATHERING_RUN_ID $GATHERING_EPOCH" >> "$FOLDER/said"')


class World:
    """One or two servers on one database, and what was done to them."""

    def __init__(self, folder, rng, cluster=None):
        self.folder, self.rng, self.cluster = str(folder), rng, cluster
        os.makedirs(self.folder, exist_ok=True)
        self.servers, self.lost, self.created, self.history = [], [], [], []
        self.threads, self.lock = [], threading.Lock()
        for n in range(2 if cluster else 1):
            home = os.path.join(self.folder, f"home{n}")
            os.makedirs(home)
            place = cluster.url if cluster else f"sqlite:{self.folder}/g.db"
            self.servers.append(Server(home, database=place, **OPTIONS).start())
        command = PROGRAM.replace("$FOLDER", self.folder)
        self.servers[0].create(name="work", overlap="allow", kind="exec", exec={"command": ["/bin/bash", "-c", command]})
        self.servers[0].create(name="tick", overlap="allow", misfire="all", schedule={"every": "200ms"}, **shell("true"))

    def note(self, text):
        self.history.append(text)

    # --- what may happen ---

    def ask_for_work(self, server):
        with contextlib.suppress(OSError, ValueError):
            server.post("/api/v1/actions/work/run", timeout=10)

    def slow_request(self, server, life):
        """Taken as soon as it has said `100 Continue`; its body follows after a moment. From then on it is owed an
        answer."""
        name = f"n{self.rng.getrandbits(48)}"
        body = '{"name": "%s", "kind": "http", "http": {"url": "http://127.0.0.1:9/"}}' % name
        pause_s = self.rng.random() * 0.8

        def run():
            try:
                sock = server.connect()
            except OSError:
                return  # refused: never taken
            with sock:
                try:
                    sock.settimeout(15)
                    sock.sendall(head_of_post(body, "Expect: 100-continue", "Connection: close"))
                    if not sock.recv(100).startswith(b"HTTP/1.1 100"):
                        return  # an answer of another kind
                    time.sleep(pause_s)  # the client's pace
                    sock.sendall(body.encode())
                    answer = b"".join(iter(lambda: sock.recv(65536), b""))
                except OSError as error:
                    answer = repr(error).encode()
            with self.lock:
                if answer.startswith(b"HTTP/1.1 201"):
                    self.created.append(name)
                elif not answer.startswith(b"HTTP/1.1 5"):
                    self.lost.append((life, answer[:60]))

        self.threads.append(threading.Thread(target=run))
        self.threads[-1].start()

    def lose_database(self, seconds):
        def run():
            if self.cluster:
                self.cluster.restart("immediate")
                return
            with contextlib.suppress(AssertionError, OSError), trouble.write_lock(f"{self.folder}/g.db"):
                time.sleep(seconds)  # the length of the loss

        self.threads.append(threading.Thread(target=run))
        self.threads[-1].start()

    # --- a life ---

    def live(self, server, life):
        """Things happen at random moments around a stop; -> whether what was in flight may have been cut."""
        rng = self.rng
        deeds = [(rng.random() * 1.2, rng.choice(["work", "work", "request", "request", "request"])) for _ in range(8)]
        if rng.random() < 0.4:
            deeds.append((rng.random() * 1.2, "lose"))
        signals = rng.choices(["term", "term term", "term term term", "kill"], [6, 2, 1, 1])[0]
        at = 0.3 + rng.random()
        for word in signals.split():
            deeds.append((at, word))
            at += 0.1 + rng.random() * 0.8
        began = time.monotonic()
        is_cut, first_signal = False, None
        for moment, deed in sorted(deeds):
            time.sleep(max(0, began + moment - time.monotonic()))  # the random moment is the test
            self.note(f"{life}: {deed} at {moment:.2f}")
            if deed == "work":
                self.ask_for_work(server)
            elif deed == "request":
                self.slow_request(server, life)
            elif deed == "lose":
                self.lose_database(0.2 + rng.random() * 2)
            elif server.process.poll() is None:
                is_cut = is_cut or deed == "kill" or first_signal is not None
                first_signal = first_signal or time.monotonic()
                server.signal(signal.SIGKILL if deed == "kill" else signal.SIGTERM)
        status = server.wait(TOTAL_MAX_S + 20)
        took_s = time.monotonic() - first_signal
        assert took_s < TOTAL_MAX_S + 5, f"{took_s} s from the signal to the end"
        assert status in ((-signal.SIGKILL,) if "kill" in signals else (0, 3, 4)), status
        server.close()
        return is_cut or status != 0

    def play(self, lives):
        for life in range(lives):
            server = self.servers[life % len(self.servers)]
            is_cut = self.live(server, life)
            for thread in self.threads:
                thread.join()
            self.threads.clear()
            if is_cut:
                self.lost = [entry for entry in self.lost if entry[0] != life]
            server.start()
        self.settle()

    # --- what must hold ---

    def settle(self):
        server = self.servers[0]

        def is_quiet():
            with contextlib.suppress(AssertionError, OSError):
                return server.post("/api/v1/actions/tick/pause").status == 200 and not server.runs(state="pending,running")

        wait_for(is_quiet, "quiet", timeout=90)

    def check(self):
        server = self.servers[0]
        assert self.lost == [], "taken and never answered"
        for name in self.created:
            assert server.get(f"/api/v1/actions/{name}").status == 200, f"{name} was answered 201"
        assert_every_due_time_once(server.runs("tick"), 200)
        assert lines_of(f"{self.folder}/overlap") == [], "two owners at a time"
        said = [line.split() for line in lines_of(f"{self.folder}/said")]
        for run in server.runs("work"):
            epochs = {word: [int(epoch) for what, run_id, epoch in said if what == word and run_id == run["id"]]
                      for word in ("began", "ended")}
            assert len(set(epochs["began"])) == len(epochs["began"]), f"an epoch of {run['id']} began twice"
            assert run["state"] in ("succeeded", "failed"), run
            assert run["state"] != "succeeded" or epochs["ended"], f"{run['id']} never ended and has succeeded"

    def close(self):
        for thread in self.threads:
            thread.join()
        for server in self.servers:
            server.close()


def tell(folder, seed, lives, cluster=None):
    world = None
    try:
        world = World(folder, random.Random(seed), cluster)
        world.play(lives)
        world.check()
    except BaseException:
        print(f"story {seed} in {folder}:", *(world.history if world else []), sep="\n  ")
        raise
    finally:
        if world:
            world.close()
    return seed


def stories(rng, count):
    """Seeds: `count`, or as many as fit into the soak."""
    ends = time.monotonic() + SOAK_S
    told = 0
    while told < count or time.monotonic() < ends:
        told += 1
        yield rng.randrange(10 ** 9)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_random_interleavings_lose_and_double_nothing(tmp_path, kind):
    rng = seeded()
    cluster = Cluster() if kind == "postgresql" else None
    told = 0
    try:
        for seed in stories(rng, STORIES):
            if cluster and told:
                cluster.sql("DROP SCHEMA gathering CASCADE")
            tell(tmp_path / f"story{told}", seed, 5, cluster)
            told += 1
    finally:
        if cluster:
            cluster.close()
    print(f"{told} stories of 5 lives")
