# SPDX-License-Identifier: Apache-2.0
"""What `make install` installs: exactly these files, and each of them good for what it is for."""
import json
import os
import re
import shutil
import subprocess

import pytest

from harness import BINARY, ROOT

BUILD = os.path.dirname(BINARY)
FILES = {
    "bin/gathering",
    "lib/systemd/system/gathering.service",
    "lib/systemd/system/gathering.socket",
    "share/bash-completion/completions/gathering.bash",
    "share/doc/gathering/examples/gathering.conf",
    "share/man/man1/gathering.1",
    "share/man/man5/gathering.conf.5",
}


def output(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder of the prefix below DESTDIR. Not by make, which would build again while tests run."""
    destdir = str(tmp_path_factory.mktemp("destdir"))
    output("meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", destdir)
    options = json.loads(output("meson", "introspect", "--buildoptions", BUILD))
    prefix = next(option["value"] for option in options if option["name"] == "prefix")
    return destdir, os.path.join(destdir, prefix.lstrip("/"))


def read(*path):
    with open(os.path.join(*path), encoding="utf-8") as file:
        return file.read()


def test_destdir_holds_exactly_the_expected_files(installed):
    destdir, prefix = installed
    found = {os.path.relpath(os.path.join(folder, name), prefix)
             for folder, _, names in os.walk(destdir) for name in names}
    assert found == FILES
    assert output(os.path.join(prefix, "bin/gathering"), "--version").startswith("gathering ")


def test_make_install_hands_prefix_and_destdir_on():
    for words in (["prefix=/opt/here"], ["PREFIX=/opt/here"]):
        commands = output("make", "-n", "install", "DESTDIR=/tmp/there", *words, cwd=ROOT)
        assert re.search(r"meson configure build -Dprefix=/opt/here$", commands, re.M)
        assert re.search(r"meson install -C build", commands)


def commands():
    return re.findall(r"^### gathering (.+)$", output(BINARY, "help", "--markdown"), re.M)


def test_manual_pages_name_every_command_flag_and_option(installed):
    page = read(installed[1], "share/man/man1/gathering.1")
    for name in commands():
        assert f"\n.SS gathering {name}\n" in page
    for flag in set(re.findall(r"^\| `--([a-z-]+)", output(BINARY, "help", "--markdown"), re.M)):
        assert "\\-\\-" + flag.replace("-", "\\-") + "\\fR" in page, flag
    page = read(installed[1], "share/man/man5/gathering.conf.5")
    options = re.findall(r"^(\w+) ", output(BINARY, "check-config"), re.M)
    assert len(options) > 20
    for name in options:
        assert f"\n.B {name}\n" in page


@pytest.mark.skipif(not shutil.which("groff"), reason="groff is not installed")
def test_manual_pages_are_good_roff(installed):
    for page in ("man1/gathering.1", "man5/gathering.conf.5"):
        done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z", os.path.join(installed[1], "share/man", page)],
                              capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, "")


COMPLETIONS = [
    ([""], {"action", "run", "serve", "next", "help"}, {"add"}),
    (["act"], {"action"}, {"run"}),
    (["action", ""], {"add", "list", "export"}, {"action", "cancel"}),
    (["run", "c"], {"cancel"}, {"list"}),
    (["action", "add", "--ov"], {"--overlap"}, {"--cron"}),
    (["action", "add", "x", "--overlap", ""], {"skip", "queue", "allow", "cancel_running"}, set()),
    (["action", "add", "--overlap", "=", "q"], {"queue"}, {"skip"}),
    (["action", "list", "--state", ""], {"active", "paused", "completed"}, {"failed"}),
    (["run", "list", "--state", ""], {"failed", "held"}, {"active"}),
    (["--output", "json", "action", "l"], {"list"}, set()),
    (["--output", ""], {"table", "json"}, set()),
    (["serve", "--log-level", ""], {"debug", "info", "warn", "error"}, set()),
    (["serve", "--exec-enabled", "--li"], {"--listen"}, set()),
    (["help", "action", "p"], {"pause"}, {"add"}),
    (["action", "add", "--", "ls", "--o"], set(), {"--overlap"}),
]


@pytest.mark.parametrize("words, wanted, unwanted", COMPLETIONS)
def test_completion_offers(installed, words, wanted, unwanted):
    script = ('source "$1"; shift; COMP_WORDS=(gathering "$@"); COMP_CWORD=$#; _gathering; '
              'printf "%s\\n" "${COMPREPLY[@]}"')
    path = os.path.join(installed[1], "share/bash-completion/completions/gathering.bash")
    offered = set(output("bash", "-c", script, "bash", path, *words).split())
    assert wanted <= offered and not unwanted & offered, offered


def test_completion_offers_the_actions_of_the_server(installed, server):
    server.create(name="nightly", kind="http", http={"url": "http://127.0.0.1:9/"})
    path = os.path.join(installed[1], "share/bash-completion/completions/gathering.bash")
    script = 'source "$1"; COMP_WORDS=(gathering action run ni); COMP_CWORD=3; _gathering; echo "${COMPREPLY[@]}"'
    environ = {**server.environ, "PATH": os.path.join(installed[1], "bin") + ":" + os.environ["PATH"],
               "GATHERING_SERVER": f"http://{server.host}:{server.port}"}
    assert output("bash", "-c", script, "bash", path, env=environ) == "nightly\n"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_takes_the_unit(installed, tmp_path):
    unit = read(installed[1], "lib/systemd/system/gathering.service")
    program = re.search(r"^ExecStart=(\S+) serve$", unit, re.M).group(1)
    assert os.path.join(installed[0], program.lstrip("/")) == os.path.join(installed[1], "bin/gathering")
    copy = tmp_path / "gathering.service"
    copy.write_text(unit.replace(program, BINARY))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True,
                          timeout=60, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_sample_configuration_shows_the_defaults(installed, tmp_path):
    sample = read(installed[1], "share/doc/gathering/examples/gathering.conf")
    named = re.findall(r"^#(\w+) =", sample, re.M)
    awake = tmp_path / "gathering.conf"
    awake.write_text(re.sub(r"^#(\w+ =)", r"\1", sample, flags=re.M))

    def values(*flags):
        return {line.split()[0]: re.split(r"\s{2,}", line) for line in
                output(BINARY, "check-config", *flags).splitlines()}

    plain, read_back = values(), values("--config", str(awake))
    assert len(named) > 8 and set(named) <= set(plain)
    for name, columns in read_back.items():
        assert columns[1] == plain[name][1]
        assert ("file" in columns[2]) == (name in named)
