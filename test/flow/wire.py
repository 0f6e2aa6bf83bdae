# SPDX-License-Identifier: Apache-2.0
"""A wire to PostgreSQL that breaks where it is told to: it reads the messages of both sides (protocol 3, without TLS,
https://www.postgresql.org/docs/current/protocol-message-formats.html) and knows which function is being called.

    wire = Wire(port_of_postgresql)                     servers use wire.url(url)
    cut = wire.cut("claim", "answer")                   the next call of gathering.claim() is committed, and nobody hears of it
    wire.cut("take", "question")                        it never reaches the server
    cut.wait(30)                                        it has happened
"""
import contextlib
import re
import socket
import threading
import urllib.parse

CALL = re.compile(rb"gathering\.(\w+)\s*\(")


class Cut(threading.Event):
    def __init__(self, word, side):
        super().__init__()
        self.word, self.side = word, side


class Line:
    """One connection. Answers are passed on when they are whole: from the question to ReadyForQuery, before which the
    server has committed."""

    def __init__(self, wire, client):
        self.wire, self.client = wire, client
        self.server = socket.create_connection(("127.0.0.1", wire.port))
        self.lock = threading.Lock()
        self.statements = {}  # of prepared ones: the functions they call
        self.asked, self.batches = set(), []  # since the last Sync; up to each Sync that is not answered
        threading.Thread(target=self.guarded, args=(self.pass_questions,), daemon=True).start()
        threading.Thread(target=self.guarded, args=(self.pass_answers,), daemon=True).start()

    def guarded(self, work):
        with contextlib.suppress(OSError, EOFError):
            work()
        self.close()

    def close(self):
        for end in (self.client, self.server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    @staticmethod
    def receive(end, size):
        got = b""
        while len(got) < size:
            part = end.recv(size - len(got))
            if not part:
                raise EOFError
            got += part
        return got

    def message(self, end):
        """-> its type and all of it."""
        head = self.receive(end, 5)
        return head[:1], head + self.receive(end, int.from_bytes(head[1:], "big") - 4)

    def note_question(self, kind, message):
        body = message[5:]
        if kind in b"PQ":
            name, text = body.split(b"\0", 1) if kind == b"P" else (b"", body)
            self.statements[name] = {word.decode() for word in CALL.findall(text)}
        if kind in b"BQ":
            name = body.split(b"\0", 2)[1] if kind == b"B" else b""
            self.asked |= self.statements.get(name, set())
        if kind in b"SQ":
            self.batches.append(self.asked)
            self.asked = set()

    def pass_questions(self):
        size = self.receive(self.client, 4)
        self.server.sendall(size + self.receive(self.client, int.from_bytes(size, "big") - 4))  # start or cancel
        while True:
            kind, message = self.message(self.client)
            with self.lock:
                self.note_question(kind, message)
                is_cut = self.wire.take_cut(self.asked, "question")
            if is_cut:
                return
            self.server.sendall(message)

    def pass_answers(self):
        held = []
        while True:
            kind, message = self.message(self.server)
            held.append(message)
            with self.lock:
                asked = self.batches.pop(0) if kind == b"Z" and self.batches else set()
                is_idle = kind == b"Z" or not self.batches
            if self.wire.take_cut(asked, "answer"):
                return
            if is_idle:
                self.client.sendall(b"".join(held))
                held.clear()


class Wire:
    def __init__(self, port):
        self.port, self.cuts, self.lock = int(port), [], threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                try:
                    Line(self, client)
                except OSError:
                    client.close()

    def url(self, url):
        parts = urllib.parse.urlsplit(url)
        return parts._replace(netloc=f"{parts.username}@127.0.0.1:{self.listener.getsockname()[1]}",
                              query="sslmode=disable&gssencmode=disable").geturl()

    def cut(self, word, side):
        made = Cut(word, side)
        with self.lock:
            self.cuts.append(made)
        return made

    def take_cut(self, asked, side):
        with self.lock:
            for cut in self.cuts:
                if cut.side == side and cut.word in asked:
                    self.cuts.remove(cut)
                    cut.set()
                    return True
        return False

    def close(self):
        self.listener.close()
