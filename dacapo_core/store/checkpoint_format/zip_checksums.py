"""The checksums of torch's zip file, for checkpoints without digests: those of DaCapo."""

from __future__ import annotations

import mmap
import struct
import zipfile
import zlib
from dataclasses import dataclass
from typing import BinaryIO

import torch

from dacapo_core.store.checkpoint_format.storage_bytes import bytes_of
from dacapo_core.store.checkpoint_format.torch_zip import LOCAL_HEADER, content_offset

_DESCRIPTOR = struct.Struct("<4sL")
_DESCRIBED_BEHIND = 0x08
_UTF_8 = 0x0800
_CHUNK = 1 << 20


class WrongZip(Exception):
    """A zip file that contradicts itself.

    Attributes:
        expected, found: what it says of itself, and what is there.
    """

    def __init__(self, expected: str, found: str) -> None:
        super().__init__(f"{expected}, {found}")
        self.expected, self.found = expected, found


@dataclass(frozen=True)
class _Place:
    """Where a tensor's bytes are in the file, and their checksum; None: written without."""

    start: int
    size: int
    checksum: int | None


def check_storages(path: str, storages: list[torch.UntypedStorage]) -> None:
    """Compare storages, which torch mapped from a file, with the checksum of the entry of each.

    All other entries are compared with theirs too, and the directory with the header of each
    entry: an offset that points at another tensor of the same size would go unseen otherwise.

    Raises:
        WrongZip: they differ.
        Exception: of any kind, where the file is no zip file.
    """
    with open(path, "rb", buffering=0) as file, zipfile.ZipFile(path) as archive:
        filled = [entry for entry in archive.infolist() if entry.file_size]
        # torch writes all with checksums or none; our files have none for tensors only
        without = not any(entry.CRC for entry in filled)
        without_for_tensors = not any(entry.CRC for entry in filled if _is_a_tensors(entry))
        places = []
        for entry in filled:
            start = _start(file, entry)
            if _is_a_tensors(entry):
                checksum = None if without_for_tensors else entry.CRC
                places.append(_Place(start, entry.file_size, checksum))
            elif not without:
                _compare(entry.filename, entry.CRC, _checksum(file, start, entry.file_size))
    for storage, place in _placed(storages, places):
        if place.checksum is not None:
            what = f"a tensor of {place.size} bytes"
            _compare(what, place.checksum, zlib.crc32(bytes_of(storage)))


def _checksum(file: BinaryIO, start: int, size: int) -> int:
    file.seek(start)
    checksum = 0
    while size and (piece := file.read(min(size, _CHUNK))):
        checksum = zlib.crc32(piece, checksum)
        size -= len(piece)
    return checksum


def _is_a_tensors(entry: zipfile.ZipInfo) -> bool:
    return "/data/" in entry.filename


def _compare(what: str, expected: int, found: int) -> None:
    if expected != found:
        raise WrongZip(f"{what} with checksum {expected:08x}", f"{found:08x}")


def _start(file: BinaryIO, entry: zipfile.ZipInfo) -> int:
    """Where an entry's bytes begin; its header and its descriptor must agree with the directory."""
    file.seek(entry.header_offset)
    header = file.read(LOCAL_HEADER.size)
    signature, _, flags, method, _, _, checksum, _, _, name_length, _ = LOCAL_HEADER.unpack(header)
    name = file.read(name_length).decode("utf-8" if flags & _UTF_8 else "cp437")
    wanted = (b"PK\x03\x04", entry.flag_bits, entry.compress_type, entry.orig_filename)
    if (signature, flags, method, name) != wanted:
        raise WrongZip(f"{entry.filename} at {entry.header_offset}", f"{name!r}")
    start = content_offset(entry.header_offset, header)
    if flags & _DESCRIBED_BEHIND:
        file.seek(start + entry.file_size)
        signature, checksum = _DESCRIPTOR.unpack(file.read(_DESCRIPTOR.size))
        if signature != b"PK\x07\x08":
            raise WrongZip(f"the end of {entry.filename} at {start + entry.file_size}", "another")
    _compare(f"{entry.filename} in the zip's directory", entry.CRC, checksum)
    return start


def _placed(
    storages: list[torch.UntypedStorage], places: list[_Place]
) -> list[tuple[torch.UntypedStorage, _Place]]:
    """Each storage with its place; torch maps a file in one piece, from the start of a page."""
    if not storages:
        return []
    by_span = {(place.start, place.size): place for place in places}
    first = storages[0]
    for place in places:
        begin = first.data_ptr() - place.start
        if place.size == first.nbytes() and begin % mmap.PAGESIZE == 0:
            found = []
            for storage in storages:
                at = by_span.get((storage.data_ptr() - begin, storage.nbytes()))
                if at is None:
                    break
                found.append((storage, at))
            else:
                return found
    raise WrongZip("tensors where its directory says", "others")
