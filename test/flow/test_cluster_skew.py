# SPDX-License-Identifier: Apache-2.0
"""Clocks of instances that are 90 s apart (libfaketime). The database's decides: nothing is early, late or doubled."""
import datetime
import glob
import os
import subprocess
import time

import pytest

import harness
from gang import Gang
from harness import seeded
from pg import cluster, clusters  # noqa: F401 (fixtures)

PROVES = bool(os.environ.get("PROVE_WITHOUT"))
PLAIN = os.path.join(harness.ROOT, "build-prove-clang" if PROVES else "build-clang")  # made by the checks of tools/run-tests as well
SKEW_S = 90
LOAD_S = 15
LATE_MAX_S = 5  # on a busy machine; a clock that is believed is 90 s off


@pytest.fixture(scope="module")
def plain_binary():
    """Without sanitizers, whose allocator and libfaketime both want to be first."""
    environ = {**os.environ, "CC": "clang"}
    if not os.path.exists(os.path.join(PLAIN, "build.ninja")):
        subprocess.run(["meson", "setup", PLAIN, "-Dwerror=true", f"-Dprove={str(PROVES).lower()}"], cwd=harness.ROOT, env=environ, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["ninja", "-C", PLAIN, "--quiet", "gathering"], cwd=harness.ROOT, env=environ, check=True)
    return os.path.join(PLAIN, "gathering")


def faketime(seconds):
    """Of the wall clock only: a machine whose clock is set wrong has a monotonic one all the same."""
    library, = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")
    return {"LD_PRELOAD": library, "FAKETIME": f"{seconds:+d}s", "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1"}


def own_clock(server):
    """What its log lines say, beside what is true."""
    stamp = server.log.split(" ", 1)[0]
    return datetime.datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()


def test_clocks_90_s_apart_make_nothing_early_late_or_double(servers, cluster, tmp_path, plain_binary, monkeypatch):  # noqa: F811
    monkeypatch.setattr(harness, "BINARY", plain_binary)
    rng = seeded()
    gang = Gang(servers, tmp_path, cluster.url)
    for skew in (-SKEW_S, 0, SKEW_S):
        server, = gang.start(environ=faketime(skew) if skew else None)
        off = own_clock(server) - time.time()
        assert abs(off - skew) < 30, f"its clock is {off:.0f} s off: libfaketime did not do what this test needs"
    gang.schedule(rng)
    time.sleep(LOAD_S)  # the load
    gang.settle()
    runs = gang.assert_exactly_once()
    assert len(runs) >= 6 * (LOAD_S - 2)
    assert len({run["instance_id"] for run in runs if run["state"] == "succeeded"}) == 3
    lags = sorted(gang.lags())
    print(f"{len(runs)} runs; lag from {lags[0]:.3f} to {lags[-1]:.3f} s")
    assert lags[0] >= 0
    assert lags[-1] < LATE_MAX_S
