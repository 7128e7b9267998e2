"""File systems that have no symbolic links or cannot sync folders hold a whole store."""

from __future__ import annotations

import errno
import logging
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dacapo_core.command_line.dacapo_store import app
from dacapo_core.store.errors import StoreFullError, StoreNotWritableError
from dacapo_core.store.filesystems import capabilities
from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.store.retention import RetentionPolicy

SCRIPT = Path(__file__).parents[1] / "processes" / "poor_file_system.py"


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capabilities, "_said", set())


@pytest.fixture
def mount_poor(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mounts a file system, really, that refuses with an errno what poor ones have not."""
    try:
        import mfusepy  # noqa: F401
    except (ImportError, OSError) as error:
        pytest.skip(f"no FUSE here, pip install '.[test]' and libfuse3: {error}")
    if not os.access("/dev/fuse", os.W_OK) or os.geteuid() != 0:
        pytest.skip("only root may mount a file system through /dev/fuse")
    (tmp_path / "behind").mkdir()
    folder = tmp_path / "poor"
    folder.mkdir()
    servers: list[subprocess.Popen[str]] = []

    def mount(refusal: int) -> Path:
        command = [sys.executable, str(SCRIPT), str(tmp_path / "behind"), str(folder), f"{refusal}"]
        server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        servers.append(server)
        while not folder.is_mount():
            if server.poll() is not None:
                assert server.stderr is not None
                pytest.skip(f"cannot mount through FUSE: {server.stderr.read()[-300:]}")
            time.sleep(0.02)
        return folder

    yield mount
    if folder.is_mount():
        subprocess.run(["umount", "-l", folder], check=True)
    for server in servers:
        server.terminate()
        server.communicate(timeout=20)


@pytest.mark.parametrize("refusal", [errno.EPERM, errno.ENOTSUP, errno.EINVAL])
def test_a_poor_file_system_holds_a_whole_store(
    mount_poor: Callable[[int], Path], run: Any, caplog: pytest.LogCaptureFixture, refusal: int
) -> None:
    folder = mount_poor(refusal)
    with pytest.raises(OSError, match=os.strerror(refusal).replace("(", r"\(")):
        os.symlink("nowhere", folder / "link")
    live_a_whole_life(folder, run, caplog)


def live_a_whole_life(folder: Path, run: Any, caplog: pytest.LogCaptureFixture) -> None:
    store = LocalWeightsStore(folder / "store")
    with store.lease("run"):
        for iteration in (1, 2, 3):
            store.store_weights(run, iteration)
    store.store_best("run", 1, "val", "dice", score=0.9)
    store.store_best("run", 2, "val", "dice", score=0.95)
    store.pin("run", 1)
    plan = store.prune("run", RetentionPolicy(keep_last=1, grace="1d"))
    assert set(plan.kept) == {1, 2, 3}
    store.unpin("run", 1)
    assert list(store.prune("run", RetentionPolicy(keep_last=1)).pruned) == [1]

    another = LocalWeightsStore(folder / "store")
    assert another.iterations("run") == [2, 3]
    assert another.retrieve_best("run", "val", "dice") == 2
    assert another.verify("run", 2).record
    another.load_best(run, "val", "dice")
    checkpoints = folder / "store/run/checkpoints"
    assert '"iteration":2' in (checkpoints / "dice/val.json").read_text(), "DaCapo finds it"
    assert not (checkpoints / "val/dice").exists()
    assert os.listdir(checkpoints / ".partial") == []

    warnings = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert sum("no symbolic links" in each for each in warnings) == 1, "said once"
    assert sum("names in a folder durable" in each for each in warnings) == 1, "said once"
    told = CliRunner().invoke(app, ["--store", str(folder / "store"), "verify", "run"])
    assert told.exit_code == 0
    assert told.output.count("names in a folder durable") == 1


class Refusing:
    """Refuses symbolic links and the sync of folders as the system would."""

    def __init__(self, patch: pytest.MonkeyPatch, link: int | None, sync: int | None) -> None:
        fsync, symlink = os.fsync, os.symlink

        def refusing_fsync(descriptor: int) -> None:
            if sync is not None and stat.S_ISDIR(os.fstat(descriptor).st_mode):
                raise OSError(sync, os.strerror(sync))
            fsync(descriptor)

        def refusing_symlink(*args: Any) -> None:
            if link is not None:
                raise OSError(link, os.strerror(link))
            symlink(*args)

        patch.setattr(os, "fsync", refusing_fsync)
        patch.setattr(os, "symlink", refusing_symlink)


@pytest.mark.parametrize(
    ("link", "sync"),
    [
        (errno.EPERM, errno.EINVAL),
        (errno.ENOTSUP, errno.ENOTSUP),
        (errno.EOPNOTSUPP, errno.EBADF),
        (errno.ENOSYS, errno.ENOSYS),
        (errno.EACCES, errno.EACCES),
    ],
)
def test_what_file_systems_say_when_they_cannot(
    tmp_path: Path,
    run: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    link: int,
    sync: int,
) -> None:
    Refusing(monkeypatch, link, sync)
    live_a_whole_life(tmp_path, run, caplog)


@pytest.mark.parametrize("broken", [errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.ESTALE])
def test_a_broken_or_full_disk_stays_an_error(
    tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch, broken: int
) -> None:
    store = LocalWeightsStore(tmp_path / "store")
    store.store_weights(run, 1)
    kind = StoreFullError if broken in (errno.ENOSPC, errno.EDQUOT) else StoreNotWritableError
    with monkeypatch.context() as patch:
        Refusing(patch, link=None, sync=broken)
        with pytest.raises(kind):
            store.store_weights(run, 2)
    with monkeypatch.context() as patch:
        Refusing(patch, link=broken, sync=None)
        with pytest.raises(kind):
            store.store_best("run", 1, "val", "dice")
    assert store.retrieve_best("run", "val", "dice") == 1, "ours stands before the link is tried"
