"""Writing a checkpoint: torch's zip file, with digests taken while its bytes are written."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import torch
import xxhash

from dacapo_core.store.checkpoints import torch_zip
from dacapo_core.store.checkpoints.beside import Beside
from dacapo_core.store.checkpoints.checkpoint_index import (
    INDEX_KEY,
    Pointer,
    Row,
    Table,
    digest,
    layout_of,
)
from dacapo_core.store.checkpoints.state_tree import storages_of
from dacapo_core.store.checkpoints.storage_bytes import bytes_of
from dacapo_core.store.checkpoints.torch_pickle import pickled
from dacapo_core.store.files.local_files import write_pieces

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

    Any torch ≥ 1.6 reads it; DaCapo 0.3.5 and its main branch read it as weights. The state must
    not change meanwhile.
    """
    plan = _Plan(state)
    # disk and processor work at the same time: both let go of the interpreter
    taken = Beside(lambda: _digests(plan))
    entries = [*plan.head, *plan.body]
    try:
        write_pieces(file, [piece for entry in entries for piece in (entry.header, entry.content)])
    finally:
        # after an error too: it reads memory that is the caller's
        table, whole = taken.result()
    end = plan.end(table)
    write_pieces(file, [end])
    whole.update(end)
    parts = _parts(state, plan.storages, table)
    return WrittenCheckpoint(plan.layout.start + len(end), whole.hexdigest(), plan.nonce, parts)


class _Plan:
    """A checkpoint file before it is written: each entry in its place.

    Attributes:
        head: what stands before the storages.
        body: the storages, in order, then empty ones.
        layout, table: the last two, the table yet to be filled in.
    """

    def __init__(self, state: Mapping[str, Any]) -> None:
        self.nonce = secrets.token_hex(16)
        self.storages = storages_of(state)
        layout = torch.frombuffer(
            bytearray(layout_of(state, self.storages).to_json()), dtype=torch.uint8
        )
        table = torch.zeros(Table.size(len(self.storages)), dtype=torch.uint8, device="cpu")
        index = {"format": 1, "nonce": self.nonce, "layout": layout, "table": table}
        filed = [*self.storages, layout.untyped_storage(), table.untyped_storage()]
        keys = {storage.data_ptr(): number for number, storage in enumerate(filed)}
        head, empty = pickled({**state, INDEX_KEY: index}, keys)

        self._stop = 0
        self.head = [
            self._placed("data.pkl", head, checksum=True),
            self._placed("byteorder", sys.byteorder.encode(), checksum=True),
            self._placed("version", _FORMAT_OF_TORCH, checksum=True),
        ]
        self.body = [
            self._placed(f"data/{number}", bytes_of(storage))
            for number, storage in enumerate(self.storages)
        ]
        self.body += [self._placed(f"data/{len(keys) + n}", b"") for n in range(empty)]
        self.layout = self._placed(f"data/{len(self.storages)}", layout.numpy().tobytes())
        self.table = self._placed(f"data/{len(self.storages) + 1}", bytes(table.nbytes))

    def _placed(self, name: str, content: Any, *, checksum: bool = False) -> torch_zip.Entry:
        entry = torch_zip.place(name, content, self._stop, checksum=checksum)
        self._stop = entry.stop
        return entry

    def end(self, table: Table) -> bytes:
        """What stands behind the body."""
        entries = [*self.head, *self.body, self.layout, self.table]
        rows = table.to_bytes()
        where = Pointer(
            self.layout.offset, self.layout.stop, self.table.offset, self.table.stop, digest(rows)
        )
        return b"".join(
            [
                self.layout.header,
                self.layout.content,
                self.table.header,
                rows,
                torch_zip.directory(entries, where.to_bytes()),
            ]
        )


def _digests(plan: _Plan) -> tuple[Table, xxhash.xxh3_128]:
    """The table of a file in the making, and the digest of its body, to be gone on with."""
    whole = xxhash.xxh3_128()
    for entry in plan.head:
        whole.update(entry.header)
        whole.update(entry.content)
    head = whole.digest()
    rows = []
    for entry in plan.body:
        whole.update(entry.header)
        whole.update(entry.content)
        rows.append(Row(digest(entry.content), entry.offset))
    table = Table(
        storages=rows[: len(plan.storages)],
        head=Row(head, plan.head[-1].stop),
        body=Row(whole.digest(), plan.layout.start),
        layout=Row(digest(plan.layout.content), plan.layout.offset),
    )
    return table, whole


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
