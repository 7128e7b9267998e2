"""Where a store is: a path of this machine or a URL, told apart without a request."""

from __future__ import annotations

import os
import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

import fsspec

from dacapo_core.store.errors import InvalidPlaceError, UnknownFileSystemError

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_BROKEN_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_LOCAL = {"file", "local"}


class Place(NamedTuple):
    """A path or a URL, told apart.

    Attributes:
        protocol: ``file`` for a path.
        address: the absolute path, or the URL.
    """

    protocol: str
    address: str


def place_of(said: str | os.PathLike[str]) -> Place:
    """What a person, a setting or a ``Path`` says, as a path or a URL.

    A path is taken letter by letter, but for ``~``; the percent signs of a ``file://`` URL are
    decoded (RFC 8089), those of other URLs belong to the names there.

    Raises:
        InvalidPlaceError: it is neither; says the way out.
        UnknownFileSystemError: it is a URL of no file system that is known here.
    """
    text = os.fspath(said)
    if not isinstance(text, str):
        raise InvalidPlaceError(f"store {text!r} is no text; give a path or a URL")
    if not text:
        raise InvalidPlaceError("the store is empty: give a path or a URL")
    if any(character < " " or character == "\x7f" for character in text):
        raise InvalidPlaceError(
            f"store {text!r} contains a control character; was a line pasted too much?"
        )
    if (url := _URL.fullmatch(text)) is not None:
        return _of_url(text, url[1].lower(), url[2])
    if text.startswith("file:/"):
        # RFC 8089 allows one slash, and pathlib leaves one of three
        return Place("file", _decoded(text, text.removeprefix("file:")))
    _refuse_half_a_url(text, is_path=not isinstance(said, str))
    expanded = os.path.expanduser(text)
    if expanded.startswith("~"):
        raise InvalidPlaceError(
            f"store {text!r}: there is no user {text.partition('/')[0][1:]!r} whose home it "
            "could be; give the whole path"
        )
    return Place("file", _absolute(expanded))


def _of_url(text: str, protocol: str, rest: str) -> Place:
    if protocol in _LOCAL:
        host, slash, path = rest.partition("/")
        if not slash or host not in ("", "localhost"):
            raise InvalidPlaceError(
                f"store {text!r} names the host {host!r}; a path of this machine has "
                "three slashes: file:///… . Give that, or the path alone"
            )
        return Place("file", _decoded(text, f"/{path}"))
    if not _is_known(protocol):
        raise UnknownFileSystemError(
            f"store {text!r}: no file system is known for {protocol!r}; correct the URL (s3://…, "
            "gs://…, abfs://…, memory://…), or give a path"
        )
    return Place(protocol, f"{protocol}://{rest}")


def _is_known(protocol: str) -> bool:
    # the second holds what a program has registered for itself
    return protocol in fsspec.available_protocols() or protocol in fsspec.registry


def _decoded(text: str, path: str) -> str:
    if _BROKEN_PERCENT.search(path):
        raise InvalidPlaceError(
            f"store {text!r} has a percent sign that encodes nothing; write %25 for one in a "
            "file URL, or give the path alone"
        )
    if "?" in path or "#" in path:
        raise InvalidPlaceError(
            f"store {text!r} has a '?' or '#', which end a URL's path; write %3F and %23, or "
            "give the path alone"
        )
    decoded = os.fsdecode(unquote_to_bytes(path))
    if "\0" in decoded:
        raise InvalidPlaceError(f"store {text!r} contains a zero byte, which no path can")
    return _absolute(decoded)


def _absolute(path: str) -> str:
    # two slashes in front mean nothing else than one, and abspath keeps them
    return re.sub("^//+", "/", os.path.abspath(path))


def _refuse_half_a_url(text: str, *, is_path: bool) -> None:
    """What begins like a URL, a Windows path or another machine's path and is none of these."""
    way_out = (
        "if a folder of that name is meant, give its whole path"
        if is_path
        else f"if a folder of that name is meant, write ./{text}"
    )
    if re.match(r"[A-Za-z]:[\\/]|\\\\", text):
        raise InvalidPlaceError(
            f"store {text!r} is a path of Windows; give the path that this machine has for it, "
            f"such as /mnt/…; {way_out}"
        )
    first = text.partition("/")[0]
    before, colon, after = first.partition(":")
    if "://" in text and "::" in text and not first.startswith("."):
        raise InvalidPlaceError(
            f"store {text!r} chains file systems; a store needs the last one, without a cache "
            f"before it: give that URL alone; {way_out}"
        )
    if first.endswith(":") and len(first) < len(text):
        fixed = f"{before.strip()}://{text[len(first) :].lstrip('/')}"
        is_known = _is_known(before.strip().lower())
        said = (
            f"has lost a slash of a URL, as pathlib does to it; give it as text: {fixed!r}"
            if is_known
            else "is neither a path of this machine nor a URL; give the path where it is mounted"
        )
        raise InvalidPlaceError(f"store {text!r} {said}; {way_out}")
    if colon and after and _is_known(before.lower()):
        rest = text[len(before) + 1 :]
        fixed = rest if before.lower() in _LOCAL else f"{before}://{rest}"
        raise InvalidPlaceError(f"store {text!r} is no URL: give {fixed!r}; {way_out}")
