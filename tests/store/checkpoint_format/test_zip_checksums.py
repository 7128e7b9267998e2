"""A checkpoint of DaCapo's has no digests but its zip's checksums: each tensor's is its own."""

from __future__ import annotations

import io
import itertools
import struct
import zipfile
from typing import Any

import pytest
import torch

from dacapo_core.store.errors import DamagedCheckpointError
from dacapo_core.store.local_weights_store import LocalWeightsStore
from tests.store.conftest import Backend

FILE = "run/checkpoints/iterations/7"
CHECKSUM, OF_EXTRA_LOCALLY, OFFSET = 16, 28, 42


@pytest.fixture
def backend(tmp_path: Any) -> Backend:
    return Backend(str(tmp_path / "store"))


def saved(tensors: int = 4) -> bytes:
    """As torch.save writes it, with tensors of one size."""
    model = {f"w{number}": torch.full((8,), float(number + 1)) for number in range(tensors)}
    buffer = io.BytesIO()
    torch.save({"model": model, "optimizer": {"m": torch.arange(8.0)}}, buffer)
    return buffer.getvalue()


def entries(content: bytes) -> list[zipfile.ZipInfo]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.infolist()


def in_directory(content: bytes, entry: zipfile.ZipInfo) -> int:
    """Where the directory speaks of an entry."""
    return content.rindex(entry.filename.encode()) - 46


def changed(content: bytes, at: int, form: str, value: int) -> bytes:
    bad = bytearray(content)
    struct.pack_into(form, bad, at, value)
    return bytes(bad)


def of_tensors(content: bytes) -> list[zipfile.ZipInfo]:
    return [entry for entry in entries(content) if "/data/" in entry.filename]


def refused(store: LocalWeightsStore, backend: Backend, bad: bytes) -> None:
    backend.write(FILE, bad)
    for method in (store.retrieve_weights, store.retrieve_model, store.verify):
        with pytest.raises(DamagedCheckpointError, match="checkpoint 7"):
            method("run", 7)


def test_a_place_in_the_directory_that_leads_to_another_tensor(
    store: LocalWeightsStore, backend: Backend
) -> None:
    whole = saved()
    for one, other in itertools.permutations(of_tensors(whole)[:4], 2):
        refused(
            store,
            backend,
            changed(whole, in_directory(whole, one) + OFFSET, "<I", other.header_offset),
        )


def test_a_header_that_leads_to_another_tensors_bytes(
    store: LocalWeightsStore, backend: Backend
) -> None:
    whole = saved()
    one, other = of_tensors(whole)[:2]
    at = one.header_offset + OF_EXTRA_LOCALLY
    of_extra = struct.unpack_from("<H", whole, at)[0]
    apart = whole.index(struct.pack("<f", 2) * 8) - whole.index(struct.pack("<f", 1) * 8)
    assert apart > 0
    assert one.file_size == other.file_size
    refused(store, backend, changed(whole, at, "<H", of_extra + apart))


def test_the_bytes_of_another_tensor(store: LocalWeightsStore, backend: Backend) -> None:
    first, second = (struct.pack("<f", value) * 8 for value in (1, 2))
    refused(store, backend, saved().replace(first, second))


def test_a_checksum_that_is_gone_says_nothing_of_a_file_with_others(
    store: LocalWeightsStore, backend: Backend
) -> None:
    for whole in (saved(), saved(1)):
        for entry in entries(whole):
            refused(store, backend, changed(whole, in_directory(whole, entry) + CHECKSUM, "<I", 0))


@pytest.mark.parametrize("checksums", [True, False])
def test_a_whole_file_is_read(store: LocalWeightsStore, backend: Backend, checksums: bool) -> None:
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(checksums)
    try:
        backend.write(FILE, saved(300))
    finally:
        torch.serialization.set_crc32_options(before)
    assert store.retrieve_model("run", 7)["w2"].tolist() == [3.0] * 8
    assert store.retrieve_weights("run", 7).optimizer["m"].tolist() == list(range(8))
    assert store.verify("run", 7).against == "zip checksums"
