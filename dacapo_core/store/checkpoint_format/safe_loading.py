"""Loading a checkpoint without running any code in it: always with ``weights_only=True``."""

from __future__ import annotations

import os
import pickle
import threading
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import ValidationError

from dacapo_core.store.checkpoint_format.checkpoint_id import CheckpointId
from dacapo_core.store.checkpoint_format.checkpoint_index import (
    FORMAT,
    INDEX_KEY,
    POINTER_BYTES,
    CheckpointIndex,
    format_of,
)
from dacapo_core.store.checkpoint_format.pickle_scan import (
    MOST_MARKS,
    globals_of_file,
    is_endless,
    pickle_entry,
)
from dacapo_core.store.checkpoint_format.savable_state import tensors_of
from dacapo_core.store.checkpoint_format.storage_bytes import (
    is_machine_error,
    is_out_of_memory,
    out_of_memory,
)
from dacapo_core.store.errors import (
    DamagedCheckpointError,
    NewerFormatError,
    NotACheckpointError,
    UnsafeCheckpointError,
)
from dacapo_core.store.weights_store import Weights

_DACAPO_WEIGHTS = "dacapo.store.weights_store.Weights"
# torch keeps its allow-list for the whole process
_allow_list = threading.Lock()


@dataclass(frozen=True)
class LoadedCheckpoint:
    """A checkpoint mapped into memory; a tensor's bytes are read when they are first used.

    Attributes:
        state: ``{"model": …, "optimizer": …, …}``.
        index: None for a file that DaCapo wrote.
    """

    state: dict[str, Any]
    index: CheckpointIndex | None


def load_checkpoint(path: str, checkpoint: CheckpointId) -> LoadedCheckpoint:
    """Map a checkpoint, ours or DaCapo's (a plain dict or its pickled ``Weights``).

    Raises:
        UnsafeCheckpointError: it asks for code to be run.
        NewerFormatError: a later version wrote it.
        DamagedCheckpointError: it is no whole torch zip file.
        NotACheckpointError: it holds something else than weights.
    """
    loaded = _loaded(path, checkpoint)
    state = dict(vars(loaded)) if isinstance(loaded, Weights) else loaded
    if not isinstance(state, dict):
        raise _not_weights(checkpoint, f"a {type(loaded).__name__}")
    for key in ("model", "optimizer"):
        if not isinstance(state.get(key), Mapping):
            raise _not_weights(checkpoint, f"{key} is {type(state.get(key)).__name__}")
    _check_tensors(state, checkpoint)
    index = state.pop(INDEX_KEY, None)
    if index is None:
        return LoadedCheckpoint(state, None)
    _check_format(path, checkpoint, index)
    try:
        return LoadedCheckpoint(state, CheckpointIndex.model_validate(index))
    except ValidationError as error:
        reason = error.errors()[0]
        raise checkpoint.damaged(
            f"an index of format {FORMAT}", f"{reason['loc']}: {reason['msg']}"
        ) from error


def _check_tensors(state: dict[str, Any], checkpoint: CheckpointId) -> None:
    for path, tensor in tensors_of(state):
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
            what = f"{tensor.layout} of {tensor.dtype} on {tensor.device}"
            name = "/".join(map(str, path))
            raise _not_weights(checkpoint, f"{name} is {what}", "dense tensors with values")


def _check_format(path: str, checkpoint: CheckpointId, index: Any) -> None:
    with open(path, "rb") as file:
        file.seek(max(os.path.getsize(path) - POINTER_BYTES, 0))
        written = format_of(file.read())
    # said in two places: one alone may be a flipped bit
    if written != FORMAT and isinstance(index, dict) and index.get("format") == written:
        raise NewerFormatError(
            f"{checkpoint} has format {written}, this version of dacapo-core reads format "
            f"{FORMAT}: upgrade dacapo-core"
        )


def _refuse_bombs(path: str, checkpoint: CheckpointId) -> None:
    """
    Raises:
        DamagedCheckpointError: an entry is compressed, or the pickle endless. torch writes none so,
            and a small file could ask for all memory.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            packed = [entry for entry in entries if entry.compress_type != zipfile.ZIP_STORED]
            endless = not packed and is_endless(archive)
    except Exception as error:
        if is_machine_error(error):
            raise
        # loading says what it is instead
        return
    for entry in packed:
        found = f"{entry.filename!r} compressed from {entry.file_size} bytes"
        raise checkpoint.damaged("a torch zip file, which compresses nothing", found)
    if endless:
        expected = f"a pickle that stops, of at most {MOST_MARKS} containers within each other"
        raise checkpoint.damaged(expected, "another")


def _loaded(path: str, checkpoint: CheckpointId) -> Any:
    _refuse_bombs(path, checkpoint)
    try:
        with _allow_list, torch.serialization.safe_globals([(Weights, _DACAPO_WEIGHTS)]):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:
        if is_machine_error(error):
            raise
        if is_out_of_memory(error):
            raise out_of_memory(checkpoint, error) from error
        _check_pickle(path, checkpoint)
        asked = _unsafe_globals(path)
        if asked:
            raise UnsafeCheckpointError(
                f"{checkpoint} asks to run {', '.join(asked)}; it was not loaded and nothing was "
                "run. If you trust its source, convert it elsewhere to a plain dict of tensors",
                asked,
            ) from None
        raise checkpoint.damaged("a torch zip file", _what_it_is(path, error)) from error


def _what_it_is(path: str, error: Exception) -> str:
    size = os.path.getsize(path)
    if not size:
        return "an empty file"
    if not _ends_like_a_zip(path):
        return f"{size} bytes that are no zip file"
    if isinstance(error, pickle.UnpicklingError):
        return "a pickle that cannot be read"
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__


def _ends_like_a_zip(path: str) -> bool:
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:
        # the end of one, with fields that make no sense
        return True


def _check_pickle(path: str, checkpoint: CheckpointId) -> None:
    """
    Raises:
        DamagedCheckpointError: a pickle that is not as it was written says nothing of its writer.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entry = pickle_entry(archive)
            try:
                archive.read(entry)
            except zipfile.BadZipFile as error:
                # zero: written without checksums
                if entry.CRC:
                    expected = f"a pickle with checksum {entry.CRC:08x}"
                    raise checkpoint.damaged(expected, "another") from error
    except DamagedCheckpointError:
        raise
    except Exception:
        # no zip file that can be read
        return


def _unsafe_globals(path: str) -> list[str]:
    """The names outside the allow-list that a checkpoint's pickle asks for."""
    try:
        asked = globals_of_file(path)
    except Exception:
        return []
    known = torch._weights_only_unpickler
    allowed = {*known._get_allowed_globals(), *known._get_user_allowed_globals()}
    return sorted(asked - {*allowed, _DACAPO_WEIGHTS})


def _not_weights(
    checkpoint: CheckpointId,
    found: str,
    expected: str = "a dict with model and optimizer, or DaCapo's Weights",
) -> Exception:
    return checkpoint.damaged(expected, found, "is no checkpoint", NotACheckpointError)
