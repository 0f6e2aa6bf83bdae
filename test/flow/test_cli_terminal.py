# SPDX-License-Identifier: Apache-2.0
"""What is different on a terminal: widths, colors, relative times, the editor, control characters."""
import json
import os
import re
import subprocess

import pytest

from calls import ERROR, OK, USAGE
from harness import BINARY, Server, Target, wait_for
from terminal import on_terminal

COLOR = "\x1b["


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("shared"), exec_enabled=True).start()
    yield server
    server.close()


def show(server, name):
    return json.loads(server.cli("action", "show", name, "--json").stdout)


def add_shell(server, name, text, *flags):
    server.cli("action", "add", name, "--shell", text, *flags)


# --- tables and colors ---

def terminal_of(server, *command, columns=80, **environ):
    status, text = on_terminal([BINARY, *command], {
        **server.environ, "GATHERING_SERVER": f"http://{server.host}:{server.port}", "TERM": "xterm", **environ},
        columns=columns)
    assert status == OK, text
    return text


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A server whose tables are wider than any terminal."""
    server = Server(tmp_path_factory.mktemp("wide"), exec_enabled=True).start()
    for n in range(2):
        server.cli("action", "add", f"a-name-that-is-quite-long-{n}", "--cron", "0 2 * * *", "--timezone",
                   "America/Argentina/ComodRivadavia", "--", "/bin/echo", "größe " * 30)
    server.cli("action", "pause", "a-name-that-is-quite-long-1")
    server.cli("action", "run", "a-name-that-is-quite-long-0", "--wait")
    yield server
    server.close()


@pytest.mark.parametrize("columns", [60, 80, 100, 200])
@pytest.mark.parametrize("command", [["action", "list"], ["status"]], ids=" ".join)
def test_tables_fit_the_terminal(wide, command, columns):
    text = re.sub(r"\x1b\[[0-9;]*m", "", terminal_of(wide, *command, columns=columns))
    lines = text.split("\r\n")
    table = lines if command[0] == "action" else lines[lines.index(next(x for x in lines if x.startswith("CHECK"))):]
    assert max(map(len, table)) <= columns
    if command[0] == "action":
        assert "…" in text and re.search(r" in \d+[hm]", text) and "Z " not in text


def test_tables_are_whole_and_plain_elsewhere(wide):
    text = wide.cli("action", "list", environ={"TERM": "xterm", "COLUMNS": "40"}).stdout
    assert "…" not in text and COLOR not in text and "größe " * 30 in text + " "
    assert re.search(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", text)


@pytest.mark.parametrize("flags, environ, colored", [
    ([], {}, True),
    ([], {"NO_COLOR": "1"}, False),
    ([], {"NO_COLOR": ""}, True),
    (["--no-color"], {}, False),
    ([], {"TERM": "dumb"}, False),
    (["--json"], {}, False),
])
@pytest.mark.parametrize("command", [["action", "list"], ["run", "list"]], ids=" ".join)
def test_colors_are_for_terminals_that_want_them(wide, command, flags, environ, colored):
    assert (COLOR in terminal_of(wide, *command, *flags, **environ)) == colored


def test_names_from_the_server_cannot_command_the_terminal():
    evil = json.dumps({"items": [{"name": "a\x1b]0;owned\x07b", "state": "active\x9b31m", "kind": "http",
                                  "http": {"url": "http://x/\x1b[2J"}}]}).encode()
    target = Target(lambda request: (200, evil))
    try:
        status, text = on_terminal([BINARY, "action", "list", "--server", target.url, "--no-color"],
                                   {**os.environ, "TERM": "xterm"}, columns=200)
    finally:
        target.close()
    assert status == OK and "a?]0;owned?b" in text
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", text)


def test_run_logs_go_byte_for_byte_into_a_pipe_and_harmless_to_a_terminal(shared):
    add_shell(shared, "binary", r"printf 'a\033[31mb\000c\377\r\n\tend'")
    shared.cli("action", "run", "binary")
    wait_for(lambda: shared.runs("binary", state="succeeded"), "the run")
    environ = {**shared.environ, "GATHERING_SERVER": f"http://{shared.host}:{shared.port}"}
    piped = subprocess.run([BINARY, "run", "logs", "binary"], env=environ, capture_output=True, check=True, timeout=60)
    assert piped.stdout == b"a\033[31mb\0c\xff\r\n\tend"
    status, text = on_terminal([BINARY, "run", "logs", "binary"], {**environ, "TERM": "xterm"})
    assert status == 0 and text.startswith("a?[31mb\ufffdc\ufffd ") and text.endswith("\tend\r\n")


# --- the editor ---

def edit_with(server, tmp_path, name, script, expect=OK):
    """`action edit NAME` on a terminal with this shell script as the editor; -> what it showed."""
    editor = tmp_path / "editor"
    editor.write_text(f"#!/bin/sh\n{script}\n")
    editor.chmod(0o700)
    environ = {**server.environ, "GATHERING_SERVER": f"http://{server.host}:{server.port}", "TERM": "xterm",
               "VISUAL": "", "EDITOR": f"{editor} --flag", "TMPDIR": str(tmp_path), "BINARY": BINARY}
    status, text = on_terminal([BINARY, "action", "edit", name], environ)
    assert status == expect, text
    return text


def left_behind(tmp_path):
    return [path for path in tmp_path.iterdir() if path.name.startswith("gathering-")]


def test_edit_in_the_editor(shared, tmp_path):
    add_shell(shared, "in-editor", "true", "--cron", "@daily")
    text = edit_with(shared, tmp_path, "in-editor", """[ "$1" = --flag ] && sed -i 's/"10m"/"7m"/' "$2" """)
    assert "changed in-editor" in text and show(shared, "in-editor")["timeout"] == "7m"
    assert not left_behind(tmp_path)


@pytest.mark.parametrize("script, status, said", [
    ("true", OK, "nothing was changed"),
    ("exit 3", ERROR, "the editor failed; nothing was changed"),
])
def test_edit_in_the_editor_that_changes_nothing(shared, tmp_path, script, status, said):
    name = f"untouched-{status}"
    add_shell(shared, name, "true")
    before = show(shared, name)
    assert said in edit_with(shared, tmp_path, name, script, expect=status)
    assert show(shared, name) == before and not left_behind(tmp_path)


@pytest.mark.parametrize("name, script, status, said", [
    ("broken-json", 'echo "{" > "$2"', USAGE, "line "),
    ("bad-value", """sed -i 's/"10m"/"8d"/' "$2" """, USAGE, "/timeout"),
    ("overtaken", """"$BINARY" action edit overtaken --priority 9; sed -i 's/"10m"/"7m"/' "$2" """, ERROR, ""),
])
def test_edit_in_the_editor_keeps_what_was_written_when_it_is_refused(shared, tmp_path, name, script, status, said):
    add_shell(shared, name, "true")
    text = edit_with(shared, tmp_path, name, script, expect=status)
    kept = left_behind(tmp_path)
    assert said in text and len(kept) == 1 and f"what you wrote is kept in {kept[0]}" in text.replace("\r\n", "")
    assert show(shared, name)["timeout"] == "10m"
