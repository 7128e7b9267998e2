"""The model of a checkpoint on an object store, without the optimizer behind it."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

import fsspec
import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem

from dacapo_core.store.errors import DamagedCheckpointError
from dacapo_core.store.local_weights_store import LocalWeightsStore


class CountingFileSystem(MemoryFileSystem):
    """Memory that counts the bytes that were read."""

    protocol = "counting"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    bytes_read = 0

    def cat_file(self, path: str, start: Any = None, end: Any = None, **options: Any) -> bytes:
        content: bytes = super().cat_file(path, start=start, end=end, **options)
        CountingFileSystem.bytes_read += len(content)
        return content

    def get_file(self, rpath: str, lpath: str, **options: Any) -> None:
        CountingFileSystem.bytes_read += self.info(rpath)["size"]
        super().get_file(rpath, lpath, **options)

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return "/" + str(path).removeprefix("counting://").strip("/")


@pytest.fixture
def counting_store() -> LocalWeightsStore:
    fsspec.register_implementation("counting", CountingFileSystem, clobber=True)
    return LocalWeightsStore(f"counting://{uuid.uuid4().hex}/store")


@pytest.mark.parametrize("verify", [True, False])
def test_no_byte_of_the_optimizer_is_fetched(
    counting_store: LocalWeightsStore, make_state_run: Any, same: Any, verify: bool
) -> None:
    model = {"a": torch.randn(1000), "b": torch.randn(30, 50)}
    optimizer = {"state": {0: torch.randn(2_000_000)}}
    counting_store.store_weights(make_state_run(model, optimizer), 7)
    CountingFileSystem.bytes_read = 0
    assert same(counting_store.retrieve_model("run", 7, verify=verify), model)
    assert CountingFileSystem.bytes_read < 20_000


def test_damage_of_it_is_found(counting_store: LocalWeightsStore, make_state_run: Any) -> None:
    counting_store.store_weights(make_state_run({"a": torch.full((1000,), 3.0)}), 7)
    fs, root = fsspec.core.url_to_fs(counting_store.basedir)
    path = f"{root}/run/checkpoints/iterations/7"
    content = bytearray(fs.cat_file(path))
    content[content.index(b"\x00\x00\x40\x40" * 8)] ^= 1
    fs.pipe_file(path, bytes(content))
    with pytest.raises(DamagedCheckpointError, match="tensor model/a"):
        counting_store.retrieve_model("run", 7)
