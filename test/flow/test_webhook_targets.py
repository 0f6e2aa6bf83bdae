# SPDX-License-Identifier: Apache-2.0
"""Webhooks to targets that cannot be trusted: bad certificates, ways down from https, answers without end."""
import http.server
import socket
import ssl
import subprocess
import threading

import pytest

from harness import wait_for

GIB = 1 << 30
AT_ONCE = 40
GROWTH_MAX_KIB = 320 << 10  # half of what AT_ONCE bodies of 16 MiB are: the sanitizer keeps what was freed for a while


class TlsTarget(http.server.ThreadingHTTPServer):
    """https on localhost with a certificate of its own making, which is also its only authority."""
    daemon_threads = True

    def __init__(self, folder):
        self.certificate, key = folder / "tls.crt", folder / "tls.key"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", self.certificate, "-days", "2",
                        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.certificate, key)
        self.seen, self.redirects = [], {}
        target = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                target.seen.append(self.path)
                to = target.redirects.get(self.path)
                self.send_response(302 if to else 200)
                if to:
                    self.send_header("Location", to)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"https://localhost:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def get_request(self):
        connection, address = super().get_request()
        return self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

    def handle_error(self, request, address):
        pass


@pytest.fixture
def tls(tmp_path):
    target = TlsTarget(tmp_path)
    yield target
    target.shutdown()
    target.server_close()


def run(server, name, url, **more):
    server.create(name=name, kind="http", http={"url": url}, **more)
    return server.wait_run(server.post(f"/api/v1/actions/{name}/run").json["id"])


def test_a_certificate_that_nobody_vouches_for_is_not_trusted(servers, tls):
    """The connection fails, which retry.on tells apart from a bad answer."""
    server = servers().start()
    for on, attempts in ((["connection"], 2), (["status:500-599"], 1)):
        ended = run(server, f"tls{attempts}", tls.url, retry={"max_attempts": 2, "initial": "0s", "on": on})
        assert ended["state"] == "failed" and "certificate" in ended["error"], ended
        assert ended["attempt"] == attempts
    assert not tls.seen


def test_https_is_never_left_for_http_but_may_be_reached_from_it(servers, targets, tls):
    plain = targets(lambda request: (302, b"", {"Location": tls.url + "/from-http"}) if request["path"] == "/up" else (200, b"ok"))
    server = servers(http_ca_file=tls.certificate).start()
    tls.redirects = {"/down": plain.url + "/", "/on": tls.url + "/there"}
    assert run(server, "direct", tls.url + "/")["state"] == "succeeded"
    assert run(server, "on", tls.url + "/on")["state"] == "succeeded"
    assert run(server, "up", plain.url + "/up")["state"] == "succeeded"
    down = run(server, "down", tls.url + "/down")
    assert down["state"] == "failed" and "redirected from https to http://127.0.0.1, which is not followed" in down["error"], down
    assert [request["path"] for request in plain.requests] == ["/up"]
    assert tls.seen == ["/", "/on", "/there", "/from-http", "/down"]


def test_authorities_that_cannot_be_read_are_told_at_the_start(servers, tmp_path):
    server = servers(http_ca_file=tmp_path / "none.pem").spawn()
    assert server.wait() != 0 and "http_ca_file: cannot read" in server.log and "No such file" in server.log


class Firehose(threading.Thread):
    """Answers each request with 1 GiB; `left` counts the clients that had enough before."""

    def __init__(self):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/"
        self.gate, self.lock, self.left = threading.Barrier(AT_ONCE), threading.Lock(), 0
        self.start()

    def run(self):
        while True:
            threading.Thread(target=self.pour, args=(self.listener.accept()[0],), daemon=True).start()

    def pour(self, connection):
        chunk = b"%x\r\n" % (1 << 16) + bytes(1 << 16) + b"\r\n"
        with connection:
            connection.recv(1 << 16)
            self.gate.wait()
            try:
                connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                for _ in range(GIB >> 16):
                    connection.sendall(chunk)
            except OSError:
                with self.lock:
                    self.left += 1


def highest_kib(server):
    with open(f"/proc/{server.pid}/status", encoding="ascii") as status:
        return int(next(line for line in status if line.startswith("VmHWM")).split()[1])


def test_answers_of_a_gibibyte_are_cut_off_and_take_no_memory(servers):
    hose = Firehose()
    server = servers().start()
    for n in range(AT_ONCE):
        server.create(name=f"pour{n}", kind="http", http={"url": hose.url})
    before = highest_kib(server)
    ids = [server.post(f"/api/v1/actions/pour{n}/run").json["id"] for n in range(AT_ONCE)]
    ends = [server.wait_run(each) for each in ids]
    assert {end["state"] for end in ends} == {"failed"}
    assert all("its body is longer than 16 MiB" in end["error"] and end["output_bytes"] <= 16 << 20 for end in ends), ends[0]
    grown = highest_kib(server) - before
    assert grown < GROWTH_MAX_KIB, f"{grown} KiB"
    wait_for(lambda: hose.left == AT_ONCE, "the connections to be closed")
