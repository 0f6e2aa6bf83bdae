# SPDX-License-Identifier: Apache-2.0
"""W3C Trace Context: what a request sets in motion belongs to its trace."""
import re

from harness import wait_for

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


def sent(request):
    """(trace, span, flags) of what a target got."""
    return re.fullmatch("00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})", request["headers"]["traceparent"]).groups()


def test_a_trace_is_carried_from_the_request_through_the_runs_to_their_targets(server, targets):
    target = targets()
    server.create(name="first", kind="http", http={"url": target.url + "/first"}, schedule={"on": "order"})
    server.create(name="then", kind="http", http={"url": target.url + "/then"}, schedule={"on": "action.first.succeeded"})
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-00"}
    run, = server.post("/api/v1/events/order", {}, headers=headers).json["runs"]
    assert run["traceparent"] == headers["traceparent"]
    wait_for(lambda: server.runs("then", state="succeeded"), "the run that the end of the first has started")
    again = server.post(f"/api/v1/runs/{run['id']}/retry", headers=headers).json
    assert server.wait_run(again["id"])["traceparent"] == headers["traceparent"]
    seen = [sent(request) for request in target.requests[:3]]
    assert {(trace, flags) for trace, _, flags in seen} == {(TRACE, "00")}
    spans = {span for _, span, _ in seen}
    assert len(spans) == 3 and PARENT not in spans


def test_without_a_trace_a_run_is_one_of_its_own(server, targets):
    target = targets()
    server.create(name="hook", kind="http", http={"url": target.url})
    for headers in ({}, {"traceparent": f"00-{TRACE}-0000000000000000-01"}):
        run = server.wait_run(server.post("/api/v1/actions/hook/run", headers=headers).json["id"])
        assert "traceparent" not in run
        trace, _, flags = sent(target.requests[-1])
        assert (trace, flags) == (run["id"].replace("-", ""), "01")
