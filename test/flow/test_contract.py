# SPDX-License-Identifier: Apache-2.0
"""The contract kept from the system gathering grew out of (DESIGN section 4), on the real server."""
import re
import signal

from harness import wait_for

STOP_SEQUENCE = ["shutting_down", "notice_done", "listener_closed", "http_drained", "scheduler_stopped",
                 "claims_drained", "executor_stopped", "store_closed"]


def drain(server):
    return server.post("/api/v1/instances/self/drain")


def undrain(server):
    return server.post("/api/v1/instances/self/undrain")


def test_ready_is_200_normally(server):
    answer = server.get("/health/ready")
    assert answer.status == 200
    assert answer.json == {"ready": True}


def test_ready_is_503_while_shutting_down(servers):
    server = servers(notice_min="2s").start()
    server.signal(signal.SIGTERM)
    answer = wait_for(lambda: (a := server.get("/health/ready")).status == 503 and a, "the 503")
    assert answer.json == {"ready": False, "reason": "shutting_down"}
    assert answer.headers["Connection"] == "close"
    assert server.get("/health/live").json == {"alive": True}
    assert server.get("/api/v1/actions").status == 200
    server.stop()


def test_stop_sequence_order(servers):
    server = servers().start()
    server.stop()
    events = re.findall(r"stop sequence.* event=(\w+)", server.log)
    assert events == STOP_SEQUENCE


def test_stop_sequence_is_readable_while_it_lasts(servers):
    server = servers(notice_min="1s").start()
    server.signal(signal.SIGTERM)
    health = wait_for(lambda: server.get("/health").json.get("shutdown", {}).get("events"), "events in /health")
    assert health[0]["event"] == "shutting_down"
    server.stop()


def test_shutting_down_is_idempotent(server):
    for _ in range(2):
        assert drain(server).status == 200
        assert server.get("/health/ready").status == 503
        assert server.get("/health/ready").json == {"ready": False, "reason": "shutting_down"}


def test_reset_restores_readiness(server):
    assert drain(server).status == 200
    assert server.get("/health/ready").status == 503
    for _ in range(2):
        assert undrain(server).status == 200
        assert server.get("/health/ready").status == 200
        assert server.get("/health/ready").json == {"ready": True}
    assert "Connection" not in server.get("/health/ready").headers


def test_undrain_after_a_signal_is_refused(servers):
    server = servers(notice_min="2s").start()
    server.signal(signal.SIGTERM)
    wait_for(lambda: server.get("/health/ready").status == 503, "the 503")
    assert undrain(server).status == 409
    server.stop()
