"""What an object store can refuse."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dacapo_core.store.errors import (
    StoreError,
    StoreFullError,
    StoreNotWritableError,
    StoreUnreachableError,
)
from dacapo_core.store.local_weights_store import LocalWeightsStore

pytestmark = [pytest.mark.s3, pytest.mark.slow]


def test_a_missing_bucket_is_named(s3_server: Any) -> None:
    store = LocalWeightsStore("s3://no-such-bucket/runs", s3_server.storage_options)
    for method in (store.latest_iteration, store.iterations):
        with pytest.raises(StoreUnreachableError, match=r"no-such-bucket.*no such bucket"):
            method("run")
    with pytest.raises(StoreUnreachableError, match="no such bucket"):
        store.runs()


def test_no_write_makes_a_bucket(s3_server: Any, make_run: Any) -> None:
    store = LocalWeightsStore("s3://no-such-bucket/runs", s3_server.storage_options)
    with pytest.raises(StoreNotWritableError, match=r"no-such-bucket.*no such bucket"):
        store.store_weights(make_run(), 7)
    with pytest.raises(StoreError, match="no such bucket"), store.lease("run"):
        pass
    with pytest.raises(StoreUnreachableError, match="no such bucket"):
        store.latest_iteration("run")


def test_a_url_without_a_bucket_is_refused(s3_server: Any) -> None:
    for url in ("s3://", "s3:///"):
        with pytest.raises(ValueError, match="names no bucket"):
            LocalWeightsStore(url, s3_server.storage_options)


READS = ["retrieve_weights", "retrieve_model", "verify"]


@pytest.fixture
def stored(s3_server: Any, s3_bucket: str, make_state_run: Any) -> LocalWeightsStore:
    store = LocalWeightsStore(f"{s3_bucket}/{uuid.uuid4().hex}", s3_server.storage_options)
    store.store_weights(make_state_run({"w": torch.ones(100_000)}), 7)
    return store


def test_a_missing_folder_for_temporary_files_is_named(
    stored: LocalWeightsStore, make_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = str(tmp_path / "missing")
    monkeypatch.setattr(tempfile, "tempdir", missing)
    for read in READS:
        with pytest.raises(StoreNotWritableError, match=f"{missing}.*TMPDIR"):
            getattr(stored, read)("run", 7)
    with pytest.raises(StoreNotWritableError, match=f"{missing}.*TMPDIR"):
        stored.latest_iteration("run", verified=True)
    with pytest.raises(StoreNotWritableError, match=f"{missing}.*TMPDIR"):
        stored.store_weights(make_run(), 8)
    assert stored.latest_iteration("run") == 7


def test_a_full_folder_for_temporary_files_is_named(
    stored: LocalWeightsStore,
    make_state_run: Any,
    mount_small: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small = str(mount_small(64 << 10))
    monkeypatch.setattr(tempfile, "tempdir", small)
    for read in READS:
        with pytest.raises(StoreFullError, match=f"{small}.*TMPDIR"):
            getattr(stored, read)("run", 7)
    with pytest.raises(StoreFullError, match=f"{small}.*TMPDIR"):
        stored.store_weights(make_state_run({"w": torch.ones(100_000)}), 8)
    monkeypatch.undo()
    assert stored.latest_iteration("run", verified=True) == 7


def test_wrong_credentials_are_named(s3_server: Any, s3_bucket: str, make_run: Any) -> None:
    wrong = {**s3_server.storage_options, "secret": "wrong"}
    store = LocalWeightsStore(s3_bucket, wrong)
    with pytest.raises(StoreUnreachableError, match="credentials"):
        store.latest_iteration("run")
    with pytest.raises(StoreUnreachableError, match="credentials"):
        store.retrieve_weights("run", 7)
    with pytest.raises(StoreNotWritableError, match="credentials") as caught:
        store.store_weights(make_run(), 7)
    assert isinstance(caught.value, StoreError)
    assert isinstance(caught.value, OSError)
    assert LocalWeightsStore(s3_bucket, s3_server.storage_options).iterations("run") == []


def test_a_checkpoint_of_several_upload_parts(
    s3_server: Any, s3_bucket: str, make_state_run: Any, same: Any
) -> None:
    store = LocalWeightsStore(f"{s3_bucket}/large", s3_server.storage_options)
    state = {"w": torch.randn(32_000_000)}
    store.store_weights(make_state_run(state), 7, wait=False)
    assert store.verify("run", 7).record
    assert same(store.retrieve_model("run", 7), state)


def test_an_upload_that_is_under_way_is_not_swept(
    s3_server: Any, s3_bucket: str, make_run: Any
) -> None:
    import s3fs

    store = LocalWeightsStore(f"{s3_bucket}/uploads", s3_server.storage_options)
    store.store_weights(make_run(), 7)
    fs = s3fs.S3FileSystem(**s3_server.storage_options)
    bucket, _, folder = s3_bucket.removeprefix("s3://").partition("/")
    key = f"{folder}/uploads/run/checkpoints/iterations/8"
    upload = fs.call_s3("create_multipart_upload", Bucket=bucket, Key=key)
    store.sweep("run")
    listed = fs.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=key).get("Uploads", [])
    assert [found["UploadId"] for found in listed] == [upload["UploadId"]]
    assert store.iterations("run") == [7]
