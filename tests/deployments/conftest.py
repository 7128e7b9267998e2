"""A real server, the deployments and a process worker, as the README starts them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest


@dataclass
class Site:
    """A folder that is not the repository, and the commands typed in it."""

    folder: Path
    api_url: str
    environment: dict[str, str]
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def run(self, *arguments: str, timeout: float = 180) -> subprocess.CompletedProcess[str]:
        """Run ``python -m …`` to its end; its output is one text."""
        return subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start ``python -m …`` in a process group of its own; it ends with the test session."""
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def get(self, path: str) -> Any:
        """An object of the server."""
        with urllib.request.urlopen(f"{self.api_url}/{path}", timeout=30) as answer:
            return json.load(answer)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """What the server finds for a filter."""
        request = urllib.request.Request(
            f"{self.api_url}/{path}",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def log(self) -> str:
        """What server and worker said."""
        return (self.folder / "log").read_text()

    def end(self) -> None:
        """End all that was started."""
        for process in reversed(self.started):
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            process.wait()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Server started and deployments applied, from a folder that is not the repository."""
    folder = tmp_path_factory.mktemp("site")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    site = Site(
        folder,
        f"http://127.0.0.1:{port}/api",
        ours
        | {
            "OMP_NUM_THREADS": "1",
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
            "DACAPO_RUNS_BASE_DIR": str(folder / "runs"),
        },
    )
    try:
        site.start("deployments", "server", "--port", str(port))
        deadline = time.monotonic() + 120
        while True:
            try:
                site.get("health")
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise TimeoutError(site.log()) from None
                time.sleep(0.2)
        deployed = site.run("deployments", "deploy")
        assert deployed.returncode == 0, deployed.stdout
        yield site
    finally:
        site.end()
