# SPDX-License-Identifier: Apache-2.0
"""Many webhooks that wait for their answers, in one instance."""
import time

from harness import Holder, wait_for

COUNT = 1000


def test_a_thousand_slow_webhooks_wait_at_one_time_and_all_get_through(servers):
    holder = Holder()
    server = servers(max_running=COUNT, max_running_http=COUNT).start()
    server.create(name="warm", kind="http", http={"url": holder.url + "warm"})
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 5))
    items = [{"name": f"slow{n}", "kind": "http", "http": {"url": holder.url}, "schedule": {"at": at}} for n in range(COUNT)]
    assert server.post("/api/v1/actions", {"items": items}).status == 201
    wait_for(lambda: holder.waiting == COUNT, "all of them to wait", timeout=120)
    # one more has to wait its turn, while everything else is answered
    run = server.post("/api/v1/actions/warm/run").json
    assert run["state"] == "pending" and server.get("/health/live").status == 200
    assert len(server.runs(state="running")) == COUNT
    holder.release()
    wait_for(lambda: not server.runs(state="pending,running", limit=1), "their end", timeout=120)
    runs = server.runs(state="succeeded")
    assert len(runs) == COUNT + 1 and all(run["attempt"] == 1 for run in runs)
    assert holder.waiting == COUNT + 1
