"""dacapo-store on a store that is not there, is empty, or cannot be opened as it was said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dacapo_core.store.errors import StorageOptionsError
from dacapo_core.store.local_weights_store import LocalWeightsStore

Command = Callable[..., tuple[int, str, str]]


def test_a_store_that_is_not_there_is_told_from_an_empty_one(
    dacapo_store: Command, place: tuple[str, dict[str, Any]]
) -> None:
    url, options = place
    where = ("--store", url, "--storage-options", json.dumps(options))
    code, out, err = dacapo_store("ls", *where)
    assert (code, out) == (3, "")
    assert f"there is no store at {url}:" in err
    store = LocalWeightsStore(url, options)
    store.filesystem.write_bytes("notes/readme.txt", b"mine")
    assert dacapo_store("ls", *where)[0] == 0
    assert json.loads(dacapo_store("ls", "--json", *where)[1])["runs"] == []


def test_an_empty_folder_is_an_empty_store_and_a_file_is_none(
    dacapo_store: Command, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    assert dacapo_store("ls", "--store", str(tmp_path / "empty"))[0] == 0
    assert dacapo_store("ls", "--store", str(tmp_path / "file"))[0] == 3


@pytest.mark.parametrize(
    "options",
    [
        {"frobnicate": 1},
        {"client_kwargs": {"frobnicate": 1}},
        {"config_kwargs": {"frobnicate": 1}},
    ],
    ids=["file system", "client", "configuration"],
)
def test_storage_options_that_nothing_knows_are_refused_before_any_request(
    dacapo_store: Command, options: dict[str, Any]
) -> None:
    pytest.importorskip("s3fs")
    with pytest.raises(StorageOptionsError, match="frobnicate"):
        LocalWeightsStore("s3://bucket/runs", options)
    where = ("--store", "s3://bucket/runs", "--storage-options", json.dumps(options))
    code, out, err = dacapo_store("ls", *where)
    assert (code, out) == (2, "")
    assert "the storage options do not fit 's3://bucket/runs'" in err
    assert "frobnicate" in err
