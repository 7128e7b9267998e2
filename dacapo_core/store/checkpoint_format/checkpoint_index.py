"""The index of a checkpoint: its tensors and digests, inside it, under a key that DaCapo ignores.

Two tensors, the last of the file. ``layout`` is JSON: the structure of each section, and dtype,
shape, stride and storage of each tensor. ``table`` has rows of 16 bytes of digest and 8 of offset:
one for each distinct non-empty storage, with which the file begins, then one for the pickle (all
between the storages and the layout), one for the body (all before the layout) and one for the
layout. The zip's comment says where both are: a reader needs neither its directory nor the pickle.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
import xxhash
from pydantic import BaseModel, ConfigDict, field_validator

from dacapo_core.store.checkpoint_format.savable_state import storages_of
from dacapo_core.store.checkpoint_format.state_dict_json import encode

INDEX_KEY = "dacapo_core"
EMPTY = -1
"""The storage of a tensor without elements."""
_ROW = struct.Struct("<16sQ")
_ROWS_OF_NO_STORAGE = 3
FORMAT = 1
# in letters and digits: bytes might look like the end of a zip's directory
_POINTER = re.compile(rb"dacapo [0-9a-f]{2} (?:[0-9a-f]{16} ){4}[0-9a-f]{32}")
POINTER_BYTES = 110


class CheckpointIndex(BaseModel):
    """The index of a checkpoint, as it is in the state that was stored.

    Attributes:
        format: FORMAT.
        nonce: drawn anew for each file; ties the record to it.
        layout: JSON as uint8.
        table: (storages + 3) rows of 24 bytes, as uint8.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="ignore")

    format: Literal[1]
    nonce: str
    layout: torch.Tensor
    table: torch.Tensor

    @field_validator("layout", "table")
    @classmethod
    def _is_bytes(cls, value: torch.Tensor) -> torch.Tensor:
        if value.dtype != torch.uint8 or not value.is_contiguous() or not value.numel():
            raise ValueError(f"it is {value.dtype} {tuple(value.shape)}")
        return value

    @property
    def rows(self) -> Table | None:
        """The table's rows; None when it is no table."""
        return Table.from_bytes(self.table.numpy().tobytes())


@dataclass(frozen=True)
class Row:
    """Some bytes of a checkpoint.

    Attributes:
        digest: xxh3_128.
        offset: in the file, of a storage, the pickle or the layout; of the body's end.
    """

    digest: bytes
    offset: int


@dataclass(frozen=True)
class Table:
    """The digests of a checkpoint."""

    storages: list[Row]
    pickle: Row
    body: Row
    layout: Row

    @staticmethod
    def size(storages: int) -> int:
        """In bytes, with so many storages."""
        return (storages + _ROWS_OF_NO_STORAGE) * _ROW.size

    def to_bytes(self) -> bytes:
        rows = [*self.storages, self.pickle, self.body, self.layout]
        return b"".join(_ROW.pack(row.digest, row.offset) for row in rows)

    @classmethod
    def from_bytes(cls, content: bytes) -> Table | None:
        """None when they are no table."""
        if len(content) % _ROW.size or len(content) < cls.size(0):
            return None
        rows = [Row(*values) for values in _ROW.iter_unpack(content)]
        *storages, pickle, body, layout = rows
        return cls(storages, pickle, body, layout)


@dataclass(frozen=True)
class Layout:
    """Where a state's tensors are in its file.

    Attributes:
        structure: section → its JSON form.
        tensors: [dtype, shape, stride, storage, offset in elements] of each; the storage may
            be EMPTY.
        sizes: bytes of each storage.
    """

    structure: dict[str, Any]
    tensors: list[list[Any]]
    sizes: list[int]

    def to_json(self) -> bytes:
        return json.dumps(vars(self), separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, content: bytes) -> Layout:
        return cls(**json.loads(content))


def layout_of(state: Mapping[str, Any], storages: list[torch.UntypedStorage]) -> Layout:
    """The layout of a state with these distinct non-empty storages."""
    numbers = {storage.data_ptr(): number for number, storage in enumerate(storages)}
    tensors: list[list[Any]] = []

    def number(tensor: torch.Tensor) -> int:
        storage = numbers[tensor.untyped_storage().data_ptr()] if tensor.numel() else EMPTY
        dtype = str(tensor.dtype).removeprefix("torch.")
        shape, stride, offset = tuple(tensor.shape), tensor.stride(), tensor.storage_offset()
        tensors.append([dtype, shape, stride, storage, offset])
        return len(tensors) - 1

    structure = {name: encode(section, number) for name, section in state.items()}
    return Layout(structure, tensors, [storage.nbytes() for storage in storages])


def layout_bytes(state: Mapping[str, Any]) -> bytes:
    """The layout of a loaded state, as bytes to compare with those in its file."""
    return layout_of(state, storages_of(state)).to_json()


@dataclass(frozen=True)
class Pointer:
    """The zip's comment: where layout and table begin and end, and the table's digest."""

    layout: int
    layout_stop: int
    table: int
    table_stop: int
    table_digest: bytes

    def to_bytes(self) -> bytes:
        *offsets, table_digest = vars(self).values()
        words = [f"{FORMAT:02x}", *(f"{offset:016x}" for offset in offsets), table_digest.hex()]
        return " ".join(["dacapo", *words]).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Pointer | None:
        """From the last POINTER_BYTES of a file; None when it is not one of ours."""
        if format_of(content) != FORMAT:
            return None
        *offsets, table_digest = content.decode().split(" ")[2:]
        layout, layout_stop, table, table_stop = (int(offset, 16) for offset in offsets)
        return cls(layout, layout_stop, table, table_stop, bytes.fromhex(table_digest))

    @classmethod
    def read(cls, read: Callable[[int, int], bytes], size: int) -> Pointer | None:
        """From a file of `size` bytes; None when it is not one of ours or points out of itself.

        Args:
            read: gives the bytes from one offset to another.
        """
        at = cls.from_bytes(read(max(size - POINTER_BYTES, 0), size))
        if at is None or not at.layout <= at.layout_stop <= at.table <= at.table_stop <= size:
            return None
        return at


def format_of(content: bytes) -> int | None:
    """The format that the last bytes of a file name; None when it is not one of ours."""
    if not _POINTER.fullmatch(content):
        return None
    return int(content.split(b" ")[1], 16)


def digest(data: Any) -> bytes:
    """The digest of some bytes, as an index holds it: xxh3_128."""
    return xxhash.xxh3_128_digest(data)
