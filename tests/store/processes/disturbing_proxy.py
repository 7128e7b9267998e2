"""Stands between a client and an S3-compatible server, and does to requests what networks do.

Arguments: the port to listen on and the server's. On each line that it reads it takes a new mode:
``pass``; ``503``: answers so; ``slow``: each piece waits; ``cut``: ends in the middle of an answer;
``cut-up``: ends in the middle of a request; ``dead``: takes no connection; each with how many
requests it is for, as in ``503 3``. Then it passes all on again.
"""

from __future__ import annotations

import contextlib
import random
import socket
import sys
import threading
import time

PIECE = 1 << 14
REFUSAL = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>later</Message></Error>"


class Mode:
    """What is done, and to how many connections still."""

    def __init__(self) -> None:
        self.name, self.left = "pass", 0
        self.lock = threading.Lock()
        self.done = 0

    def take(self) -> str:
        with self.lock:
            if self.name == "pass" or self.left <= 0:
                return "pass"
            self.left -= 1
            self.done += 1
            return self.name


def serve(client: socket.socket, server_port: int, mode: Mode) -> None:
    """One connection, request by request."""
    chance = random.Random()
    with client, socket.create_connection(("127.0.0.1", server_port)) as server:
        client.settimeout(10)
        server.settimeout(10)
        while True:
            head = read_head(client)
            if head is None:
                return
            length = body_length(head)
            head, waits = without_expectation(head)
            doing = mode.take()
            if doing == "dead":
                return
            if waits:
                client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            if doing == "503":
                drain(client, length)
                answer = b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\n"
                answer += f"Content-Length: {len(REFUSAL)}\r\n\r\n".encode()
                client.sendall(answer + REFUSAL)
                continue
            server.sendall(head)
            limit = chance.randrange(length) if doing == "cut-up" and length else None
            if not relay(client, server, length, limit, slow=doing == "slow"):
                return
            if doing == "cut-up":
                return
            answer_head = read_head(server)
            if answer_head is None:
                return
            has_body = not head.startswith(b"HEAD")
            length = body_length(answer_head) if has_body else 0
            client.sendall(answer_head)
            if b"chunked" in answer_head.lower() and has_body:
                if doing == "cut":
                    return
                relay_chunks(server, client)
                continue
            limit = chance.randrange(length) if doing == "cut" and length else None
            if not relay(server, client, length, limit, slow=doing == "slow") or doing == "cut":
                return


def read_head(source: socket.socket) -> bytes | None:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = source.recv(1)
        if not byte:
            return None
        head += byte
    return head


def without_expectation(head: bytes) -> tuple[bytes, bool]:
    """The head without ``Expect: 100-continue``, and whether the client waits for that."""
    lines = head.split(b"\r\n")
    kept = [line for line in lines if not line.lower().startswith(b"expect:")]
    return b"\r\n".join(kept), len(kept) < len(lines)


def body_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    return 0


def drain(source: socket.socket, length: int) -> None:
    while length > 0:
        piece = source.recv(min(length, PIECE))
        if not piece:
            return
        length -= len(piece)


def relay(
    source: socket.socket, to: socket.socket, length: int, limit: int | None, *, slow: bool
) -> bool:
    """Whether all went through."""
    gone = 0
    while gone < length:
        piece = source.recv(min(length - gone, PIECE))
        if not piece:
            return False
        if limit is not None and gone + len(piece) > limit:
            to.sendall(piece[: limit - gone])
            return False
        to.sendall(piece)
        gone += len(piece)
        if slow:
            time.sleep(0.2)
    return True


def relay_chunks(source: socket.socket, to: socket.socket) -> None:
    end = b""
    while end != b"0\r\n\r\n":
        byte = source.recv(1)
        if not byte:
            return
        to.sendall(byte)
        end = (end + byte)[-5:]


def main() -> None:
    port, server_port = int(sys.argv[1]), int(sys.argv[2])
    mode = Mode()
    listener = socket.create_server(("127.0.0.1", port), backlog=64)

    def accept() -> None:
        while True:
            client, _ = listener.accept()
            threading.Thread(target=one, args=(client,), daemon=True).start()

    def one(client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            serve(client, server_port, mode)

    threading.Thread(target=accept, daemon=True).start()
    print("ready", flush=True)
    for line in sys.stdin:
        name, _, count = line.strip().partition(" ")
        with mode.lock:
            done, mode.done = mode.done, 0
            mode.name, mode.left = name, int(count or 0)
        print(done, flush=True)


if __name__ == "__main__":
    main()
