"""The private server answers, and nothing of it outlives its owner."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

OWNER = """
import sys, time
from pathlib import Path
from flows.embedded_prefect import embedded_server, wait_until_ready
with embedded_server(Path(sys.argv[1])) as url:
    if sys.argv[2] == "ready":
        wait_until_ready(url)
    print(url, flush=True)
    time.sleep(600)
"""


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5):
            return True
    except OSError:
        return False


def port_is_free(url: str) -> bool:
    import socket

    port = int(url.split(":")[2].split("/")[0])
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@pytest.mark.parametrize(
    ("when", "number"),
    [
        pytest.param("starting", signal.SIGKILL, id="killed while the server starts"),
        pytest.param("ready", signal.SIGKILL, id="killed while it serves", marks=pytest.mark.slow),
        pytest.param("ready", signal.SIGINT, id="interrupted", marks=pytest.mark.slow),
    ],
)
def test_the_server_ends_with_its_owner(tmp_path: Path, when: str, number: int) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path), when],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert owner.stdout is not None
    url = owner.stdout.readline().strip()
    if when == "ready":
        assert answers(url)
    os.kill(owner.pid, number)
    owner.wait(30)
    owner.stdout.close()
    deadline = time.monotonic() + 30
    while not port_is_free(url) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert port_is_free(url)
