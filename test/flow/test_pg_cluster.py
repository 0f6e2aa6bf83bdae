# SPDX-License-Identifier: Apache-2.0
"""The clusters that other tests stand on: they come, obey, and leave nothing behind."""
import os
import signal
import subprocess

from harness import ROOT, wait_for
from pg import Cluster, cluster, clusters  # noqa: F401 (fixtures)


def processes_of(folder):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
                if folder in file.read():
                    found.append(int(pid))
        except OSError:
            continue
    return found


def test_commands(cluster):
    assert cluster.sql("SELECT 6 * 7") == "42"
    cluster.sql("CREATE TABLE kept (id bigint)")
    cluster.restart("immediate")
    assert cluster.sql("SELECT count(*) FROM kept") == "0"
    cluster.stop("fast")
    cluster.begin("sql SELECT 1")
    assert cluster.process.stdout.readline().startswith("failed")
    cluster.start()
    cluster.freeze()
    states = {open(f"/proc/{pid}/stat", encoding="utf-8").read().rsplit(")", 1)[1].split()[0]
              for pid in processes_of(cluster.folder)}
    assert states == {"T"}
    cluster.thaw()
    assert cluster.sql("SELECT 1") == "1"


def test_replica_is_promoted(clusters):
    primary = clusters()
    replica = clusters("--replica-of", primary.folder)
    primary.sql("CREATE TABLE facts AS SELECT 42 AS fact")
    wait_for(lambda: replica.sql("SELECT count(*) FROM pg_tables WHERE tablename = 'facts'") == "1", "the replica")
    primary.stop()
    replica.promote()
    replica.sql("INSERT INTO facts VALUES (43)")
    assert replica.sql("SELECT count(*) FROM facts") == "2"


def test_nothing_is_left_when_it_is_killed():
    one = Cluster("--pooler")
    assert processes_of(one.folder)
    one.process.kill()
    one.process.wait()
    wait_for(lambda: not processes_of(one.folder), "the server to end with the one who started it")
    subprocess.run(["rm", "-rf", one.folder], check=True)


def test_nothing_is_left_when_it_is_ended():
    for end in (lambda p: p.send_signal(signal.SIGTERM), lambda p: p.stdin.close()):
        one = Cluster()
        one.freeze()
        end(one.process)
        one.process.wait(60)
        assert not processes_of(one.folder)
        assert not os.path.exists(one.folder)


def test_help_names_every_command():
    text = subprocess.run([os.path.join(ROOT, "tools/pg-cluster"), "--help"], capture_output=True, text=True, check=True).stdout
    for word in ("stop", "start", "restart", "freeze", "thaw", "promote", "sql"):
        assert word in text
