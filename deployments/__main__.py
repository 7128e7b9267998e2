"""``python -m deployments server | deploy | worker | automations``: all it takes to serve flows.

Each is Prefect's own command under the settings of ``profiles.toml``, from any folder.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

FOLDER = Path(__file__).resolve().parent
WORK_POOL = "gpu"

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def prefect_settings() -> None:
    """Serve the flows with Prefect: a server, the deployments, workers."""
    os.environ.setdefault("PREFECT_PROFILES_PATH", str(FOLDER / "profiles.toml"))
    os.environ.setdefault("DO_NOT_TRACK", "1")


@app.command()
def server(port: Annotated[int, typer.Option(help="On loopback.")] = 4200) -> None:
    """Start Prefect's server and its pages, and stay."""
    _become_prefect("server", "start", "--host", "127.0.0.1", "--port", str(port))


@app.command()
def deploy() -> None:
    """Bring work pool, deployments and automations on the server to what stands in the code."""
    _require_server()
    _prefect("work-pool", "create", WORK_POOL, "--type", "process", "--overwrite")
    _prefect("--no-prompt", "deploy", "--prefect-file", str(FOLDER / "prefect.yaml"), "--all")
    automations()


@app.command()
def automations() -> None:
    """Create the automations, or bring them to what stands in the code."""
    _require_server()
    from deployments.automations import apply, shipped

    for name in apply(shipped()):
        print(f"automation: {name}")


@app.command()
def worker(
    device: Annotated[
        int | None, typer.Option(help="The one GPU that this worker's runs see; default: all.")
    ] = None,
) -> None:
    """Start a worker that runs one flow at a time, and stay."""
    _require_server()
    name = f"{os.uname().nodename}-{'cpu' if device is None else f'gpu{device}'}"
    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(device)
    _become_prefect("worker", "start", "--pool", WORK_POOL, "--limit", "1", "--name", name)


def _require_server() -> None:
    """Leave with the way out when no server answers."""
    import httpx
    from prefect.settings import PREFECT_API_URL

    url = PREFECT_API_URL.value()
    try:
        httpx.get(f"{url}/health", timeout=10).raise_for_status()
    except httpx.HTTPError as error:
        raise SystemExit(
            f"no Prefect server answers at {url} ({error}); start one with "
            "`python -m deployments server`, or set PREFECT_API_URL"
        ) from None


def _become_prefect(*arguments: str) -> None:
    """Go on as Prefect's command line, so that a signal reaches it and nothing is left behind."""
    os.execv(sys.executable, [sys.executable, "-m", "prefect", *arguments])


def _prefect(*arguments: str) -> None:
    """Run Prefect's command line; leave with its exit code if it fails."""
    done = subprocess.run([sys.executable, "-m", "prefect", *arguments], check=False)
    if done.returncode:
        raise SystemExit(done.returncode)


if __name__ == "__main__":
    app()
