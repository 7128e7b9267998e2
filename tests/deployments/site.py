"""A site: a folder that is not the repository, a real server, and the commands typed there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from getpass import getuser
from pathlib import Path
from typing import Any

from deployments.marked_processes import marked
from flows.embedded_prefect import wait_until_ready
from tests.conftest import free_ports

BUSY_SECONDS = 60.0


@dataclass
class Site:
    """Where commands are typed; what they start ends with it."""

    folder: Path
    api_url: str
    environment: dict[str, str]
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)
    lasting: set[int] = field(default_factory=set)
    deployed: str = ""

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

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start ``python -m …`` in a process group of its own."""
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                cwd=self.folder,
                env=self.environment | environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def deployment_run(self, name: str, **parameters: Any) -> str:
        """Ask for a run of a deployment, as the form does; its flow run's id."""
        deployment = self.get(f"deployments/name/{name}")
        asked = self.post(
            f"deployments/{deployment['id']}/create_flow_run",
            {"parameters": parameters, "state": {"type": "SCHEDULED"}},
        )
        return str(asked["id"])

    def typed_deployment_run(self, name: str, **parameters: Any) -> str:
        """The same with ``prefect deployment run``."""
        given = [f"--param={key}={json.dumps(value)}" for key, value in parameters.items()]
        asked = self.run("prefect", "deployment", "run", name, *given)
        assert asked.returncode == 0, asked.stdout
        (line,) = [each for each in asked.stdout.splitlines() if "UUID:" in each]
        return line.split("UUID:")[1].strip()

    def flow_run(self, id: str) -> Any:
        """A flow run as the server has it."""
        return self.get(f"flow_runs/{id}")

    def ended(self, id: str, seconds: float = 240) -> Any:
        """The flow run once it has come to an end."""
        ends = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
        wait_for(
            f"the end of {id}", seconds, lambda: self.flow_run(id)["state_type"] in ends, self.log
        )
        return self.flow_run(id)

    def task_runs(self, id: str) -> list[Any]:
        """The task runs of a flow run."""
        wanted = {"flow_runs": {"id": {"any_": [id]}}}
        return list(self.post("task_runs/filter", wanted))

    def logged(self, id: str) -> list[str]:
        """The lines of a flow run's log."""
        wanted = {"logs": {"flow_run_id": {"any_": [id]}}, "sort": "TIMESTAMP_ASC"}
        return [each["message"] for each in self.post("logs/filter", wanted)]

    def artifacts(self) -> dict[str, Any]:
        """The latest version of each artifact, by key."""
        return {each["key"]: each for each in self.post("artifacts/latest/filter", {})}

    def get(self, path: str) -> Any:
        """An object of the server."""
        with urllib.request.urlopen(f"{self.api_url}/{path}", timeout=30) as answer:
            return json.load(answer)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """What the server finds for a filter, or makes of an object."""
        return json.loads(self._send("POST", path, body))

    def patch(self, path: str, body: Mapping[str, Any]) -> None:
        """Change an object of the server."""
        self._send("PATCH", path, body)

    def delete(self, path: str) -> None:
        """Delete an object of the server."""
        self._send("DELETE", path, {})

    def cancel(self, id: str) -> None:
        """Keep a flow run that waits for a worker from being run."""
        self.post(f"flow_runs/{id}/set_state", {"state": {"type": "CANCELLED"}, "force": True})

    def _send(self, method: str, path: str, body: Mapping[str, Any]) -> bytes:
        request = urllib.request.Request(
            f"{self.api_url}/{path}",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
            method=method,
        )
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    return bytes(answer.read())
            except urllib.error.HTTPError as error:
                # SQLite is busy; Prefect's own client asks again too
                if error.code != 503 or time.monotonic() > deadline:
                    raise
            time.sleep(0.5)

    def wait_for_server(self) -> None:
        """Return when the server answers."""
        wait_until_ready(self.api_url)

    def log(self) -> str:
        """What server and worker said."""
        return (self.folder / "log").read_text()

    def processes(self) -> dict[int, int]:
        """All that run in its environment, whoever has started them, each with its parent."""
        return marked("TMPDIR", str(self.folder))

    @contextmanager
    def left_as_it_was(self) -> Iterator[None]:
        """End what began inside the block, and cancel the runs that were asked for there.

        What was there before, or is ``lasting``, goes on with all that it starts.
        """
        processes, runs = set(self.processes()), set(self._to_go_on())
        yield
        kept = processes | self.lasting

        def of_the_block() -> list[int]:
            found = self.processes()

            def lasts(pid: int) -> bool:
                return pid in kept or (pid in found and lasts(found[pid]))

            return [pid for pid in found if not lasts(pid)]

        # what was ended may just have started another
        while left := of_the_block():
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        for id in set(self._to_go_on()) - runs:
            self.cancel(id)

    def _to_go_on(self) -> list[str]:
        """The flow runs that a worker may take yet, but for those that a schedule has asked for."""
        # what crashed is started again
        kinds = ["SCHEDULED", "PENDING", "RUNNING", "PAUSED", "CANCELLING", "CRASHED"]
        wanted = {"flow_runs": {"state": {"type": {"any_": kinds}}}}
        found = self.post("flow_runs/filter", wanted)
        return [each["id"] for each in found if not each["auto_scheduled"]]

    def end(self) -> None:
        """End all that was started, and what that started."""
        for process in reversed(self.started):
            kill(process)


def children(pid: int) -> list[int]:
    """Processes that a process has started and that have not ended."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if int(parent) == pid and state != "Z":
            found.append(int(stat.parent.name))
    return found


def kill(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL a process and all its descendants, whatever session they have made their own."""

    def family(pid: int) -> list[int]:
        return [pid, *(each for child in children(pid) for each in family(child))]

    for pid in family(process.pid):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()


def wait_for(
    what: str,
    seconds: float,
    found: Callable[[], Any],
    log: Callable[[], str] = str,
) -> Any:
    """What ``found`` returns, once it is truthy."""
    deadline = time.monotonic() + seconds
    while not (answer := found()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds} s; {log()[-4000:]}")
        time.sleep(0.3)
    return answer


@contextmanager
def running_site(
    folder: Path, server: Sequence[str] = ("deployments", "server"), **environment: str
) -> Iterator[Site]:
    """A server started and the deployments applied in ``folder``; all of it ends with the block.

    Args:
        server: what is typed after ``python -m`` for one at ``PREFECT_API_URL``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # no other process takes it while the server starts
    (port,) = free_ports(1)
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    url = f"http://127.0.0.1:{port}/api"
    site = Site(
        folder,
        url,
        ours
        | {
            "OMP_NUM_THREADS": "1",
            "PREFECT_HOME": str(folder / "prefect"),
            # what is served here is nothing to the sites beside it
            "TMPDIR": str(folder),
            # and what was compiled for them is as good here
            "TORCHINDUCTOR_CACHE_DIR": f"{tempfile.gettempdir()}/torchinductor_{getuser()}",
            "PREFECT_API_URL": url,
            "PREFECT_SERVER_API_PORT": str(port),
            "DACAPO_RUNS_BASE_DIR": str(folder / "runs"),
        }
        | environment,
    )
    try:
        site.start(*server)
        site.wait_for_server()
        deployed = site.run("deployments", "deploy")
        assert deployed.returncode == 0, deployed.stdout
        site.deployed = deployed.stdout
        yield site
    finally:
        site.end()
