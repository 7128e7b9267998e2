"""The names that a pickle asks for, of any protocol, without unpickling it."""

from __future__ import annotations

import io
import pickletools
import zipfile
from typing import Any, BinaryIO

_PUT = {"PUT", "BINPUT", "LONG_BINPUT"}
_GET = {"GET", "BINGET", "LONG_BINGET"}


def globals_of_file(path: str) -> set[str]:
    """``module.name`` of all that a checkpoint's pickle asks for, whatever wrote it.

    That is a torch zip file, an older torch file (several pickles, then bytes) or a bare pickle.
    Of what is no pickle to its end, none.
    """
    with open(path, "rb") as file:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                return globals_of(io.BytesIO(archive.read(pickle_entry(archive))))
        file.seek(0)
        asked: set[str] = set()
        try:
            while True:
                asked |= globals_of(file)
        except Exception:
            # what stands behind the last pickle
            return asked


def pickle_entry(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    """The entry of torch's zip file that is the pickle.

    Raises:
        LookupError: it has none, or a compressed one, which torch never writes.
    """
    for entry in archive.infolist():
        if entry.filename.endswith("/data.pkl") and entry.compress_type == zipfile.ZIP_STORED:
            return entry
    raise LookupError("no data.pkl")


def globals_of(pickle: BinaryIO) -> set[str]:
    """``module.name`` of all that the next pickle of a file asks for.

    Raises:
        ValueError: it is no pickle.
    """
    asked: set[str] = set()
    strings: list[str] = []
    memo: dict[int, str] = {}
    top = ""
    argument: Any
    for opcode, argument, _ in pickletools.genops(pickle):
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
    return asked
