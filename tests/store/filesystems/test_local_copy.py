"""A local copy of an object is all of its bytes, and of one version of it."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any

import pytest

from dacapo_core.store.errors import StoreUnreachableError
from dacapo_core.store.filesystems.filesystem import FETCHES, StoreFilesystem


@pytest.fixture
def filesystem() -> StoreFilesystem:
    opened = StoreFilesystem(f"memory://{uuid.uuid4().hex}")
    opened.write_bytes("run/object", b"a" * 1000)
    return opened


@pytest.mark.parametrize("times", [1, FETCHES])
@pytest.mark.parametrize("fault", ["cut short", "replaced meanwhile"])
def test_what_is_not_whole_is_fetched_again(
    filesystem: StoreFilesystem, monkeypatch: pytest.MonkeyPatch, fault: str, times: int
) -> None:
    fetches: list[str] = []

    def get_file(rpath: str, lpath: str, **_: Any) -> None:
        first = filesystem.read_bytes("run/object")
        fetches.append(rpath)
        if len(fetches) <= times and fault == "replaced meanwhile":
            # s3fs fetches a large object in parts
            filesystem.write_bytes("run/object", os.urandom(500) * 2)
        second = filesystem.read_bytes("run/object")
        content = first[:500] + second[500:]
        if len(fetches) <= times and fault == "cut short":
            content = content[:700]
        Path(lpath).write_bytes(content)

    monkeypatch.setattr(filesystem._fs, "get_file", get_file)
    if times == FETCHES:
        with (
            pytest.raises(StoreUnreachableError, match=r"run/object.*try again"),
            filesystem.local_copy("run/object"),
        ):
            pass
    else:
        with filesystem.local_copy("run/object") as path:
            assert Path(path).read_bytes() == filesystem.read_bytes("run/object")
    assert len(fetches) == min(times + 1, FETCHES)
