"""Writing a checkpoint: torch's zip file, with digests taken while its bytes pass by."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import torch
import xxhash
from torch.utils.serialization import config as serialization

from dacapo_core.store.checkpoints.checkpoint_index import (
    DIGEST_BYTES,
    INDEX_KEY,
    digest,
    new_index,
)
from dacapo_core.store.checkpoints.state_tree import storages_of
from dacapo_core.store.files.local_files import write_all

_CHUNK = 1 << 20
_SMALL = 1 << 16


@dataclass(frozen=True)
class WrittenCheckpoint:
    """What was written.

    Attributes:
        bytes: size of the file.
        digest: xxh3_128 of the whole file.
        nonce: as in the file's index.
        parts: section of the state → digest over the digests of its storages.
    """

    bytes: int
    digest: str
    nonce: str
    parts: dict[str, str]


def write_checkpoint(state: Mapping[str, Any], file: BinaryIO) -> WrittenCheckpoint:
    """Write a state of CPU tensors, ``{"model": …, "optimizer": …, …}``, to an unbuffered file.

    Any torch ≥ 1.6 reads it; DaCapo 0.3.5 and its main branch read it as weights.
    """
    nonce = secrets.token_hex(16)
    index = new_index(state, nonce)
    storages = [*storages_of(state), index["layout"].untyped_storage()]
    writer = _DigestingWriter(file, storages, index["table"])
    # torch's checksum is slow, and torch does not check it on reading
    with serialization.patch({"save.compute_crc32": False}):  # type: ignore[attr-defined]
        try:
            torch.save({**state, INDEX_KEY: index}, writer)  # type: ignore[arg-type]
        except RuntimeError:
            # torch's own, about the zip that could not be ended; say what came first
            if writer.error is not None:
                raise writer.error from None
            raise
    writer.finish()
    return WrittenCheckpoint(
        writer.bytes, writer.whole.hexdigest(), nonce, part_digests(state, index["table"])
    )


def part_digests(state: Mapping[str, Any], table: torch.Tensor) -> dict[str, str]:
    """Each section's digest, over the rows of the storages that its tensors use."""
    rows = {storage.data_ptr(): row for row, storage in enumerate(storages_of(state), start=1)}
    parts = {}
    for name, section in state.items():
        used = [rows[storage.data_ptr()] for storage in storages_of(section)]
        parts[name] = digest(table[used, :DIGEST_BYTES].contiguous().numpy())
    return parts


class _DigestingWriter:
    """A file for torch.save that fills in the table before the tensor of it is written."""

    def __init__(
        self, file: BinaryIO, storages: list[torch.UntypedStorage], table: torch.Tensor
    ) -> None:
        self._file = file
        self._rows = {
            storage.data_ptr(): (row, storage.nbytes())
            for row, storage in enumerate(storages, start=1)
        }
        self._first = storages[0].data_ptr()
        self._sizes = {size for _, size in self._rows.values()}
        self._table = table.numpy()
        self._filled = 0
        self.error: OSError | None = None
        self._gathered = bytearray()
        self.whole = xxhash.xxh3_128()
        self.bytes = 0

    def write(self, data: memoryview) -> int:
        size = len(data)
        if size == 0:
            return 0
        part, row, offset = None, 0, self.bytes + len(self._gathered)
        # looking at addresses is slow, and most writes are of zip headers
        if size in self._sizes:
            address = np.frombuffer(data, np.uint8).__array_interface__["data"][0]
            if address == self._first:
                self._write_gathered()
                self._fill(0, self.whole, self.bytes)
            row, expected = self._rows.get(address, (0, -1))
            part = xxhash.xxh3_128() if size == expected else None
        if size < _SMALL:
            self._gathered += data
            if part is not None:
                part.update(data)
            if len(self._gathered) >= _CHUNK:
                self._write_gathered()
        else:
            self._write_gathered()
            self._write(data, part)
        if part is not None:
            self._fill(row, part, offset)
        return size

    def flush(self) -> None:
        """torch.save asks for it at a time of no interest here."""

    def finish(self) -> None:
        """Write what is left.

        Raises:
            RuntimeError: torch wrote the tensors in pieces that were not recognised.
        """
        self._write_gathered()
        if self._filled != len(self._rows) + 1:
            raise RuntimeError(
                f"only {self._filled} of {len(self._rows) + 1} digests were taken while torch "
                f"{torch.__version__} wrote: this version writes in another way"
            )

    def _write(self, view: memoryview, part: xxhash.xxh3_128 | None) -> None:
        # pieces that stay in the processor's cache from the write to the digests
        for start in range(0, len(view), _CHUNK):
            piece = view[start : start + _CHUNK]
            try:
                write_all(self._file, piece)
            except OSError as error:
                self.error = error
                raise
            self.whole.update(piece)
            if part is not None:
                part.update(piece)
        self.bytes += len(view)

    def _write_gathered(self) -> None:
        gathered, self._gathered = self._gathered, bytearray()
        self._write(memoryview(gathered), None)

    def _fill(self, row: int, value: xxhash.xxh3_128, offset: int) -> None:
        content = value.digest() + offset.to_bytes(8, "little")
        self._table[row] = np.frombuffer(content, np.uint8)
        self._filled += 1
