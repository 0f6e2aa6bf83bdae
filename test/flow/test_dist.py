# SPDX-License-Identifier: Apache-2.0
"""What is shipped in dist/ beside the program: the tools it is written for accept it, or, where those cannot run here,
it holds the fields that doc/deploy.md promises. (haproxy.cfg and nginx.conf are what test_roll.py rolls behind.)"""
import os
import re
import shutil
import subprocess

import pytest

from balancers import HAPROXY, NGINX
from harness import BINARY, ROOT

yaml = pytest.importorskip("yaml")


def dist(name):
    with open(os.path.join(ROOT, "dist", name), encoding="utf-8") as file:
        return file.read()


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def options():
    """name -> default, as the program says."""
    lines = run(BINARY, "gen-docs", "config").stdout.splitlines()
    return {cells[1].strip(" `"): cells[2].strip(" `") for cells in (line.split("|") for line in lines) if len(cells) > 4}


def seconds(text):
    number, unit = re.fullmatch(r"(\d+)(ms|s|min|m|h)?", text).groups()
    return float(number) * {"ms": 0.001, "s": 1, None: 1, "m": 60, "min": 60, "h": 3600}[unit]


# --- systemd ---

@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_accepts_the_units(tmp_path):
    for name in os.listdir(os.path.join(ROOT, "dist")):
        if name.endswith((".service.in", ".socket")):
            text = dist(name).replace("@bindir@/gathering", BINARY)
            (tmp_path / name.removesuffix(".in")).write_text(text)
    units = [str(path) for path in sorted(tmp_path.iterdir())]
    done = run("systemd-analyze", "verify", "--man=no", *units)
    assert (done.returncode, done.stderr) == (0, "") and len(units) == 2


def test_systemd_waits_longer_than_the_server(tmp_path):
    unit = dict(re.findall(r"^(\w+)=(.*)$", dist("gathering.service.in"), re.M))
    assert (unit["Type"], unit["KillMode"], unit["NotifyAccess"]) == ("notify", "mixed", "main")
    assert seconds(unit["TimeoutStopSec"]) >= seconds(options()["total_max"]) + 10
    assert unit["OOMPolicy"] == "continue" and unit["RestartPreventExitStatus"] == "2"


# --- balancers ---

@pytest.mark.skipif(not HAPROXY, reason="haproxy is not installed")
def test_haproxy_accepts_its_file_as_it_is(tmp_path):
    done = run(HAPROXY, "-c", "-f", os.path.join(ROOT, "dist/haproxy.cfg"))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(not NGINX, reason="nginx is not installed")
def test_nginx_accepts_its_file_as_it_is(tmp_path):
    (tmp_path / "nginx.conf").write_text(f"pid {tmp_path}/pid;\nevents {{}}\nhttp {{ include {ROOT}/dist/nginx.conf; }}\n")
    done = run(NGINX, "-t", "-p", str(tmp_path), "-e", str(tmp_path / "log"), "-c", str(tmp_path / "nginx.conf"))
    assert done.returncode == 0, done.stderr


# --- Kubernetes: no cluster here, so the fields that matter are looked at ---

KNOWN = {
    "Deployment": {"replicas", "selector", "strategy", "template"}, "PodDisruptionBudget": {"minAvailable", "selector"},
    "Service": {"selector", "ports"}, "NetworkPolicy": {"podSelector", "policyTypes", "ingress"}}
POD = {"terminationGracePeriodSeconds", "securityContext", "topologySpreadConstraints", "containers", "volumes"}
CONTAINER = {"name", "image", "args", "env", "ports", "lifecycle", "startupProbe", "livenessProbe", "readinessProbe", "resources",
             "securityContext", "workingDir", "volumeMounts"}


@pytest.fixture(scope="module")
def manifests():
    return {one["kind"]: one for one in yaml.safe_load_all(dist("kubernetes.yaml"))}


def test_the_manifests_have_no_field_that_kubernetes_does_not_know(manifests):
    assert set(manifests) == set(KNOWN)
    for kind, one in manifests.items():
        assert {"apiVersion", "kind", "metadata", "spec"} == set(one) and one["metadata"]["name"] == "gathering"
        assert set(one["spec"]) <= KNOWN[kind], kind
    pod = manifests["Deployment"]["spec"]["template"]["spec"]
    assert set(pod) <= POD and set(pod["containers"][0]) <= CONTAINER
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert set(pod["containers"][0][probe]) <= {"httpGet", "periodSeconds", "timeoutSeconds", "failureThreshold"}


def test_the_manifests_select_their_own_pods_and_keep_one(manifests):
    labels = manifests["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert manifests["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert manifests["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert manifests["Service"]["spec"]["selector"] == manifests["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels
    assert manifests["Deployment"]["spec"]["replicas"] > manifests["PodDisruptionBudget"]["spec"]["minAvailable"]
    assert manifests["Deployment"]["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


def test_the_manifests_configure_what_exists_and_wait_long_enough(manifests):
    pod = manifests["Deployment"]["spec"]["template"]["spec"]
    container, known = pod["containers"][0], options()
    set_here = {entry["name"].removeprefix("GATHERING_").lower(): entry.get("value") for entry in container["env"]}
    assert set(set_here) <= set(known), "each is an option"
    assert seconds(set_here["total_max"]) >= seconds(set_here["notice_min"]) + seconds(known["total_max"])
    assert pod["terminationGracePeriodSeconds"] >= seconds(set_here["total_max"]) + 5
    assert run(BINARY, "check-config", "--set", f"listen={set_here['listen']}", "--set", f"total_max={set_here['total_max']}").returncode == 0
    startup = container["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 600, "a long migration is no failure"


def test_every_path_and_command_in_the_manifests_exists(servers, manifests):
    container = manifests["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    server = servers(database="memory:").start()
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert server.get(container[probe]["httpGet"]["path"], headers={"User-Agent": "kube-probe/1.30"}).status == 200
    assert container["args"] == ["serve"]
    command = container["lifecycle"]["preStop"]["exec"]["command"]
    assert command[0] == "gathering"
    server.cli(*command[1:])
    assert server.get("/health/ready", headers={"User-Agent": "kube-probe/1.30"}).status == 503
    server.stop()


def test_what_the_documentation_sets_is_accepted():
    with open(os.path.join(ROOT, "doc/deploy.md"), encoding="utf-8") as file:
        found = [(name.lower(), value) for name, value in re.findall(r"GATHERING_([A-Z_]+)=(\w+)", file.read())]
    assert len(found) >= 6
    for name, value in found:
        done = run(BINARY, "check-config", "--set", f"{name}={value}")
        assert done.returncode == 0, done.stderr


# --- Docker: no daemon here ---

INSTRUCTIONS = {"FROM", "RUN", "COPY", "WORKDIR", "USER", "VOLUME", "ENV", "EXPOSE", "STOPSIGNAL", "ENTRYPOINT", "CMD"}


def test_the_dockerfile_is_well_formed_and_carries_every_library():
    lines = re.sub(r"\\\n\s*", " ", re.sub(r"^#.*\n", "", dist("Dockerfile"), flags=re.M)).split("\n")
    instructions = [line.split(" ", 1) for line in lines if line.strip()]
    assert {word for word, _ in instructions} <= INSTRUCTIONS and instructions[0][0] == "FROM"
    assert ["ENTRYPOINT", '["gathering"]'] in instructions and ["STOPSIGNAL", "SIGTERM"] in instructions
    packages = " ".join(rest for word, rest in instructions if word == "RUN" and "libuv1" in rest)
    linked = set(re.findall(r"^\s+lib(\w[\w.+-]*?)\.so", run("ldd", BINARY).stdout, re.M))
    for name, package in {"uv": "libuv1", "microhttpd": "libmicrohttpd12", "curl": "libcurl4", "jansson": "libjansson4",
                          "glib-2.0": "libglib2.0-0", "sqlite3": "libsqlite3-0", "pq": "libpq5", "sodium": "libsodium23"}.items():
        assert name not in linked or package in packages.split(), f"the image lacks {package}"
