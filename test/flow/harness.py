# SPDX-License-Identifier: Apache-2.0
"""The real server as a child process, and the few things every flow test needs.

Nothing here sleeps for a fixed time to see an effect: wait_for() asks until the answer is yes.
"""
import asyncio
import contextlib
import http.client
import http.server
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARY = os.environ.get("GATHERING_BINARY", os.path.join(ROOT, "build-test", "gathering"))
WAIT_S = 30  # an event that takes longer is a failure, not noise


def wait_for(question, what, timeout=WAIT_S):
    """Asks until the answer is true and returns it; `what` names it when it never is."""
    deadline = time.monotonic() + timeout
    while True:
        answer = question()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"still waiting after {timeout} s for: {what}")
        time.sleep(0.01)


def lines_of(path):
    """What a program has written in whole lines: a file that exists may still be empty, a line half there."""
    with contextlib.suppress(FileNotFoundError), open(path, encoding="utf-8") as file:
        return file.read().split("\n")[:-1]
    return []


def wait_lines(path, what, count=1):
    """The lines, once there are `count` whole ones."""
    def enough():
        lines = lines_of(path)
        return lines if len(lines) >= count else None
    return wait_for(enough, f"{what}: {count} line(s) in {path}")


def has_ended(pid):
    """Gone, or dead and not yet reaped by whoever inherited it."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rsplit(")", 1)[1].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def free_port():
    """Below the range from which the kernel takes ports for connections, one of which could sit on it while its
    server is away; and apart from those of tools/pg-cluster."""
    for port in random.Random().sample(range(10000, 15000), 200):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no free port")


# `make prove` turns rules off, to see the tests of them fail: options laid over those of the test, and switches of a
# build that has them (src/base/prove.def).
PROVE_OPTIONS = dict(pair.split("=", 1) for pair in os.environ.get("PROVE_OPTIONS", "").split(",") if pair)


def seeded():
    """Random, and to be had again: GATHERING_TEST_SEED."""
    seed = int(os.environ.get("GATHERING_TEST_SEED", time.time_ns() % 1_000_000))
    print("GATHERING_TEST_SEED =", seed)
    return random.Random(seed)


def shell(text, **more):
    return {"kind": "exec", "exec": {"shell": True, "command": text}, **more}


def http_action(name, url="http://127.0.0.1:9/", **members):
    return {"name": name, "kind": "http", "http": {"url": url}, **members}


def head_of_post(body, *fields):
    return "\r\n".join(["POST /api/v1/actions HTTP/1.1", "Host: a", "Content-Type: application/json", f"Content-Length: {len(body)}",
                        *fields, "", ""]).encode()


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"<{self.status} {self.body[:300]!r}>"


class Server:
    """One `gathering serve`; options as keyword arguments (exec_enabled=True)."""

    def __init__(self, folder, database=None, environ=None, prefix=(), **options):
        self.folder = str(folder)
        self.database = database or f"sqlite:{self.folder}/gathering.db"
        self.options = {"listen": "127.0.0.1:0", "database": self.database, **options}
        self.environ = {"PATH": os.environ["PATH"], **(environ or {})}
        for key in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS", "PROVE_WITHOUT"):
            if key in os.environ:
                self.environ[key] = os.environ[key]
        self.prefix, self.binary = list(prefix), BINARY
        self.activation = ()  # listening sockets to be passed as systemd does
        self.log_path = os.path.join(self.folder, f"server-{time.monotonic_ns()}.log")
        self.process = None
        self.host, self.port = None, None

    # --- its life ---

    def spawn(self):
        passed = [sock.fileno() for sock in self.activation]
        command = self.prefix + [self.binary, "serve"]
        if passed:
            moves = " ".join(f"{3 + n}<&{fd} {fd}<&-" for n, fd in enumerate(passed))
            command = ["bash", "-c", f'exec {moves}; export LISTEN_PID=$$ LISTEN_FDS={len(passed)}; exec "$@"', "bash", *command]
        for name, value in {**self.options, **PROVE_OPTIONS}.items():
            value = str(value).lower() if isinstance(value, bool) else value
            command += ["--set", f"{name}={value}"]
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=self.environ, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True, pass_fds=passed)
        return self

    def start(self):
        self.spawn()
        self.wait_listening()
        # not /health/ready: who asks that is a prober, and a stop waits until it has heard
        try:
            wait_for(lambda: self.get("/health/startup").status == 200, "the start")
        except (AssertionError, OSError) as late:
            if self.process.poll() is None:
                self.signal(signal.SIGUSR1)  # says into its log what it is doing
                time.sleep(0.5)
            raise AssertionError(f"{late}\n{self.log}\n{self.stacks()}") from None
        return self

    def stacks(self):
        """Where its threads are, for a server that hangs."""
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            return subprocess.run(["gdb", "-p", str(self.pid), "-batch", "-ex", "thread apply all bt 12"], capture_output=True, text=True,
                                  timeout=30, check=False).stdout
        return "(no gdb)"

    def wait_listening(self):
        def address():
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended with {self.process.returncode}:\n{self.log}")
            return re.search(r"listening address=(\S+):(\d+)\s", self.log)  # the whole line
        found = wait_for(address, "the listening line")
        self.host, self.port = found.group(1).strip("[]"), int(found.group(2))
        return self

    @property
    def pid(self):
        return self.process.pid

    @property
    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.read()

    @property
    def id(self):
        """Of this instance; it has said it first of all."""
        return re.search(r"instance=([0-9a-f-]{36})", self.log).group(1)

    @property
    def stop_events(self):
        """Of the stop sequence so far: {name: milliseconds since it began}."""
        return {name: int(after) for name, after in re.findall(r"stop sequence.* event=(\w+) after_ms=(\d+) cut=", self.log)}

    def signal(self, number):
        os.kill(self.pid, number)

    def wait(self, timeout=WAIT_S):
        return self.process.wait(timeout)

    def stop(self, expect=0):
        """TERM, then the exit status; the log is shown when it is another than `expect`."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        status = self.wait(60)
        assert status == expect, f"exit status {status}, not {expect}:\n{self.log}"
        return status

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        """For the end of a test: whatever state it is in, it goes, by itself, and was not a crash of ours."""
        if self.process and self.process.poll() is None:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
            try:
                self.wait(2)
            except subprocess.TimeoutExpired:
                self.signal(signal.SIGQUIT)  # runs that go on, and probers that do not come, are not waited for
                self.end_or_tell()
        assert "Sanitizer" not in self.log and "runtime error" not in self.log, self.log

    def end_or_tell(self):
        try:
            self.wait()
        except subprocess.TimeoutExpired:
            stacks = self.stacks()
            self.kill()
            raise AssertionError(f"neither TERM nor QUIT ends it\n{self.log}\n{stacks}") from None

    # --- requests ---

    def request(self, method, path, body=None, headers=None, timeout=WAIT_S):
        headers = dict(headers or {})
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def get(self, path, **kw):
        return self.request("GET", path, **kw)

    def post(self, path, body=None, **kw):
        return self.request("POST", path, body, **kw)

    def connect(self):
        return socket.create_connection((self.host, self.port), timeout=WAIT_S)

    # --- what tests keep doing ---

    def create(self, **definition):
        answer = self.post("/api/v1/actions", definition)
        assert answer.status == 201, answer
        return answer.json

    def runs(self, action=None, **filters):
        filters = {"limit": 1000, **filters}
        query = "&".join(f"{key}={value}" for key, value in filters.items())
        path = f"/api/v1/actions/{action}/runs" if action else "/api/v1/runs"
        items, cursor = [], ""
        while True:
            answer = self.get(f"{path}?{query}{cursor}")
            assert answer.status == 200, answer
            items += answer.json["items"]
            if "next_cursor" not in answer.json:
                return items
            cursor = "&cursor=" + answer.json["next_cursor"]

    def wait_run(self, run_id, states=("succeeded", "failed", "timed_out", "cancelled", "skipped", "held")):
        def ended():
            run = self.get(f"/api/v1/runs/{run_id}").json
            return run if run["state"] in states else None
        return wait_for(ended, f"run {run_id} to be one of {states}")

    def cli(self, *arguments, expect=0, stdin=None, environ=None):
        done = subprocess.run(
            [BINARY, *arguments], capture_output=True, text=True, input=stdin, timeout=120, cwd=self.folder,
            env={**self.environ, "GATHERING_SERVER": f"http://{self.host}:{self.port}", **(environ or {})})
        assert done.returncode == expect, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done


class Target:
    """A local web server that writes down what it is asked; `respond` decides the answer."""

    def __init__(self, respond=None):
        self.requests = []
        target = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                entry = {"method": self.command, "path": self.path, "headers": dict(self.headers),
                         "body": body, "at": time.time()}
                target.requests.append(entry)
                status, answer, *more = respond(entry) if respond else (200, b"ok")
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(answer)))
                    for name, value in (more[0] if more else {}).items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(answer)

            do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = handle_any

            def log_message(self, *arguments):
                pass

        class Quiet(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 512

            def handle_error(self, request, address):
                if not isinstance(sys.exc_info()[1], ConnectionError):
                    super().handle_error(request, address)

        self.server = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Holder(threading.Thread):
    """Takes requests and answers none until it is told to; then all of them."""

    def __init__(self):
        super().__init__(daemon=True)
        self.waiting, self.first, self.last, self.url = 0, None, None, None
        self.is_open = threading.Event()
        self.start()
        self.is_open.wait()

    def run(self):
        asyncio.run(self.serve())

    async def serve(self):
        self.loop, self.released = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self.hold, "127.0.0.1", 0, backlog=20000)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        self.is_open.set()
        await asyncio.Event().wait()

    async def hold(self, reader, writer):
        try:
            await reader.readuntil(b"\r\n\r\n")
            self.waiting += 1
            self.last = time.time()
            self.first = self.first or self.last
            await self.released.wait()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        writer.close()

    def release(self):
        self.loop.call_soon_threadsafe(self.released.set)
