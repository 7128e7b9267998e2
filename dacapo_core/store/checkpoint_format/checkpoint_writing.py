"""Writing a checkpoint: torch's zip file, with digests taken while its bytes are written."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import torch
import xxhash

from dacapo_core.store.checkpoint_format import torch_zip
from dacapo_core.store.checkpoint_format.checkpoint_index import (
    FORMAT,
    INDEX_KEY,
    Pointer,
    Row,
    Table,
    digest,
    layout_of,
)
from dacapo_core.store.checkpoint_format.savable_state import storages_of
from dacapo_core.store.checkpoint_format.storage_bytes import bytes_of
from dacapo_core.store.checkpoint_format.torch_pickle import pickled
from dacapo_core.store.filesystems.unbuffered_files import write_pieces
from dacapo_core.store.saving.background_job import BackgroundJob

_FORMAT_OF_TORCH = b"3\n"


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
    """Write a state of plain CPU tensors, ``{"model": …, "optimizer": …, …}``, to a file.

    ``torch.load(weights_only=True)`` reads it, and so does DaCapo. The state must not change
    meanwhile.
    """
    storages = storages_of(state)
    body = _entries_from(0, [(f"data/{n}", bytes_of(s)) for n, s in enumerate(storages)])
    # disk and processor work at the same time: writing and digests let go of the interpreter
    rest = BackgroundJob(lambda: _rest_of(state, storages, body))
    try:
        write_pieces(file, [piece for entry in body for piece in (entry.header, entry.content)])
    finally:
        # after an error too: it reads memory that is the caller's
        written, end = rest.result()
    write_pieces(file, [end])
    return written


def _entries_from(start: int, named: Iterable[tuple[str, Any]]) -> list[torch_zip.Entry]:
    entries = []
    for name, content in named:
        entries.append(torch_zip.entry_at(start, name, content))
        start = entries[-1].stop
    return entries


def _rest_of(
    state: Mapping[str, Any], storages: list[torch.UntypedStorage], body: list[torch_zip.Entry]
) -> tuple[WrittenCheckpoint, bytes]:
    """The description of a file whose body is being written, and the bytes behind the body."""
    nonce = secrets.token_hex(16)
    layout = layout_of(state, storages).to_json()
    tail = _tail(state, storages, nonce, layout, body[-1].stop if body else 0)
    *pickle_entries, layout_entry, table_entry = tail
    pickle = b"".join(piece for entry in pickle_entries for piece in (entry.header, entry.content))

    whole, rows = xxhash.xxh3_128(), []
    for entry in body:
        whole.update(entry.header)
        whole.update(entry.content)
        rows.append(Row(digest(entry.content), entry.offset))
    whole.update(pickle)
    table = Table(
        storages=rows,
        pickle=Row(digest(pickle), pickle_entries[0].start),
        body=Row(whole.digest(), layout_entry.start),
        layout=Row(digest(layout), layout_entry.offset),
    )
    filled = table.to_bytes()
    where = Pointer(
        layout_entry.offset,
        layout_entry.stop,
        table_entry.offset,
        table_entry.stop,
        digest(filled),
    )
    directory = torch_zip.directory([*body, *tail], where.to_bytes())
    index = b"".join([layout_entry.header, layout, table_entry.header, filled, directory])
    whole.update(index)
    size = layout_entry.start + len(index)
    written = WrittenCheckpoint(size, whole.hexdigest(), nonce, _parts(state, storages, table))
    return written, pickle + index


def _tail(
    state: Mapping[str, Any],
    storages: list[torch.UntypedStorage],
    nonce: str,
    layout: bytes,
    start: int,
) -> list[torch_zip.Entry]:
    """The entries behind the storages; the last two are the layout and the still empty table."""
    layout_tensor = torch.frombuffer(bytearray(layout), dtype=torch.uint8)
    table = torch.zeros(Table.size(len(storages)), dtype=torch.uint8, device="cpu")
    index = {"format": FORMAT, "nonce": nonce, "layout": layout_tensor, "table": table}
    filed = [*storages, layout_tensor.untyped_storage(), table.untyped_storage()]
    keys = {storage.data_ptr(): number for number, storage in enumerate(filed)}
    content, empty = pickled({**state, INDEX_KEY: index}, keys)
    return _entries_from(
        start,
        [
            ("data.pkl", content),
            ("byteorder", sys.byteorder.encode()),
            ("version", _FORMAT_OF_TORCH),
            *((f"data/{len(keys) + n}", b"") for n in range(empty)),
            (f"data/{len(storages)}", layout),
            (f"data/{len(storages) + 1}", bytes(table.nbytes)),
        ],
    )


def _parts(
    state: Mapping[str, Any], storages: list[torch.UntypedStorage], table: Table
) -> dict[str, str]:
    """Each section's digest, over those of the storages that its tensors use."""
    rows = {storage.data_ptr(): row for storage, row in zip(storages, table.storages, strict=True)}
    return {
        name: xxhash.xxh3_128_hexdigest(
            b"".join(rows[storage.data_ptr()].digest for storage in storages_of(section))
        )
        for name, section in state.items()
    }
