"""Where a store is: a path is a path, a URL is a URL, and what is neither is refused."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from typer.testing import CliRunner

from dacapo_core.command_line.dacapo_store import app
from dacapo_core.store.errors import InvalidPlaceError, UnknownFileSystemError
from dacapo_core.store.filesystems.location import place_of
from dacapo_core.store.local_weights_store import LocalWeightsStore


@pytest.mark.parametrize(
    "name",
    ["a::b", "simplecache::s3", "50%", "a%20b", "a#b?c", "a:b", "[ab]*", "é ñ", "a b", "~x", "s3:"],
)
def test_a_path_is_taken_letter_by_letter(tmp_path: Path, run: Any, name: str) -> None:
    for place in (str(tmp_path / name / "store"), tmp_path / name / "store"):
        store = LocalWeightsStore(place)
        store.store_weights(run, 1)
        assert store.basedir == str(tmp_path / name / "store")
    assert os.listdir(tmp_path) == [name]
    store.store_best("run", 1, "val", "dice")
    assert LocalWeightsStore(tmp_path / name / "store").retrieve_best("run", "val", "dice") == 1


def test_paths_that_share_a_beginning_are_two_stores(tmp_path: Path, run: Any) -> None:
    first, second = (LocalWeightsStore(f"{tmp_path}/lab::{name}") for name in "ab")
    first.store_weights(run, 1)
    assert second.runs() == []
    assert sorted(os.listdir(tmp_path)) == ["lab::a"]


def test_a_file_url_and_its_path_are_one_store(tmp_path: Path, run: Any) -> None:
    folder = tmp_path / "a b%é#"
    LocalWeightsStore(folder).store_weights(run, 1)
    for url in (folder.as_uri(), folder.as_uri().replace("file:///", "file://localhost/")):
        assert LocalWeightsStore(url).basedir == str(folder)
        assert LocalWeightsStore(url).iterations("run") == [1]
    assert LocalWeightsStore(folder.as_uri().replace("file://", "FILE://")).runs() == ["run"]
    assert LocalWeightsStore(Path(folder.as_uri())).runs() == ["run"]


@pytest.mark.parametrize(
    ("said", "way_out"),
    [
        (Path("s3://bucket/runs"), "s3://bucket/runs"),
        (PurePosixPath("gs://bucket/runs"), "gs://bucket/runs"),
        ("s3:/bucket/runs", "s3://bucket/runs"),
        ("memory:/runs", "memory://runs"),
        ("s3:bucket/runs", "s3://bucket/runs"),
        ("file:runs", "give 'runs'"),
        ("s4://bucket/runs", "no file system is known for 's4'"),
        ("simplecache::s3://bucket/runs", "give that URL alone"),
        ("file://server/share", "file:///"),
        ("file:///a%zz", "%25"),
        ("file:///a#b", "%23"),
        ("file:///a%00b", "zero byte"),
        (r"C:\runs", "Windows"),
        (r"\\server\share", "Windows"),
        ("server:/export/runs", "mounted"),
        ("~nobody-of-this-name/runs", "whole path"),
        ("runs\n", "control character"),
        ("", "give a path or a URL"),
        (b"runs", "no text"),
        ("s3://", "names no bucket"),
    ],
)
def test_what_is_neither_is_refused_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: Any, way_out: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if "s3" in str(said):
        pytest.importorskip("s3fs")
    with pytest.raises((InvalidPlaceError, UnknownFileSystemError)) as error:
        LocalWeightsStore(said)
    assert way_out in str(error.value)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("text", ["./s3:/bucket", "./C:/x", "./a::b://c", "file.runs", "x/y:z"])
def test_the_way_out_leads_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert place_of(text) == ("file", str(tmp_path / os.path.normpath(text)))


def test_the_command_line_calls_it_wrong_usage(tmp_path: Path) -> None:
    told = CliRunner().invoke(app, ["--store", "s3:/bucket/runs", "ls"])
    assert told.exit_code == 2
    assert "s3://bucket/runs" in told.output
