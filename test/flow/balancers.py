# SPDX-License-Identifier: Apache-2.0
"""Real load balancers, made of the files in dist/ with addresses filled in, and clients that never retry."""
import http.client
import os
import shutil
import signal
import socket
import subprocess
import threading
import time

from harness import ROOT, Server, free_port, wait_for

SBIN = os.environ["PATH"] + ":/usr/sbin"
HAPROXY = shutil.which("haproxy", path=SBIN)
NGINX = shutil.which("nginx", path=SBIN)
PLACES = ("10.0.0.11:8080", "10.0.0.12:8080")  # the servers in dist/*


def filled(name, port, servers, **replaced):
    """A file of dist/ as an administrator would edit it; every text to replace must be there."""
    with open(os.path.join(ROOT, "dist", name), encoding="utf-8") as file:
        text = file.read()
    pairs = {"127.0.0.1:80": f"127.0.0.1:{port}", **{place: f"127.0.0.1:{server.port}" for place, server in zip(PLACES, servers)},
             **{old: new for old, new in replaced.values()}}
    for old, new in pairs.items():
        assert old in text, f"dist/{name} has no {old!r}"
        text = text.replace(old, new)
    return text


class Balancer:
    """What both have: a port of its own, a folder, a process."""

    may_keep = True  # do its clients lose nothing on kept connections?

    def __init__(self, folder, servers):
        self.folder, self.servers, self.port = str(folder), servers, free_port()
        os.makedirs(self.folder, exist_ok=True)
        self.process = None

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)

    def run(self, *command):
        with open(self.path("balancer.log"), "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def log(self):
        with open(self.path("balancer.log"), encoding="utf-8", errors="replace") as log:
            return log.read()

    def close(self):
        if self.process:
            self.process.terminate()
            self.process.wait()


class Haproxy(Balancer):
    """Probes /health/ready every `inter`."""

    def __init__(self, folder, servers, inter="500ms"):
        super().__init__(folder, servers)
        self.write("global.cfg", f"global\n    maxconn 2000\n    stats socket {self.path('stats.sock')} mode 600 level admin\n")
        self.write("haproxy.cfg", filled("haproxy.cfg", self.port, servers, inter=("inter 500ms", f"inter {inter}")))
        self.run(HAPROXY, "-db", "-f", self.path("global.cfg"), "-f", self.path("haproxy.cfg"))
        self.wait_all_up()

    def states(self):
        try:
            with socket.socket(socket.AF_UNIX) as stats:
                stats.connect(self.path("stats.sock"))
                stats.sendall(b"show stat\n")
                text = b"".join(iter(lambda: stats.recv(65536), b"")).decode()
        except OSError:
            return []
        rows = [line.split(",") for line in text.splitlines() if line.startswith("gathering,")]
        return [row[17] for row in rows if row[1] in "ab"]

    def wait_all_up(self):
        def are_up():
            assert self.process.poll() is None, self.log()
            return self.states() == ["UP", "UP"]
        wait_for(are_up, "both servers up in HAProxy")

    def leave_out(self, server):
        """It finds out by itself."""

    def take_in(self, server):
        self.wait_all_up()


class Nginx(Balancer):
    """Does not probe: who deploys edits its file and reloads it. That closes the idle connections of nginx's clients
    without a word, whatever happens to the servers, and a client that does not retry fails then: 16 of 808 requests
    in four reloads with nothing else. So its clients make a connection a request here."""

    may_keep = False

    MAIN = """worker_processes 2;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/gathering.conf;
}}
"""

    def __init__(self, folder, servers):
        super().__init__(folder, servers)
        self.out = set()
        self.write("nginx.conf", self.MAIN.format(folder=self.folder))
        self.configure()
        self.run(NGINX, "-p", self.folder, "-e", self.path("error.log"), "-c", self.path("nginx.conf"))
        wait_for(self.answers, "nginx")

    def configure(self):
        downs = {name: (f"127.0.0.1:{server.port} max_fails=0", f"127.0.0.1:{server.port} down") for name, server in zip("ab", self.servers)
                 if server in self.out}
        self.write("gathering.conf", filled("nginx.conf", self.port, self.servers, **downs))

    def answers(self):
        assert self.process.poll() is None, self.log()
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            connection.request("GET", "/health/live")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def workers(self):
        children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(self.process.pid)], capture_output=True, text=True, check=False)
        return set(children.stdout.split())

    def reload(self):
        """Until the workers with the old file are gone: they have finished what they had taken."""
        old = self.workers()
        self.configure()
        self.process.send_signal(signal.SIGHUP)
        wait_for(lambda: self.workers() and not old & self.workers(), "nginx's new workers alone")

    def leave_out(self, server):
        self.out = {server}
        self.reload()

    def take_in(self, server):
        self.out = set()
        self.reload()


class Load:
    """Clients that never retry; GET and POST, keep-alive or a connection a request, one each `pause` seconds."""

    def __init__(self, port, clients=8, pause=0.02, may_keep=True):
        self.port, self.pause, self.may_keep = port, pause, may_keep
        self.ok, self.failed, self.is_ending = 0, [], False
        self.longest_s = 0
        self.threads = [threading.Thread(target=self.run, args=(n,)) for n in range(clients)]
        for thread in self.threads:
            thread.start()

    def connect(self):
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    @staticmethod
    def request(number, keeps):
        fields = b"Host: gathering\r\n" + (b"" if keeps else b"Connection: close\r\n")
        if number % 4:
            return b"GET /api/v1/actions?limit=1 HTTP/1.1\r\n" + fields + b"\r\n"
        body = b'{"schedule": {"every": "10s"}, "count": 1}'
        fields += b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body)
        return b"POST /api/v1/schedules/preview HTTP/1.1\r\n" + fields + b"\r\n" + body

    @staticmethod
    def answer(sock):
        """-> (status, may the connection be used again)"""
        text = b""
        while b"\r\n\r\n" not in text:
            chunk = sock.recv(65536)
            if not chunk:
                raise ConnectionError(f"closed after {len(text)} bytes of a head")
            text += chunk
        head, _, body = text.partition(b"\r\n\r\n")
        head = head.lower()
        left = int(head.split(b"content-length:")[1].split(b"\r\n")[0]) - len(body)
        while left > 0:
            chunk = sock.recv(left)
            if not chunk:
                raise ConnectionError(f"closed {left} bytes before the end of the body")
            left -= len(chunk)
        return int(head[9:12]), b"connection: close" not in head

    def run(self, client):
        keeps, number, sock = self.may_keep and client % 2 == 0, client, None
        due = time.monotonic()
        while not self.is_ending:
            number += 1
            began = time.monotonic()
            due = max(due + self.pause, began - self.pause)
            try:
                sock = sock or self.connect()
                sock.sendall(self.request(number, keeps))
                status, is_kept = self.answer(sock)
                if status == 200:
                    self.ok += 1
                else:
                    self.failed.append((began, status))
            except OSError as error:
                self.failed.append((began, repr(error)))
                is_kept = False
            self.longest_s = max(self.longest_s, time.monotonic() - began)
            if sock and not (keeps and is_kept):
                sock.close()
                sock = None
            time.sleep(max(0, due - time.monotonic()))

    def end(self):
        self.is_ending = True
        for thread in self.threads:
            thread.join()


class Watcher:
    """Looks at a server past the balancer, with a name that does not count as a prober: what it says of its
    readiness until its listener is closed."""

    def __init__(self, server):
        self.server, self.statuses, self.refused = server, [], False
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while self.server.process.poll() is None and not self.refused:
            try:
                self.statuses.append(self.server.get("/health/ready", headers={"User-Agent": "gathering/test"}).status)
            except (OSError, http.client.HTTPException):
                self.refused = True
            time.sleep(0.05)


class Roll:
    """Two servers behind a balancer under load; each is stopped and started again, as a deploy does."""

    def __init__(self, folder, balancer, drains_first=False, rolls=1, clients=8, pause=0.02, **options):
        self.drains_first = drains_first
        self.servers, self.balancer, self.load = [], None, None
        self.took_s, self.refusals = [], []
        try:
            for name in "ab":
                home = os.path.join(str(folder), name)
                os.makedirs(home)
                self.servers.append(Server(home, **{"listen": f"127.0.0.1:{free_port()}", **options}).start())
            self.balancer = balancer(os.path.join(str(folder), "balancer"), self.servers)
            self.load = Load(self.balancer.port, clients, pause, self.balancer.may_keep)
            wait_for(lambda: self.load.ok > 200, "the load to flow")
            for server in self.servers * rolls:
                self.roll(server)
        finally:
            self.end()

    def roll(self, server):
        began = time.monotonic()
        if self.drains_first:
            server.cli("instance", "drain")
        watcher = Watcher(server)
        self.balancer.leave_out(server)
        server.signal(signal.SIGTERM)
        assert server.wait() == 0, server.log
        self.took_s.append(time.monotonic() - began)
        watcher.thread.join()
        self.refusals.append(watcher.statuses.count(503))
        server.start()
        self.balancer.take_in(server)

    def end(self):
        if self.load:
            self.load.end()
        if self.balancer:
            self.balancer.close()
        for server in self.servers:
            server.close()
