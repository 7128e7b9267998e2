"""A pickle made to keep its reader busy, or to take its memory, is refused at once."""

from __future__ import annotations

import io
import time
import zipfile
from pathlib import Path

import pytest
import torch

from dacapo_core.store.errors import DamagedCheckpointError, StoreError, UnsafeCheckpointError
from dacapo_core.store.local_weights_store import LocalWeightsStore

MANY = 1_500_000


def in_zip(pickled: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/version", "3\n")
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "error"),
    [
        pytest.param(in_zip(b"\x80\x02" + b"(" * MANY), DamagedCheckpointError, id="marks"),
        pytest.param(in_zip(b"\x80\x02" + b"(" * MANY + b"."), DamagedCheckpointError, id="stops"),
        pytest.param(in_zip(b"\x80\x02" + b"N(" * MANY + b"."), DamagedCheckpointError, id="apart"),
        pytest.param(in_zip(b"\x80\x02" + b"]" * MANY), DamagedCheckpointError, id="lists"),
        pytest.param(in_zip(b"\x80\x02" + b"N0" * MANY), DamagedCheckpointError, id="nothing"),
        pytest.param(b"\x80\x02" + b"(" * (MANY * 10), DamagedCheckpointError, id="in no zip"),
        pytest.param(b"N." * (MANY * 5), DamagedCheckpointError, id="many in no zip"),
        pytest.param(
            in_zip(b"\x80\x02cposix\nsystem\n" + b"N0" * (MANY * 2) + b"."),
            UnsafeCheckpointError,
            id="after a name",
        ),
    ],
)
def test_is_refused_within_a_second(
    local_store: LocalWeightsStore, content: bytes, error: type[StoreError]
) -> None:
    file = Path(local_store.basedir) / "run/checkpoints/iterations/7"
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    for method in (local_store.retrieve_weights, local_store.retrieve_model, local_store.verify):
        # of the processor: others may be busy on it
        started = time.thread_time()
        with pytest.raises(error):
            method("run", 7)
        assert time.thread_time() - started < 1


def test_what_people_nest_is_loaded(local_store: LocalWeightsStore) -> None:
    deep: object = 1.5
    for _ in range(90):
        deep = [deep, (deep,) * 2] if _ < 3 else [0, deep]
    many = [[float(n), str(n)] for n in range(20_000)]
    file = Path(local_store.basedir) / "run/checkpoints/iterations/7"
    file.parent.mkdir(parents=True)
    state = {"model": {"w": torch.ones(2)}, "optimizer": {"deep": deep, "many": many}}
    torch.save(state, file)
    assert local_store.retrieve_weights("run", 7).optimizer == state["optimizer"]
