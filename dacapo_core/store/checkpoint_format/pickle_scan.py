"""Scanning a pickle without unpickling it: the globals that it imports, and how deep it nests."""

from __future__ import annotations

import io
import itertools
import pickle
import pickletools
import zipfile
from typing import Any, BinaryIO

MOST_MARKS = 10_000
"""The most containers within each other: far more than anybody nests."""
# takes less than a second; a pickle that asks for something behind them is refused all the same
_MOST_OPCODES = 500_000
_MOST_BYTES = 16 << 20
# starting on a pickle takes as long as so many opcodes
_BEGIN = 20
# each pops the topmost mark
_CLOSING = {"TUPLE", "LIST", "DICT", "SETITEMS", "APPENDS", "ADDITEMS", "FROZENSET"}
_CLOSING |= {"POP_MARK", "INST", "OBJ"}
_PUT = {"PUT", "BINPUT", "LONG_BINPUT"}
_GET = {"GET", "BINGET", "LONG_BINGET"}


def globals_of_file(path: str) -> set[str]:
    """``module.name`` of all that the pickle in a file imports.

    The file may be a torch zip file, an older torch file (several pickles, then bytes) or a bare
    pickle. None of a pickle that breaks off; only the first ones of a very long pickle.
    """
    left = _MOST_OPCODES
    with open(path, "rb") as file:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                return _globals_of(io.BytesIO(archive.read(pickle_entry(archive))), left)[0]
        file.seek(0)
        # a file is asked for its place at each opcode
        pickles = io.BytesIO(file.read(_MOST_BYTES))
        asked: set[str] = set()
        try:
            while left > 0:
                found, opcodes = _globals_of(pickles, left)
                asked |= found
                left -= opcodes + _BEGIN
        except Exception:
            # what stands behind the last pickle
            pass
    return asked


def pickle_entry(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    """The pickle's entry in torch's zip file.

    Raises:
        LookupError: it has none, or a compressed one, which torch never writes.
    """
    for entry in archive.infolist():
        if entry.filename.endswith("/data.pkl") and entry.compress_type == zipfile.ZIP_STORED:
            return entry
    raise LookupError("no data.pkl")


def is_endless(archive: zipfile.ZipFile) -> bool:
    """Whether the pickle of torch's zip file has no STOP at its end, or nests without end.

    torch's unpickler would take a microsecond and some hundred bytes for each of its bytes.

    Raises:
        Exception: of any kind, where there is none to be read.
    """
    entry = pickle_entry(archive)
    with archive.open(entry) as file:
        # without the last byte: reading it compares the checksum, which is not checked here
        content = file.read(max(entry.file_size - 1, 0))
        if _is_too_deep(content):
            return True
        return file.read(1) != pickle.STOP


def _is_too_deep(content: bytes) -> bool:
    if content.count(pickle.MARK) <= MOST_MARKS:
        return False
    marks = 0
    try:
        for opcode, _, _ in pickletools.genops(content):
            if opcode.name == "MARK":
                marks += 1
                if marks > MOST_MARKS:
                    return True
            elif opcode.name in _CLOSING:
                marks -= 1
    except ValueError:
        # its last byte is not there
        pass
    return False


def _globals_of(file: BinaryIO, most: int) -> tuple[set[str], int]:
    """``module.name`` of all that the next pickle of a file imports, and its count of opcodes.

    Args:
        most: opcodes to look at.

    Raises:
        ValueError: it is no pickle.
    """
    asked: set[str] = set()
    strings: list[str] = []
    memo: dict[int, str] = {}
    top = ""
    argument: Any
    opcodes = 0
    for opcode, argument, _ in itertools.islice(pickletools.genops(file), most):
        opcodes += 1
        name = opcode.name
        if name in ("GLOBAL", "INST"):
            asked.add(argument.replace(" ", "."))
        elif name == "STACK_GLOBAL":
            asked.add(".".join(strings[-2:]))
        elif name == "MEMOIZE":
            memo[len(memo)] = top
        elif name in _PUT:
            memo[argument] = top
        else:
            if name in _GET:
                argument = memo.get(argument, "")
            top = argument if isinstance(argument, str) else ""
            if top:
                strings.append(top)
    return asked, opcodes
