"""Which runs a name or a pattern such as ``mito-*`` means, wherever a person gives one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from dacapo_core.store import layout
from dacapo_core.store.errors import MissingCheckpointError

if TYPE_CHECKING:
    from dacapo_core.store.metadata_store import MetadataStore

_WILD = frozenset("*?[")


def choose_runs(store: MetadataStore, said: Iterable[str]) -> list[str]:
    """The runs that names and patterns mean, each once, in order.

    ``*`` stands for any characters, ``?`` for one, ``[ab]`` for one of these. A name that a run
    has is that run, whatever signs are in it. ``*`` means every run, and none of an empty store.

    Raises:
        InvalidNameError: what is no pattern, and no run can be called so.
        MissingCheckpointError: one means no run.
    """
    filesystem = store.filesystem
    return chosen(list(said), filesystem.list_folders(), store.runs, filesystem.bad_links())


def chosen(
    said: Sequence[str],
    folders: Sequence[str],
    runs: Callable[[], Sequence[str]],
    astray: Mapping[str, str],
) -> list[str]:
    """As `choose_runs`, over plain values.

    Args:
        folders: of the store; a name that is one of them is that run.
        runs: called only where a pattern is given, or to say what there is.
        astray: name → what is wrong with what is no run of this store.
    """
    found: set[str] = set()
    for each in said:
        if each in astray:
            raise MissingCheckpointError(f"there is no run {each!r}: it is {astray[each]}")
        if each in folders and layout.is_run_name(each):
            found.add(each)
            continue
        if not is_pattern(each):
            layout.check_run_name(each)
        known = runs()
        meant = {run for run in known if is_pattern(each) and fnmatchcase(run, each)}
        if not meant and each != "*":
            raise MissingCheckpointError(
                f"there is no run {each!r}; the store's runs: {_shown(known)}"
            )
        found |= meant
    return sorted(found)


def is_pattern(said: str) -> bool:
    """Whether it may stand for several runs."""
    return not _WILD.isdisjoint(said)


def _shown(runs: Sequence[str]) -> str:
    shown = ", ".join(runs[:20]) or "none"
    return f"{shown} and {len(runs) - 20} more" if len(runs) > 20 else shown
