# SPDX-License-Identifier: Apache-2.0
"""Clients of streams: events and output as they come, read by a thread so that a test can wait for what it wants."""
import codecs
import http.client
import json
import socket
import threading
import time

from harness import WAIT_S, wait_for


class Stream(threading.Thread):
    """GET `path` of a server (or of a balancer's port); `events` are (name, data, id, monotonic time of arrival)."""

    def __init__(self, server, path, last_id=None, accept="text/event-stream", port=None):
        super().__init__(daemon=True)
        headers = {"Accept": accept, **({"Last-Event-ID": last_id} if last_id else {})}
        self.events, self.pieces, self.has_ended, self.broke = [], [], False, None
        self.connection = http.client.HTTPConnection("127.0.0.1", port or server.port, timeout=WAIT_S * 2)
        self.connection.request("GET", path, headers=headers)
        self.socket = self.connection.sock
        self.answer = self.connection.getresponse()
        self.status = self.answer.status
        assert self.status == 200, (self.status, self.answer.read())
        self.start()

    def run(self):
        try:
            if self.answer.headers["Content-Type"] == "text/event-stream":
                self.read_events()
            else:
                self.read_text()
        except (OSError, http.client.HTTPException, ValueError, AttributeError) as broke:
            self.broke = broke
        self.has_ended = True

    def read_text(self):
        decoder = codecs.getincrementaldecoder("utf-8")()
        while piece := self.answer.read1(1 << 20):
            self.pieces.append(decoder.decode(piece))

    def read_events(self):
        event, data, last = None, None, None
        for raw in self.answer:
            line = raw.decode()
            self.pieces.append(line)
            name, _, value = line.rstrip("\n").partition(": ")
            if name == "event":
                event = value
            elif name == "id":
                last = value
            elif name == "data":
                data = json.loads(value)
            elif line == "\n" and data is not None:
                self.events.append((event, data, last, time.monotonic()))
                event, data = None, None

    @property
    def text(self):
        """All that came, put together only when asked for: to add piece by piece to megabytes takes its time."""
        return "".join(self.pieces)

    def named(self, name):
        return [data for event, data, _, _ in list(self.events) if event == name]

    def output(self):
        return "".join(data["text"] for data in self.named("output"))

    def wait(self, name, count=1, timeout=WAIT_S):
        """The data of the `count`-th event of that name."""
        return wait_for(lambda: self.named(name)[count - 1:] or None, f"{count} event(s) {name}; {self.events}", timeout)[0]

    def wait_output(self, text):
        wait_for(lambda: text in self.output(), f"{text!r} in the output; {self.events}")

    def wait_end(self):
        wait_for(lambda: self.has_ended, f"the end of the stream; {self.events}")

    def leave(self):
        self.socket.shutdown(socket.SHUT_RDWR)  # a close would wait for the thread that reads
        self.join()


def open_streams(server):
    """As the server counts them."""
    for line in server.get("/metrics").body.decode().splitlines():
        if line.startswith("gathering_http_streams "):
            return int(line.split()[1])
    raise AssertionError("no gauge")
