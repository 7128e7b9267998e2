"""``python -m deployments server | deploy | worker | automations``: all it takes to serve flows.

Prefect's own commands under the settings of ``profiles.toml``, from any folder.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from deployments import prefect_server
from deployments.closed_terminal import survive_closed_terminal
from deployments.device_locks import served_here
from deployments.supervisor import Supervisor
from deployments.visible_devices import visible_devices
from deployments.worker import serve
from deployments.worker_places import places, training_place

FOLDER = Path(__file__).resolve().parent
PORT = 4200

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def prefect_settings() -> None:
    """Serve the flows with Prefect: a server, the deployments, workers."""
    os.environ.setdefault("PREFECT_PROFILES_PATH", str(FOLDER / "profiles.toml"))
    os.environ.setdefault("DO_NOT_TRACK", "1")


@app.command()
def server(
    port: Annotated[
        int | None,
        typer.Option(help="On loopback. Default: that of PREFECT_API_URL, if it names loopback."),
    ] = None,
) -> None:
    """Start Prefect's server and its pages, and stay."""
    from prefect.settings import PREFECT_API_URL

    if port is None:
        port = served_port(str(PREFECT_API_URL.value()))
    prefect_server.serve(port)


@app.command()
def deploy() -> None:
    """Create or update the pool, deployments, blocks, automations and index page on the server."""
    api_url = _require_server()
    from deployments.deployment_pages import shape_pages
    from deployments.index_page import publish_index
    from deployments.work_pool import ensure_work_pool
    from flows.embedded_prefect import send_what_is_queued
    from tasks.runtime.ui_paths import artifact_path
    from tasks.runtime.weights_store_block import WeightsStoreBlock

    ensure_work_pool()
    WeightsStoreBlock.register_type_and_schema()
    _prefect("--no-prompt", "deploy", "--prefect-file", str(FOLDER / "prefect.yaml"), "--all")
    names = _deployment_names()
    for name in names:
        print(f"deployment: {name}")
    shape_pages(names)
    automations()
    index = artifact_path(publish_index(names))
    # else Prefect says as its last line that some are late
    send_what_is_queued()
    print(
        "\nnext:\n"
        "  python -m deployments worker    in a terminal of its own; it runs what is asked for\n"
        f"  PREFECT_API_URL={api_url} prefect deployment run train/default\n"
        "      or any other, here or from its form\n"
        f"where everything is: {api_url.removesuffix('/api')}{index}"
    )


@app.command()
def automations() -> None:
    """Create or update the automations on the server."""
    _require_server()
    from deployments.automations import apply, shipped

    for name in apply(shipped()):
        print(f"automation: {name}")


@app.command()
def worker(
    device: Annotated[
        str | None,
        typer.Option(help="Serve this GPU alone, its index or UUID. Default: all of the machine."),
    ] = None,
) -> None:
    """Start one worker per GPU, each for one run at a time, and stay.

    A worker more takes what needs no GPU: pruning and sweeps. CUDA_VISIBLE_DEVICES limits the
    GPUs that are served. Without a GPU, one worker trains on the CPU. What another worker of this
    machine serves is left to it; where it serves all, this one says so and ends.
    """
    survive_closed_terminal()
    api_url = _require_server()
    from deployments.work_pool import require_work_pool

    require_work_pool()
    host = os.uname().nodename
    if device is not None:
        with served_here([training_place(host, device)], api_url) as (place,):
            serve(place, supervised=False)
        return
    found = visible_devices()
    with served_here(places(host, found), api_url) as free:
        if not found:
            print("no GPU here: runs train on the CPU, one at a time", flush=True)
        Supervisor(free, lambda text: print(text, flush=True)).run()


def served_port(api_url: str) -> int:
    """The port of our server: that of an address on loopback, else Prefect's default."""
    address = urlsplit(api_url)
    ours = address.scheme == "http" and address.hostname in ("127.0.0.1", "localhost")
    return address.port if ours and address.port else PORT


def _require_server() -> str:
    """The API's URL; leave with the way out when no server answers there."""
    import httpx
    from prefect.settings import PREFECT_API_URL

    url = str(PREFECT_API_URL.value())
    try:
        httpx.get(f"{url}/health", timeout=10).raise_for_status()
    except httpx.HTTPError as error:
        raise SystemExit(
            f"no Prefect server answers at {url} ({error}); start one with "
            "`python -m deployments server`, or set PREFECT_API_URL"
        ) from None
    return url


def _deployment_names() -> list[str]:
    import yaml

    found = yaml.safe_load((FOLDER / "prefect.yaml").read_text())["deployments"]
    return [f"{each['entrypoint'].rpartition('.')[2]}/{each['name']}" for each in found]


def _prefect(*arguments: str) -> None:
    """Run Prefect's command line; on failure print its output and leave with its exit code.

    On success its output, advice on what to do next after each deployment, would mislead here.
    """
    done = subprocess.run(
        [sys.executable, "-m", "prefect", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        print(done.stdout)
        raise SystemExit(done.returncode)


if __name__ == "__main__":
    app()
