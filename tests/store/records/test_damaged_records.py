"""A record that is wrong is no damage of the checkpoint that it speaks of."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from dacapo_core.store.errors import DamagedCheckpointError, DamagedRecordError
from dacapo_core.store.local_weights_store import LocalWeightsStore

FILE = "run/checkpoints/iterations/7"
RECORD = "run/records/checkpoints/7.json"


@pytest.fixture(params=["a state", "a tensor without elements", "no tensors"])
def folder(request: pytest.FixtureRequest, local_store: LocalWeightsStore, make_run: Any) -> Path:
    run = make_run()
    if request.param != "a state":
        run.optimizer.state_dict = lambda: {"rate": 0.5}
    if request.param == "a tensor without elements":
        run.optimizer.state_dict = lambda: {"none": torch.empty(0), "one": torch.ones(1)}
    if request.param == "no tensors":
        run.model.state_dict = dict
    local_store.store_weights(run, 7)
    return Path(local_store.basedir)


def change_record(folder: Path, **values: Any) -> None:
    record = json.loads((folder / RECORD).read_bytes())
    (folder / RECORD).write_text(json.dumps({**record, **values}))


def another_digit(digest: str) -> str:
    return ("1" if digest[0] == "0" else "0") + digest[1:]


def test_a_wrong_record_is_named_and_the_checkpoint_is_whole(
    folder: Path, local_store: LocalWeightsStore, caplog: pytest.LogCaptureFixture
) -> None:
    found = local_store.verify("run", 7)
    assert (found.record, found.damaged_record) == (True, None)
    record = json.loads((folder / RECORD).read_bytes())
    for wrong in ({"digest": another_digit(record["digest"])}, {"bytes": record["bytes"] + 8}):
        change_record(folder, **wrong)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            found = local_store.verify("run", 7)
        said = str(found.damaged_record)
        assert not found.record
        assert caplog.messages == [said]
        for part in (RECORD, str(next(iter(wrong.values()))), "Delete the record"):
            assert part in said
        assert local_store.latest_iteration("run", verified=True) == 7
        (folder / RECORD).write_text(json.dumps(record))
    (folder / RECORD).unlink()
    assert local_store.verify("run", 7).damaged_record is None


def test_a_wrong_record_excuses_no_byte_of_the_file(
    folder: Path, local_store: LocalWeightsStore
) -> None:
    record = json.loads((folder / RECORD).read_bytes())
    change_record(folder, digest=another_digit(record["digest"]))
    whole = (folder / FILE).read_bytes()
    for at in range(0, len(whole), max(1, len(whole) // 150)):
        bad = bytearray(whole)
        bad[at] ^= 1
        (folder / FILE).write_bytes(bytes(bad))
        with pytest.raises(DamagedCheckpointError):
            local_store.verify("run", 7)
    for bad_end in (whole[:-1], whole + b"\0", whole[:-200] + whole[-199:]):
        (folder / FILE).write_bytes(bad_end)
        with pytest.raises(DamagedCheckpointError):
            local_store.verify("run", 7)


def test_a_record_of_containers_without_end_is_damaged(
    folder: Path, local_store: LocalWeightsStore
) -> None:
    endless = "[" * 100_000 + "]" * 100_000
    for name in ("run.json", "start.json", "training/7.json", "checkpoints/7.json"):
        (folder / "run/records" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "run/records" / name).write_text(endless)
    for read in (local_store.run_config, local_store.start_report):
        with pytest.raises(DamagedRecordError, match="nested too deeply"):
            read("run")
    assert local_store.training_stats("run") == []
    assert local_store.history("run").checkpoints[7].fate == "kept"
