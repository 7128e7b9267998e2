"""Whether a whole file of ours is as we write it, told by nothing but itself."""

from __future__ import annotations

import struct
import zipfile

from dacapo_core.store.checkpoint_format import torch_zip
from dacapo_core.store.checkpoint_format.checkpoint_id import CheckpointId
from dacapo_core.store.checkpoint_format.checkpoint_index import CheckpointIndex, Pointer, digest
from dacapo_core.store.checkpoint_format.storage_bytes import (
    bytes_of,
    is_the_machines,
    mapped_storage,
)


def is_as_written(path: str, place: CheckpointId, index: CheckpointIndex) -> bool:
    """Whether each byte of a file, whose index has been verified, is one that we write.

    The index has the digest of the body, and is verified itself; the few bytes around it and the
    zip's directory follow from the rest. False too for a file whose frame another version made.
    """
    table = index.rows
    whole = mapped_storage(path, place)
    content = bytes_of(whole)
    try:
        if table is None or digest(content[: table.body.place]) != table.body.digest:
            return False
        entries = _entries(path, content)
        if entries is None:
            return False
        layout, rows = entries[-2:]
        if layout.start != table.body.place:
            return False
        where = Pointer(
            layout.offset, layout.stop, rows.offset, rows.stop, digest(index.table.numpy())
        )
        end = content[rows.stop :]
        return bytes(end) == torch_zip.directory(entries, where.to_bytes())
    except Exception as error:
        if is_the_machines(error):
            raise
        # zipfile has an error of another kind for each field that makes no sense
        return False


def _entries(path: str, content: memoryview) -> list[torch_zip.Entry] | None:
    """The file's entries, one behind the other; None where a header is not as we write it."""
    entries: list[torch_zip.Entry] = []
    stop = 0
    with zipfile.ZipFile(path) as archive:
        for found in archive.infolist():
            lengths = content[stop + 26 : stop + 30]
            offset = stop + 30 + sum(struct.unpack("<2H", lengths))
            name = found.filename.partition("/")[2]
            entry = torch_zip.place(name, content[offset : offset + found.file_size], stop)
            if bytes(content[stop:offset]) != entry.header:
                return None
            entries.append(entry)
            stop = entry.stop
    return entries
