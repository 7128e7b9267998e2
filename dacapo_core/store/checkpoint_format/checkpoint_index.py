"""What a checkpoint says about itself, inside itself, under a key that DaCapo ignores.

Two tensors, the last of the file. ``layout`` is JSON: the structure of each section, and dtype,
shape, stride and storage of each tensor. ``table`` has a row of 16 bytes of digest and 8 of place
for each distinct non-empty storage, which the file begins with, then for the pickle (all between
the storages and the layout), for the body (all before the layout) and for the layout. The zip's
comment says where both are, so a reader that knows it needs no directory and no pickle.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping
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
        """None when the table is none."""
        return Table.from_bytes(self.table.numpy().tobytes())


@dataclass(frozen=True)
class Row:
    """Some bytes of a checkpoint.

    Attributes:
        digest: xxh3_128.
        place: where a storage, the pickle or the layout begins in the file; where the body ends.
    """

    digest: bytes
    place: int


@dataclass(frozen=True)
class Table:
    """The rows of a checkpoint's table."""

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
        return b"".join(_ROW.pack(row.digest, row.place) for row in rows)

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
    """What a reader needs to find a state's tensors in its file.

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


def described(state: Mapping[str, Any]) -> bytes:
    """The layout of a state that was loaded, to be compared with the one in its file."""
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
        *places, table_digest = vars(self).values()
        words = [f"{FORMAT:02x}", *(f"{place:016x}" for place in places), table_digest.hex()]
        return " ".join(["dacapo", *words]).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Pointer | None:
        """From the last bytes of a file; None when it is not one of ours."""
        if format_of(content) != FORMAT:
            return None
        *places, table_digest = content.decode().split(" ")[2:]
        layout, layout_stop, table, table_stop = (int(place, 16) for place in places)
        return cls(layout, layout_stop, table, table_stop, bytes.fromhex(table_digest))


def format_of(content: bytes) -> int | None:
    """The format that the last bytes of a file speak of; None when it is not one of ours."""
    if not _POINTER.fullmatch(content):
        return None
    return int(content.split(b" ")[1], 16)


def digest(data: Any) -> bytes:
    """The digest of some bytes, as it stands in an index."""
    return xxhash.xxh3_128_digest(data)
