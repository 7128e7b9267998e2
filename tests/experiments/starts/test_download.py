"""Fetching a file from a real HTTP server that is bad in every way we have met."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pty
import shutil
import signal
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from dacapo_core.experiments.starts.download import Patience, download
from dacapo_core.experiments.starts.download_source import DownloadError

CHUNK = 4 << 20
# its ends are fixed: a "<" at the start would be taken for a web page's, forwards or backwards
CONTENT = b"PK" + os.urandom(3 * CHUNK + 12345) + b"PK"
FETCH = (
    "import sys; from pathlib import Path;"
    "from dacapo_core.experiments.starts.download import download;"
    "download(sys.argv[1], Path(sys.argv[2]))"
)
QUICK = Patience(attempts=3, stall_seconds=0.5, backoff_seconds=0.01)


@pytest.fixture
def served(mirror: Any) -> str:
    mirror.files["/file"] = CONTENT
    return f"{mirror.url}/file"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "parts" / "file"


def test_a_file_arrives_whole_with_its_digest(served: str, target: Path, mirror: Any) -> None:
    fetched = download(served, target)
    assert target.read_bytes() == CONTENT
    assert fetched.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert fetched.bytes == len(CONTENT)
    assert len(mirror.gets) == 1


@pytest.mark.parametrize("kind", ["cut", "reset", "stall"])
def test_an_interrupted_answer_is_gone_on_from(
    kind: str, served: str, target: Path, mirror: Any
) -> None:
    mirror.faults = [(kind, 2 * CHUNK + 77), (kind, 50_000)]
    download(served, target, patience=QUICK)
    assert target.read_bytes() == CONTENT
    ranges = [wanted for _, wanted in mirror.gets]
    assert ranges[0] is None
    assert all(wanted and wanted.startswith("bytes=") for wanted in ranges[1:])


def test_a_server_without_ranges_begins_again(served: str, target: Path, mirror: Any) -> None:
    mirror.ranges = False
    mirror.faults = [("cut", CHUNK)]
    download(served, target, patience=QUICK)
    assert target.read_bytes() == CONTENT


def test_a_file_that_changed_meanwhile_is_begun_again(
    served: str, target: Path, mirror: Any
) -> None:
    mirror.always = ("cut", 2 * CHUNK)
    with pytest.raises(DownloadError, match="1 attempts"):
        download(served, target, patience=Patience(1, 0.5, 0.001))
    assert 0 < target.stat().st_size < len(CONTENT)
    mirror.always, mirror.etag = None, '"second"'
    mirror.files["/file"] = CONTENT[::-1]
    download(served, target, patience=QUICK)
    assert target.read_bytes() == CONTENT[::-1]


def test_a_server_error_passes_and_is_tried_again(served: str, target: Path, mirror: Any) -> None:
    mirror.faults = [("status", 500), ("status", 503), ("status", 429)]
    download(served, target, patience=Patience(5, 0.5, 0.01))
    assert target.read_bytes() == CONTENT


def test_a_missing_file_is_not_asked_for_again(mirror: Any, target: Path) -> None:
    with pytest.raises(DownloadError, match="nothing"):
        download(f"{mirror.url}/nothing", target, patience=QUICK)
    assert len(mirror.gets) == 1


@pytest.mark.parametrize(
    ("always", "words", "gets"),
    [
        (("status", 500), "3 attempts.*500", None),
        (("status", 403), "403", 1),
        (("stall", 0), "3 attempts", None),
        (("cut", 1000), "3 attempts", None),
        (("unannounced", 1000), "3 attempts.*bytes", None),
        (("html", 0), "web page", 1),
        (("html", 1), "web page", 0),
        (("announce", 1000), "announced", 1),
        (("announce", len(CONTENT) + 10), "announced", 1),
    ],
)
def test_what_does_not_pass_is_an_error(
    always: tuple[str, int], words: str, gets: int | None, served: str, target: Path, mirror: Any
) -> None:
    mirror.always = always
    with pytest.raises(DownloadError, match=f"(?s){words}") as error:
        download(served, target, patience=QUICK)
    assert served in str(error.value)
    if gets is not None:
        assert len(mirror.gets) == gets


def test_nobody_listens(target: Path) -> None:
    with pytest.raises(DownloadError, match="3 attempts"):
        download("http://127.0.0.1:9/file", target, patience=QUICK)


def test_tries_that_bring_it_forward_do_not_count(served: str, target: Path, mirror: Any) -> None:
    mirror.faults = [("cut", CHUNK + 1000)] * 3
    download(served, target, patience=Patience(2, 0.5, 0.001))
    assert target.read_bytes() == CONTENT


def test_a_known_digest_is_verified(served: str, target: Path, mirror: Any) -> None:
    right = hashlib.sha256(CONTENT).hexdigest()
    download(served, target, sha256=right)
    mirror.files["/file"] = CONTENT[:-1] + b"?"
    mirror.etag = '"flipped"'
    with pytest.raises(DownloadError, match=right):
        download(served, target, sha256=right, patience=QUICK)
    assert not target.exists()


def test_a_part_spoilt_by_a_crash_is_thrown_away_once(
    served: str, target: Path, mirror: Any
) -> None:
    right = hashlib.sha256(CONTENT).hexdigest()
    mirror.always = ("cut", CHUNK)
    with pytest.raises(DownloadError):
        download(served, target, patience=Patience(1, 0.5, 0.001))
    with target.open("r+b") as file:
        file.write(b"\0" * 100)
    mirror.always = None
    download(served, target, sha256=right, patience=QUICK)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("protocol", ["path", "file", "memory"])
def test_other_file_systems_serve_too(protocol: str, tmp_path: Path, target: Path) -> None:
    import fsspec

    source = tmp_path / "source"
    url = {"path": str(source), "file": f"file://{source}", "memory": "memory://mirror/file"}
    with fsspec.open(url[protocol], "wb") as file:
        file.write(CONTENT)
    download(url[protocol], target)
    assert target.read_bytes() == CONTENT
    with pytest.raises(DownloadError, match="missing"):
        download(f"{url[protocol]}-missing", target)


@pytest.mark.slow
def test_a_killed_download_is_gone_on_from(served: str, target: Path, mirror: Any) -> None:
    mirror.seconds_per_chunk = 0.02
    process = subprocess.Popen([sys.executable, "-c", FETCH, served, str(target)])
    deadline = time.monotonic() + 60
    while not (target.exists() and target.stat().st_size > CHUNK):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    size = target.stat().st_size
    assert CHUNK < size < len(CONTENT)
    mirror.seconds_per_chunk = 0
    download(served, target, patience=QUICK)
    assert target.read_bytes() == CONTENT
    assert mirror.gets[-1][1] == f"bytes={size}-"


def test_a_certificate_that_nobody_vouches_for_is_refused(
    served: str, target: Path, mirror: Any, tmp_path: Path
) -> None:
    certificate, key = tmp_path / "certificate", tmp_path / "key"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *subject]
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    subprocess.run([*make, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    mirror.server.socket = context.wrap_socket(mirror.server.socket, server_side=True)
    with pytest.raises(DownloadError, match=r"(?i)certificate"):
        download(served.replace("http:", "https:"), target, patience=QUICK)
    assert not mirror.gets
    trusting = {**os.environ, "SSL_CERT_FILE": str(certificate)}
    fetched = subprocess.run(
        [sys.executable, "-c", FETCH, served.replace("http:", "https:"), str(target)],
        env=trusting,
    )
    assert fetched.returncode == 0
    assert target.read_bytes() == CONTENT


@pytest.mark.slow
def test_a_bar_for_a_person_and_silence_for_a_log(served: str, target: Path, mirror: Any) -> None:
    mirror.seconds_per_chunk = 0.005
    command = [sys.executable, "-c", FETCH, served, str(target)]
    quiet = subprocess.run(command, capture_output=True)
    assert quiet.stderr == b""
    target.unlink()
    master, terminal = pty.openpty()
    with subprocess.Popen(command, stderr=terminal, env={**os.environ, "TERM": "xterm"}) as process:
        os.close(terminal)
        shown = b""
        # Linux ends a terminal without writers with an error
        with contextlib.suppress(OSError):
            while piece := os.read(master, 65536):
                shown += piece
    assert process.returncode == 0
    assert b"MB/s" in shown
    os.close(master)
