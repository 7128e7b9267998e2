"""dacapo-store cp and export, and stores given by URL."""

from __future__ import annotations

import errno
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dacapo_core.store import copy_run as copying
from dacapo_core.store.errors import StoreUnreachableError
from dacapo_core.store.local_weights_store import LocalWeightsStore
from tests.command_line.tiny_run import TinyRun

Command = Callable[..., tuple[int, str, str]]


def test_cp_takes_everything_along_and_goes_on_where_it_stopped(
    dacapo_store: Command, store: LocalWeightsStore, tmp_path: Path
) -> None:
    target = tmp_path / "other"
    store.store_run_config("run", {"name": "run"})
    arguments = ("cp", "run", str(target), "--as", "copy")
    assert dacapo_store(*arguments, "--iteration", "1000")[0] == 0
    code, out, _ = dacapo_store(*arguments)
    assert code == 0
    assert "copy/5000 is in" in out
    copy = LocalWeightsStore(target)
    assert copy.iterations("copy") == store.iterations("run")
    assert copy.best_records("copy") == store.best_records("run")
    assert copy.scores("copy") == store.scores("run")
    assert copy.run_config("copy") == {"name": "run"}
    for iteration in copy.iterations("copy"):
        assert copy.verify("copy", iteration).record

    store.store_weights(TinyRun(), 1000)
    code, _, err = dacapo_store(*arguments)
    assert code == 1
    assert "is another checkpoint" in err


def test_cp_replaces_a_damaged_copy_and_copies_no_damage(
    dacapo_store: Command, store: LocalWeightsStore, tmp_path: Path
) -> None:
    target = tmp_path / "other"
    assert dacapo_store("cp", "run", str(target))[0] == 0
    for name, damage in (
        ("2000", lambda b: b[:-100]),
        ("3000", lambda b: b[:900] + b"?" + b[901:]),
    ):
        path = target / "run/checkpoints/iterations" / name
        path.write_bytes(damage(path.read_bytes()))
    assert dacapo_store("cp", "run", str(target))[0] == 0
    assert dacapo_store("verify", "run", "--store", str(target))[0] == 0

    damaged = Path(store.basedir) / "run/checkpoints/iterations/4000"
    damaged.write_bytes(damaged.read_bytes()[:-100])
    copy = target / "run/checkpoints/iterations/4000"
    copy.unlink()
    code, _, err = dacapo_store("cp", "run", str(target))
    assert code != 0
    assert "checkpoint 4000" in err
    assert not copy.exists()


def test_cp_tells_checkpoints_without_records_apart(
    dacapo_store: Command, store: LocalWeightsStore, tmp_path: Path
) -> None:
    target = tmp_path / "other"
    assert dacapo_store("cp", "run", str(target))[0] == 0
    copy = target / "run/checkpoints/iterations/2000"
    for folder in (Path(store.basedir), target):
        (folder / "run/records/checkpoints/2000.json").unlink()
    assert dacapo_store("cp", "run", str(target))[0] == 0
    torch.save({"model": {"w": torch.zeros(2)}, "optimizer": {}}, copy)
    before = copy.read_bytes()
    code, _, err = dacapo_store("cp", "run", str(target))
    assert code == 1
    assert "is another checkpoint" in err
    assert copy.read_bytes() == before


def test_cp_leaves_behind_what_was_pruned_unless_it_is_named(
    dacapo_store: Command, store: LocalWeightsStore, tmp_path: Path
) -> None:
    dacapo_store("prune", "run", "--keep-last", "2", "--grace", "7d")
    code, out, _ = dacapo_store("cp", "run", str(tmp_path / "other"))
    assert code == 0
    assert "left behind, pruned within their grace period: 1000, 3000;" in out
    target = LocalWeightsStore(tmp_path / "other")
    assert target.iterations("run") == [2000, 4000, 5000]
    named = ("cp", "run", str(tmp_path / "other"), "--iteration", "3000", "--json")
    assert json.loads(dacapo_store(*named)[1])["left_marked"] == []
    assert target.iterations("run") == [2000, 3000, 4000, 5000]
    assert target.history("run").checkpoints[3000].fate == "kept"
    assert store.history("run").checkpoints[3000].fate == "marked"


@pytest.mark.s3
@pytest.mark.slow
def test_any_store_url(dacapo_store: Command, s3_server: Any) -> None:
    url, options = s3_server.new_folder() + "/s", json.dumps(s3_server.storage_options)
    assert dacapo_store("cp", "run", url, "--to-storage-options", options)[0] == 0
    where = ("--store", url, "--storage-options", options)
    assert dacapo_store("verify", "run", *where)[0] == 0
    assert dacapo_store("prune", "run", "--keep-last", "1", *where)[0] == 0
    listed = json.loads(dacapo_store("ls", "run", "--json", *where)[1])
    assert [c["iteration"] for c in listed["checkpoints"]] == [2000, 5000]
    assert "was deleted on" in dacapo_store("why", "run", "4000", *where)[1]


def test_export_writes_the_weights_alone(
    dacapo_store: Command, store: LocalWeightsStore, tmp_path: Path
) -> None:
    file = tmp_path / "weights.pt"
    assert dacapo_store("export", "run", "2000", str(file))[0] == 0
    loaded = torch.load(file, weights_only=True)
    assert loaded.keys() == {"weight", "bias"}
    expected = store.retrieve_weights("run", 2000).model
    assert all(torch.equal(loaded[key], expected[key]) for key in loaded)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["weights.pt"]
    code, _, err = dacapo_store("export", "run", "2000", str(file))
    assert code == 1
    assert "not overwritten" in err
    code, _, err = dacapo_store("export", "run", "7", str(tmp_path / "other.pt"))
    assert code == 3
    assert "iteration 7" in err


class AveragedRun(TinyRun):
    """Its average is other than its model, as that of a trained run."""

    name = "averaged"

    def __init__(self) -> None:
        super().__init__()
        self.average = torch.optim.swa_utils.AveragedModel(self.model)
        self.average.update_parameters(self.model)
        torch.nn.init.zeros_(self.model.weight)

    def extra_state(self) -> dict[str, Any]:
        return {"average": self.average.state_dict()}


def test_exporting_the_best_of_a_run_with_a_moving_average_writes_what_was_judged(
    dacapo_store: Command, store: LocalWeightsStore, tmp_path: Path
) -> None:
    run = AveragedRun()
    store.store_weights(run, 4)
    store.store_run_config("averaged", {"trainer_config": {"ema_decay": 0.9}})
    store.store_best("averaged", 4, "val", "dice")
    file = tmp_path / "best.pt"
    code, out, _ = dacapo_store("export", "averaged", "val/dice", str(file))
    assert code == 0
    assert "moving average of averaged/4" in out
    loaded = torch.load(file, weights_only=True)
    expected = run.average.module.state_dict()
    assert loaded.keys() == expected.keys() == run.model.state_dict().keys()
    assert all(torch.equal(loaded[key], expected[key]) for key in loaded)
    assert json.loads(
        dacapo_store("export", "averaged", "latest", str(tmp_path / "latest.pt"), "--json")[1]
    ) | {"file": "", "bytes": 0} == {
        "run": "averaged",
        "iteration": 4,
        "weights": "average",
        "file": "",
        "bytes": 0,
    }


def test_a_source_that_cannot_be_read_is_named_as_such(
    store: LocalWeightsStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(copying, "open", lambda *_: Failing(), raising=False)
    target = LocalWeightsStore(tmp_path / "target")
    with pytest.raises(StoreUnreachableError, match=f"cannot read {store.basedir}/run/"):
        list(copying.copy_run(store, target, "run"))
    assert target.iterations("run") == []
