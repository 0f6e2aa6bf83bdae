# SPDX-License-Identifier: Apache-2.0
"""What the server tells of its connections to PostgreSQL: in /metrics and in the database check."""
import re

from harness import wait_for
from pg import cluster, clusters  # noqa: F401 (fixtures)


def samples(server):
    """{(metric, pool): value}, each under its own HELP and TYPE."""
    text = server.get("/metrics").body.decode()
    found = {}
    for name, pool, value in re.findall(r'^gathering_(pool_\w+)\{pool="(\w+)"\} (\d+)$', text, re.M):
        assert f"# TYPE gathering_{name} {'counter' if name.endswith('_total') else 'gauge'}\n" in text
        assert text.count(f"# HELP gathering_{name} ") == 1
        found[name, pool] = int(value)
    return found


def test_pools_are_in_the_metrics_and_in_the_database_check(servers, cluster):  # noqa: F811
    server = servers(database=cluster.url, exec_enabled=True).start()
    server.create(name="one", kind="exec", exec={"command": ["/bin/true"]})
    before = samples(server)
    assert {pool for _, pool in before} == {"reads", "writes", "claims", "finishes"}
    assert before["pool_queries_total", "writes"] >= 1 and before["pool_ready", "claims"] == 1
    assert server.get("/api/v1/actions/one").status == 200
    assert samples(server)["pool_queries_total", "reads"] > before["pool_queries_total", "reads"]
    check = next(c for c in server.get("/health/checks").json["checks"] if c["name"] == "database")
    pools = {pool["name"]: pool for pool in check["pools"]}
    assert all(pool["max"] >= pool["ready"] >= pool["busy"] >= 0 and pool["is_up"] for pool in pools.values() if pool["ready"])
    cluster.restart()
    wait_for(lambda: samples(server)["pool_sessions_lost_total", "claims"] >= 1, "the loss to be counted")
    wait_for(lambda: samples(server)["pool_ready", "claims"] == 1 and samples(server)["pool_down_ms", "claims"] == 0, "a new one")
    server.stop()


def test_a_file_has_no_pools(servers):
    server = servers().start()
    assert samples(server) == {}
    assert all("pools" not in check for check in server.get("/health/checks").json["checks"])
    server.stop()


def test_the_size_of_the_pools_is_an_option(servers, cluster):  # noqa: F811
    server = servers(database=cluster.url, pool_min=3, pool_max=4).start()
    wait_for(lambda: samples(server)["pool_ready", "reads"] == 3, "three connections that nobody has asked for yet")
    assert [samples(server)["pool_max", pool] for pool in ("reads", "writes", "claims", "finishes")] == [4, 4, 1, 1]
    server.stop()
    wrong = servers(database=cluster.url, pool_min=5).spawn()
    assert wrong.wait() != 0 and "pool_min (5) is above pool_max (2)" in wrong.log
