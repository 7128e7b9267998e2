"""A private Prefect server that lives exactly as long as the process that started it.

Prefect's own ephemeral server outlives a process that is killed. This one holds the reading end
of a pipe whose writing end only its owner has: when the owner is gone, however it went, the pipe
ends and the server leaves.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STARTUP_SECONDS = 180
LEAVE_SECONDS = 5


@contextmanager
def embedded_server(home: Path) -> Iterator[str]:
    """Start a server on a free loopback port and stop it at the end.

    Args:
        home: folder of the server's database and settings; made if missing.

    Yields:
        The API URL. The server may still be starting: see ``wait_until_ready``.

    Raises:
        RuntimeError: the server left before it listened; its log is named.
    """
    home.mkdir(parents=True, exist_ok=True)
    log_file = home / "server.log"
    with log_file.open("wb") as log:
        # a session of its own: Ctrl-C reaches the owner alone, which then still has its server
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.embedded_server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=_server_environment(home),
            start_new_session=True,
        )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        port = process.stdout.readline().strip()
        if not port:
            raise RuntimeError(f"the Prefect server did not start; its log is {log_file}")
        yield f"http://127.0.0.1:{int(port)}/api"
    finally:
        process.stdin.close()
        try:
            process.wait(LEAVE_SECONDS + 5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def wait_until_ready(api_url: str, seconds: float = STARTUP_SECONDS) -> None:
    """Return when the server answers.

    Raises:
        TimeoutError: it did not within ``seconds``.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(f"{api_url}/health", timeout=10):
                return
        except (urllib.error.URLError, OSError):
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"the Prefect server at {api_url} did not answer within {seconds:.0f} s"
                ) from None
            time.sleep(0.1)


def _server_environment(home: Path) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return ours | {
        "DO_NOT_TRACK": "1",
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_ENABLED": "false",
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
    }


def _serve_until_the_pipe_ends() -> None:
    """Listen, say on which port, serve; leave when standard input ends."""
    import socket
    import threading

    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    print(listener.getsockname()[1], flush=True)

    server = None

    def leave_with_the_owner() -> None:
        os.read(sys.stdin.fileno(), 1)
        if server is None:
            os._exit(0)
        server.should_exit = True
        time.sleep(LEAVE_SECONDS)
        os._exit(0)

    threading.Thread(target=leave_with_the_owner, daemon=True).start()

    import uvicorn

    server = uvicorn.Server(
        uvicorn.Config("prefect.server.api.server:create_app", factory=True, log_level="error")
    )
    server.run(sockets=[listener])


if __name__ == "__main__":
    _serve_until_the_pipe_ends()
