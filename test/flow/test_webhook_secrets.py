# SPDX-License-Identifier: Apache-2.0
"""Templates, secrets and signatures on the real server: what a target gets, and what nobody else ever sees."""
import base64
import hashlib
import hmac
import json
import os

import pytest

from calls import local
from harness import wait_for

TOKEN = 'tok"en/22 &c'


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "secret.key"
    path.touch(0o600)
    path.write_text(local("secret", "keygen").stdout)
    return str(path)


@pytest.fixture
def vault(servers, key_file):
    return servers(secret_key_file=key_file, exec_enabled=True).start()


def put_secret(server, name, value, expect=204):
    answer = server.request("PUT", f"/api/v1/secrets/{name}", {"value": value})
    assert answer.status == expect, answer
    return answer


def run_now(server, name, **http):
    server.create(name=name, kind="http", http=http)
    return again(server, name)


def again(server, name):
    return server.wait_run(server.post(f"/api/v1/actions/{name}/run").json["id"])


def genuine(request, key):
    """As doc/templates.md tells receivers to do it."""
    headers = request["headers"]
    text = f'{headers["webhook-id"]}.{headers["webhook-timestamp"]}.'.encode() + request["body"]
    expected = "v1," + base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()
    return expected in headers["webhook-signature"].split(" ")


def test_a_secret_reaches_its_target_and_nothing_else_shows_it(vault, targets, tmp_path):
    target = targets(lambda request: (200, b"you sent " + request["body"] + b" and " + request["headers"]["X-Token"].encode()))
    put_secret(vault, "TOKEN", TOKEN)
    run = run_now(vault, "call", url=target.url + "/p/{{secret.TOKEN}}?day={{due_date}}", method="POST",
                  headers={"X-Token": "Bearer {{secret.TOKEN}}"}, body='{"token": {{secret.TOKEN}}, "run": "{{run_id}}"}')
    assert run["state"] == "succeeded", run
    request, = target.requests
    assert request["path"] == f"/p/tok%22en%2F22%20%26c?day={run['due_at'][:10]}"
    assert request["headers"]["X-Token"] == "Bearer " + TOKEN
    assert json.loads(request["body"]) == {"token": TOKEN, "run": run["id"]}

    output = vault.get(f"/api/v1/runs/{run['id']}/output").body.decode()
    assert output == f'you sent {{"token": "[redacted]", "run": "{run["id"]}"}} and Bearer [redacted]'
    shown = [vault.get(path).body for path in ("/api/v1/actions/call", "/api/v1/secrets", f"/api/v1/runs/{run['id']}")]
    assert b"{{secret.TOKEN}}" in shown[0]
    assert [item["name"] for item in json.loads(shown[1])["items"]] == ["TOKEN"]
    vault.stop()
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.name.startswith("gathering.db"))
    for place in [*shown, vault.log.encode(), kept]:
        assert b"en/22" not in place and b"en%2F22" not in place


def test_a_replaced_secret_counts_from_the_next_attempt_on_and_a_deleted_one_fails_it(vault, targets):
    target = targets()
    put_secret(vault, "TOKEN", "first-value")
    run_now(vault, "call", url=target.url, headers={"X-Token": "{{secret.TOKEN}}"})
    vault.cli("secret", "set", "TOKEN", stdin="second-value\n")
    again(vault, "call")
    assert [request["headers"]["X-Token"] for request in target.requests] == ["first-value", "second-value"]
    assert "TOKEN" in vault.cli("secret", "list").stdout
    vault.cli("secret", "delete", "TOKEN")
    run = again(vault, "call")
    assert run["state"] == "failed"
    assert run["error"] == "header X-Token: there is no secret 'TOKEN'; store it with: gathering secret set TOKEN"
    assert len(target.requests) == 2
    vault.cli("secret", "delete", "TOKEN", expect=3)


def test_a_program_gets_its_secrets_and_facts_and_its_output_hides_them(vault):
    put_secret(vault, "TOKEN", TOKEN)
    vault.create(name="job", kind="exec", exec={"shell": True, "command": 'cat; printf "%s|" "$A" "$B"; echo "$A" >&2',
                                                "env": {"A": "{{secret.TOKEN}}", "B": "{{action}}/{{attempt}}"}, "stdin": "in {{secret.TOKEN}} "})
    run = again(vault, "job")
    assert run["state"] == "succeeded", run
    assert vault.get(f"/api/v1/runs/{run['id']}/output").body == b"in [redacted] [redacted]|job/1|[redacted]\n"


def test_a_signature_is_what_python_computes_also_while_the_secret_is_replaced(vault, targets):
    target = targets()
    key = os.urandom(24)
    put_secret(vault, "NEW", "whsec_" + base64.b64encode(key).decode())
    put_secret(vault, "OLD", "plain text key")
    run = run_now(vault, "signed", url=target.url, method="POST", body='{"day": "{{due_date}}", "é": 1}', signing_secret=["NEW", "OLD"])
    request, = target.requests
    assert request["headers"]["webhook-id"] == run["id"]
    assert len(request["headers"]["webhook-signature"].split(" ")) == 2
    assert genuine(request, key) and genuine(request, b"plain text key") and not genuine(request, b"another")
    assert abs(int(request["headers"]["webhook-timestamp"]) - request["at"]) < 60
    put_secret(vault, "NEW", "whsec_%%%%")
    run = again(vault, "signed")
    assert run["state"] == "failed" and "not base64" in run["error"]
    assert len(target.requests) == 1


def test_what_an_event_brings_is_put_in_and_cannot_break_out(vault, targets):
    target = targets()
    vault.create(name="greet", kind="http", schedule={"on": "user.new"}, overlap="allow",
                 http={"url": target.url + "/u/{{payload.id}}", "method": "POST", "body": '{"name": "{{payload.name}}", "role": "{{payload.role|guest}}"}'})
    evil = '", "role": "admin", "x": "\r\n'
    assert vault.post("/api/v1/events/user.new", {"id": "7/../8?x", "name": evil}).status in (200, 202)
    wait_for(lambda: vault.runs("greet", state="succeeded"), "the run of the event")
    request, = target.requests
    assert request["path"] == "/u/7%2F..%2F8%3Fx"
    assert json.loads(request["body"]) == {"name": evil, "role": "guest"}
    vault.post("/api/v1/events/user.new", {"id": 9})
    failed = wait_for(lambda: vault.runs("greet", state="failed"), "the run without a name")[0]
    assert "has no 'payload.name'" in failed["error"]
    assert len(target.requests) == 1


def test_without_a_key_file_secrets_are_refused_with_what_to_do(server, targets):
    answer = put_secret(server, "TOKEN", "some value", expect=403)
    assert "secret_key_file" in answer.json["detail"]
    answer = server.post("/api/v1/actions", {"name": "a", "kind": "http", "http": {"url": "http://h/", "headers": {"X": "{{secret.A}}"}}})
    assert answer.status == 403 and "secret_key_file" in answer.json["detail"]


@pytest.mark.parametrize("name, body, pointer", [
    ("TOKEN", {"value": "abc"}, "/value"), ("TOKEN", {"value": "x" * 8193}, "/value"), ("TOKEN", {"value": 5}, "/value"),
    ("TOKEN", {"value": "four\u0001"}, "/value"), ("TOKEN", {"value": "good", "more": 1}, ""), ("TOKEN", [], "/value"),
    ("1A", {"value": "good"}, ""), ("A-B", {"value": "good"}, ""), ("A" * 65, {"value": "good"}, "")])
def test_a_bad_secret_is_refused(vault, name, body, pointer):
    answer = vault.request("PUT", f"/api/v1/secrets/{name}", body)
    assert answer.status == 422 and answer.json["errors"][0]["pointer"] == pointer, answer


def test_a_server_with_another_key_says_so_and_runs_the_rest(servers, key_file, targets, tmp_path):
    target = targets()
    first = servers(secret_key_file=key_file).start()
    put_secret(first, "TOKEN", "some value")
    run_now(first, "call", url=target.url, headers={"X-Token": "{{secret.TOKEN}}"})
    run_now(first, "plain", url=target.url)
    first.stop()
    other = tmp_path / "other.key"
    other.touch(0o600)
    other.write_text(local("secret", "keygen").stdout)
    second = servers(secret_key_file=str(other)).start()
    assert "does not hold" in again(second, "call")["error"]
    assert again(second, "plain")["state"] == "succeeded"
    second.stop()
    other.chmod(0o644)
    third = servers(secret_key_file=str(other)).spawn()
    assert third.wait() != 0 and "chmod 600" in third.log


def test_an_answer_can_tell_progress_and_a_checkpoint_that_the_next_attempt_gets(server, targets):
    answers = [(503, {"progress": {"percent": 40, "message": "half"}, "checkpoint": {"row": 7}}),
               (200, {"checkpoint": {"row": 9}, "done": False}), (200, {"progress": {"percent": 100}})]

    def respond(request):
        status, answer = answers[len(target.requests) - 1]
        return status, json.dumps(answer).encode(), {"Content-Type": "application/vnd.gathering+json"}

    target = targets(respond)
    server.create(name="long", kind="http", retry={"max_attempts": 3, "initial": "0s", "on": ["status:503", "status:200"]},
                  http={"url": target.url, "method": "POST", "body": '{"from": {{checkpoint}}, "attempt": {{attempt}}}'})
    run = again(server, "long")
    assert run["state"] == "succeeded" and run["progress"]["percent"] == 100, run
    assert [json.loads(request["body"]) for request in target.requests] == [
        {"from": None, "attempt": 1}, {"from": '{"row":7}', "attempt": 2}, {"from": '{"row":9}', "attempt": 3}]
