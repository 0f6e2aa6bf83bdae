# SPDX-License-Identifier: Apache-2.0
"""What README and doc/*.md show is what comes out: their commands, definitions, settings and links.

A command that needs no server runs and must print what stands below it. `action add` runs against a real server. Every other
one is sent to a port where nobody listens: it gets that far only when the command line itself is right."""
import glob
import json
import os
import re
import shlex
import subprocess

import pytest

from calls import ABSENT, ERROR, OK
from harness import BINARY, Server

ROOT = os.path.join(os.path.dirname(__file__), "..", "..")
PAGES = [os.path.join(ROOT, "README.md"), *sorted(glob.glob(os.path.join(ROOT, "doc", "*.md")))]
NOBODY = "http://127.0.0.1:9"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# They start a server, or need a database or files of their own; other tests run them.
NOT_HERE = {("serve",), ("migrate",), ("import", "crontab"), ("check-config",), ("action", "edit")}


def blocks(pattern=r""):
    for page in PAGES:
        with open(page, encoding="utf-8") as file:
            for language, text in FENCE.findall(file.read()):
                if re.search(pattern, text, re.MULTILINE):
                    yield os.path.basename(page), language, text


def words_of(line, following):
    """The words of a shell line, which may go on in those that follow; None: it is no command of ours alone."""
    while True:
        try:
            words = shlex.split(line, comments=True)
            break
        except ValueError:  # within quotes
            line += "\n" + following.pop(0)
    at = next((i for i, word in enumerate(words) if word in ("gathering", "build/gathering")), None)
    if at is None or at > 1 or words[:at] not in ([], ["sudo"]):
        return None
    end = next((i for i, word in enumerate(words) if word in ("|", ">", "<", "&&")), len(words))
    return words[at + 1:end]


def commands():
    """-> page, words, what is printed below it (None: the page does not say)."""
    for page, _, text in blocks(r"^(\$ )?(sudo )?(build/)?gathering "):
        lines = text.splitlines()
        while lines:
            line = lines.pop(0)
            words = words_of(line.removeprefix("$ "), lines) if re.match(r"(\$ )?(sudo )?(build/)?gathering ", line) else None
            printed = None
            if line.startswith("$ "):
                printed = []
                while lines and not lines[0].startswith("$ "):
                    printed.append(lines.pop(0))
                printed = "\n".join(printed).strip()
            if words and not any(re.match(r"\[|[A-Z|]+(\.\.\.)?$", word) for word in words):  # a pattern, not a call
                yield page, words, printed


def kind(words):
    if words[:2] == ["action", "add"]:
        return "add"
    if words[0] == "next":
        return "next"
    return "skip" if tuple(words[:1]) in NOT_HERE or tuple(words[:2]) in NOT_HERE else "other"


def run(words, server=NOBODY, **more):
    return subprocess.run([BINARY, *words], capture_output=True, text=True, timeout=60, check=False, input="value\n",
                          env={**os.environ, "GATHERING_SERVER": server}, **more)


ALL = list(commands())


def test_the_pages_are_read_at_all():
    """The rest would pass on pages that the patterns above no longer fit."""
    assert {kind(words) for _, words, _ in ALL} == {"add", "next", "skip", "other"}
    assert len(ALL) > 40 and {page for page, _, _ in ALL} >= {"README.md", "cli.md", "schedules.md", "retention.md"}


def test_due_times_are_those_that_are_shown():
    shown = [(page, words, printed) for page, words, printed in ALL if kind(words) == "next" and "--from" in words and printed]
    assert len(shown) >= 5
    for page, words, printed in shown:
        done = run(words)
        assert (done.stdout + done.stderr).strip() == printed, (page, words)
    for page, words, _ in (entry for entry in ALL if kind(entry[1]) == "next"):
        assert run(words).returncode in (OK, ABSENT), (page, words)


def test_every_other_command_gets_as_far_as_the_server():
    for page, words, _ in (entry for entry in ALL if kind(entry[1]) == "other"):
        words = [re.sub(r"^(http://|unix:).*", NOBODY, word) for word in words]
        done = run(words)
        fine = done.returncode == OK if words[0] in ("help", "version") or words[:2] == ["secret", "keygen"] else \
            done.returncode == ERROR and "cannot reach" in done.stderr
        assert fine, (page, words, done.stderr)


@pytest.fixture(name="server", scope="module")
def _server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("docs")
    key = folder / "key"
    key.write_text(run(["secret", "keygen"]).stdout)
    key.chmod(0o600)
    server = Server(folder, exec_enabled=True, secret_key_file=str(key), allow_private_targets=True,
                    sql_databases="shop=postgresql://127.0.0.1:9/shop reports=postgresql://127.0.0.1:9/reports").start()
    yield server
    server.close()


def test_actions_are_added_as_shown(server):
    """And a mistake is answered as shown; the moment and the id in an answer are those of the day."""
    added = 0
    for page, words, printed in (entry for entry in ALL if kind(entry[1]) == "add"):
        done = run(words, server=f"http://{server.host}:{server.port}", cwd=server.folder)
        if printed and printed.startswith("gathering: "):
            assert done.returncode != OK and done.stderr.strip() == printed, (page, words, done.stderr)
        else:
            assert done.returncode == OK, (page, words, done.stderr)
            assert not printed or re.sub(r"next due.*", "", done.stdout.strip()) == re.sub(r"next due.*", "", printed.splitlines()[0])
            server.request("DELETE", f"/api/v1/actions/{words[2]}")
            added += 1
    assert added >= 10


def test_definitions_are_accepted(server):
    definitions = [(page, text) for page, language, text in blocks(r'^\{"name": ') if language == "json"]
    assert len(definitions) >= 3
    for page, text in definitions:
        answer = server.post("/api/v1/actions", json.loads(text))
        assert answer.status == 201, (page, answer.json)
        server.request("DELETE", f"/api/v1/actions/{answer.json['id']}")


def test_settings_are_accepted(tmp_path):
    settings = [(page, text) for page, language, text in blocks(r"^\w+ = ") if language in ("", "ini") and ";" not in text]
    assert len(settings) >= 3
    for page, text in settings:
        file = tmp_path / "gathering.conf"
        file.write_text(text if text.startswith("[gathering]") else "[gathering]\n" + text)
        done = run(["check-config", "--config", str(file)])
        assert done.returncode == OK, (page, text, done.stderr)


def test_links_lead_somewhere():
    for page in PAGES + glob.glob(os.path.join(ROOT, "*.md")):
        with open(page, encoding="utf-8") as file:
            for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", re.sub(r"```.*?```", "", file.read(), flags=re.DOTALL)):
                if "://" not in target:
                    assert os.path.exists(os.path.join(os.path.dirname(page), target)), (page, target)
