"""A disk that is full at each write, page by page, really: an error that says so, nothing lost."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dacapo_core.store.errors import StoreFullError
from dacapo_core.store.local_weights_store import LocalWeightsStore
from tests.campaign_figures import Campaign
from tests.store.processes import disturbed_operations
from tests.store.processes.disturbed_operations import OPERATIONS, prepare, violations_of

PAGE = 4096
SIZE = 8 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", folder]
    mounted = subprocess.run(command, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount a small file system: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def leave_free(disk: Path, size: int) -> None:
    """Fill the disk but for so many bytes."""
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        left = os.statvfs(disk)
        os.posix_fallocate(file.fileno(), 0, max(left.f_bavail * left.f_frsize - size, PAGE))


def fill(disk: Path, template: Path, operation: str, most: int, campaign: Campaign) -> int:
    """How many times the disk was full; each time a page later."""
    prepare(template, operation)
    for pages in range(most):
        shutil.rmtree(disk / "place", ignore_errors=True)
        (disk / "ballast").unlink(missing_ok=True)
        shutil.copytree(template, disk / "place", symlinks=True)
        leave_free(disk, pages * PAGE)
        said = f"{operation}, {pages} pages free"
        store = LocalWeightsStore(disk / "place/store")
        was_full = False
        try:
            plan = OPERATIONS[operation](store, disk / "place")
            was_full = bool(getattr(plan, "failed", None))
        except StoreFullError:
            was_full = True
        except BaseException as error:
            campaign.check(False, f"{said}: raw {error!r}")
        campaign.count("writes to a full disk", was_full)
        (disk / "ballast").unlink()
        try:
            for each in violations_of(disk / "place", operation, done=False):
                campaign.check(False, f"{said}: {each}")
            OPERATIONS[operation](LocalWeightsStore(disk / "place/store"), disk / "place")
            for each in violations_of(disk / "place", operation, done=True):
                campaign.check(False, f"{said}, done again: {each}")
        except Exception as error:
            campaign.check(False, f"{said}: {error!r}")
        if not was_full:
            return pages
    return most


def test_a_disk_full_at_the_first_writes_of_a_store(
    disk: Path, tmp_path: Path, campaign: Campaign
) -> None:
    assert fill(disk, tmp_path / "template", "store", 3, campaign) == 3


@pytest.mark.campaign
@pytest.mark.parametrize("operation", disturbed_operations.OPERATIONS)
def test_a_disk_full_at_each_write(
    operation: str, disk: Path, tmp_path: Path, campaign: Campaign
) -> None:
    full = fill(disk, tmp_path / "template", operation, 200, campaign)
    assert full > 0 or operation == "restore", "a restore frees before it writes"
