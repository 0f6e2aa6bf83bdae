# SPDX-License-Identifier: Apache-2.0
"""The table of hostile requests (test/unit/hostile_requests.def) for tests of the whole server.

    for name, status, request in hostile.requests():   # bytes to send as they are
        answer = hostile.send(host, port, request)     # bytes until the server closed

`status` 0 promises only that the request is refused or the connection closed.
"""
import pathlib
import re
import socket

TABLE = pathlib.Path(__file__).parent.parent / "unit" / "hostile_requests.def"
ROW = re.compile(r'^X\("((?:[^"\\]|\\.)*)", (\d+), "((?:[^"\\]|\\.)*)"\)$', re.M)


def requests():
    """Each row as (name, status, bytes); fails when a row is not understood."""
    text = TABLE.read_text(encoding="ascii")
    rows = [
        (name, int(status), raw.encode("ascii").decode("unicode_escape").encode("latin-1"))
        for name, status, raw in ROW.findall(text)
    ]
    assert len(rows) == len(re.findall(r"^X\(", text, re.M)), "a row of the table is not one line"
    return rows


def send(host, port, request, timeout=30):
    """What the server says before it closes; raises when it does not close in time."""
    with socket.create_connection((host, port), timeout=timeout) as sock:
        sock.sendall(request)
        answer = b""
        while chunk := sock.recv(65536):
            answer += chunk
        return answer
