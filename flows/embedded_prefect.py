"""Prefect for one process: a server of its own, quiet, and gone when the process is.

Prefect's own ephemeral server outlives a process that is killed. This one holds the reading end
of a pipe whose writing end only its owner has: when the owner is gone, however it went, the pipe
ends and the server leaves.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

STARTUP_SECONDS = 180
LEAVE_SECONDS = 5


class AlreadyRunningError(RuntimeError):
    """Another process runs in the same folder."""


@contextmanager
def embedded_prefect(folder: Path) -> Iterator[None]:
    """Run flows inside the block on a server of this process's own, kept in ``folder``.

    To be entered before prefect is imported: its settings come from the environment. Flow runs
    that an earlier, killed process left as running are marked as crashed.

    Raises:
        AlreadyRunningError: another process is inside this block with the same folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # the operating system gives the lock back when its holder dies
    try:
        held = FileLock(folder / ".lock").acquire(timeout=0)
    except Timeout:
        raise AlreadyRunningError(
            f"another process is running in {folder}; wait for it or end it"
        ) from None
    home = folder / "prefect"
    with held, embedded_server(home) as api_url:
        # the flow run's log has everything; the terminal has the bar and its notes
        quiet = {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL"}
        environment = _environment(home) | quiet | {"PREFECT_API_URL": api_url}
        os.environ.clear()
        os.environ.update(environment)
        wait_until_ready(api_url)
        _mark_abandoned_runs()
        try:
            yield
        finally:
            send_what_is_queued()


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
            [sys.executable, "-m", "flows.embedded_prefect"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=_environment(home)
            | {"PREFECT_SERVER_UI_ENABLED": "false", "PREFECT_SERVER_LOGGING_LEVEL": "WARNING"},
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
        except OSError:
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"the Prefect server at {api_url} did not answer within {seconds:.0f} s"
                ) from None
            time.sleep(0.1)


def send_what_is_queued(seconds: float = 15) -> None:
    """Hand queued events and log lines to the server while it is still there.

    Otherwise they are retried for a minute when the interpreter ends.
    """
    from prefect.events.worker import EventsWorker

    # one register for all queues of Prefect: this drains the log lines too
    EventsWorker.drain_all(timeout=seconds, at_exit=False)


def _environment(home: Path) -> dict[str, str]:
    """This process's, with none of Prefect's settings but those of a server kept in ``home``."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return others | {
        "DO_NOT_TRACK": "1",
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }


def _mark_abandoned_runs() -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter
    from prefect.client.schemas.objects import StateType
    from prefect.states import Crashed

    from tasks.runtime.dead_attempts import end_tasks

    unfinished = FlowRunFilter(state={"type": {"any_": [StateType.RUNNING, StateType.PENDING]}})
    with get_client(sync_client=True) as client:
        abandoned = [each.id for each in client.read_flow_runs(flow_run_filter=unfinished)]
        for flow_run in abandoned:
            client.set_flow_run_state(
                flow_run, Crashed(message="Its process was killed."), force=True
            )
        if abandoned:
            end_tasks(client, abandoned)


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
