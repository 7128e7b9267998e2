"""One entry that is no checkpoint, no record or no run is told by name; the rest goes on."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from dacapo_core.command_line.dacapo_store import app
from dacapo_core.store.errors import DamagedCheckpointError, MissingCheckpointError
from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.store.records.scores import ScoresRecord
from dacapo_core.store.retention import RetentionPolicy

LAST = RetentionPolicy(keep_last=1)


def scores(iteration: int) -> ScoresRecord:
    values = {"criteria": {"dice": True}, "entries": [{"scores": {"dice": iteration / 10}}]}
    return ScoresRecord.model_validate({"iteration": iteration, "dataset": "val", **values})


@pytest.fixture
def store(tmp_path: Path) -> LocalWeightsStore:
    """1, 2, 3 and 4, scored; 2 is the best that is not about to be hidden."""
    store = LocalWeightsStore(tmp_path / "store")
    model = torch.nn.Linear(2, 2)
    run = SimpleNamespace(name="run", model=model, optimizer=torch.optim.SGD(model.parameters()))
    for iteration in (1, 2, 3, 4):
        store.store_weights(run, iteration)
        store.store_scores("run", iteration, "val", scores(iteration))
    store.derive_best("run")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "precious").write_bytes(
        (tmp_path / "store/run/checkpoints/iterations/4").read_bytes()
    )
    return store


def to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def in_a_circle(path: Path) -> None:
    other = path.with_name(f"{path.name}-other")
    path.symlink_to(other.name)
    other.symlink_to(path.name)


def to_nowhere(path: Path) -> None:
    path.symlink_to("not/there")


def out_of_the_store(path: Path) -> None:
    outside = next(each for each in path.parents if (each / "outside").is_dir()) / "outside"
    path.symlink_to(outside / "precious")


def a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def a_folder(path: Path) -> None:
    (path / "with").mkdir(parents=True)
    (path / "with" / "something").write_text("in it")


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(path.name)
    os.chdir(here)


BAD: list[Callable[[Path], None]] = [
    to_itself,
    in_a_circle,
    to_nowhere,
    out_of_the_store,
    a_device,
    a_folder,
    a_pipe,
    a_socket,
]
SAID = ["itself", "itself", "nowhere", "out of", "out of", "folder", "pipe", "socket"]
SOME_BAD = [to_itself, out_of_the_store, a_folder, a_pipe]
each_bad = pytest.mark.parametrize(("make", "said"), [*zip(BAD, SAID, strict=True)])


def command(store: LocalWeightsStore, *arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["--store", store.basedir, *arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@each_bad
def test_among_the_checkpoints(
    store: LocalWeightsStore, tmp_path: Path, make: Callable[[Path], None], said: str
) -> None:
    bad = tmp_path / "store/run/checkpoints/iterations/4"
    bad.unlink()
    make(bad)
    outside = tree(tmp_path / "outside")

    assert store.iterations("run") == [1, 2, 3]
    assert store.latest_iteration("run") == store.latest_iteration("run", verified=True) == 3
    for read in (store.retrieve_weights, store.verify, store.retrieve_model):
        with pytest.raises(DamagedCheckpointError, match=f"checkpoint 4 of run 'run'.*{said}"):
            read("run", 4)
    with pytest.raises(MissingCheckpointError):
        store.retrieve_best("run", "val", "dice")
    assert store.derive_best("run")["val", "dice"].iteration == 3
    assert store.retrieve_best("run", "val", "dice") == 3
    for protect in (store.pin, store.restore, store.remove):
        with pytest.raises(MissingCheckpointError):
            protect("run", 4)

    code, out = command(store, "ls")
    assert (code, said in out and "run/4" in out) == (0, True)
    code, out = command(store, "--json", "ls", "run")
    listed = {row["iteration"]: row["damaged"] for row in json.loads(out)["checkpoints"]}
    assert said in listed.pop(4)
    assert listed == {1: None, 2: None, 3: None}
    code, out = command(store, "verify", "run")
    assert (code, out.count(": whole")) == (4, 3)
    assert said in next(line for line in out.splitlines() if line.startswith("run/4"))
    assert command(store, "best", "run")[0] == command(store, "history", "run")[0] == 0
    assert said in command(store, "why", "run", "4")[1]

    plan = store.prune("run", LAST)
    assert list(plan.pruned) == [1, 2]
    assert any(said in note and "checkpoint 4" in note for note in plan.notes)
    swept = store.sweep("run")
    assert swept["run"].left_overs == [], "its record waits for its return"
    assert bad.is_symlink() or bad.exists()
    assert tree(tmp_path / "outside") == outside


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become nobody")
def test_one_that_this_user_may_not_read(run: Any) -> None:
    # pytest's own folders are closed to others
    with TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        os.seteuid(65534)
        try:
            store = LocalWeightsStore(Path(folder, "store"))
            for iteration in (1, 2, 3, 4):
                store.store_weights(run, iteration)
            closed = Path(folder, "store/run/checkpoints/iterations/4")
            closed.chmod(0)
            assert store.latest_iteration("run") == 3
            assert store.latest_iteration("run", verified=True) == 3
            with pytest.raises(DamagedCheckpointError, match="may not read"):
                store.retrieve_weights("run", 4)
            assert "may not read" in str(store.history("run").checkpoints[4].damaged)
            assert list(store.prune("run", LAST).pruned) == [1, 2]
            closed.chmod(0o600)
            assert store.verify("run", 4).record, "it is still there"
        finally:
            os.seteuid(0)


@pytest.mark.parametrize("make", SOME_BAD)
def test_among_the_records(
    store: LocalWeightsStore, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    records = tmp_path / "store/run/records"
    for name in (
        "checkpoints/1.json",
        "pins/2.json",
        "pruned/20260101T000000.000000Z-1.json",
        "pruning/20260101T000000.000000Z-2.json",
        "verified/3.json",
        "damaged/3.json",
        "training/3.json",
        "lease/1.json",
        "nothing-of-ours",
    ):
        path = records / name
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
        make(path)
    outside = tree(tmp_path / "outside")
    assert store.verify("run", 1).record is False
    assert store.training_stats("run") == []
    history = store.history("run")
    assert any("20260101T000000.000000Z-1" in path for path in history.damaged_records)
    assert {i for i, each in history.checkpoints.items() if each.fate == "kept"} == {1, 2, 3, 4}
    plan = store.prune("run", LAST)
    assert list(plan.pruned) == ([2, 3] if make is a_folder else [3])
    assert "is damaged" in plan.failed[1]
    if make is not a_folder:
        assert "pinned" in plan.kept[2], "a pin that cannot be read protects"
    store.sweep("run")
    with store.lease("run") as lease:
        assert lease.epoch == 2
    assert [command(store, *words)[0] for words in (("ls",), ("ls", "run"), ("pins", "run"))] == [
        0,
        0,
        0,
    ]
    assert tree(tmp_path / "outside") == outside


@pytest.mark.parametrize("make", SOME_BAD)
def test_scores_that_cannot_be_read_protect_and_are_named(
    store: LocalWeightsStore, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    bad = tmp_path / "store/run/records/scores/2/val.json"
    bad.unlink()
    make(bad)
    assert any("scores/2/val.json" in path for path in store.history("run").damaged_records)
    plan = store.prune("run", RetentionPolicy(keep_best=1))
    assert list(plan.pruned) == [1, 3]
    assert "scores cannot be read" in plan.kept[2][0]


@each_bad
def test_among_the_runs(
    store: LocalWeightsStore, tmp_path: Path, make: Callable[[Path], None], said: str
) -> None:
    (tmp_path / "outside" / "precious").unlink()
    other = LocalWeightsStore(tmp_path / "outside/elsewhere")
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters())
    for iteration in (1, 2, 3):
        run = SimpleNamespace(name="precious", model=model, optimizer=optimizer)
        other.store_weights(run, iteration)
    (tmp_path / "outside/precious").symlink_to("elsewhere/precious")
    make(tmp_path / "store/bad")
    outside = tree(tmp_path / "outside")
    is_a_link = (tmp_path / "store/bad").is_symlink()

    assert store.runs() == ["run"]
    assert (said in store.damaged_runs().get("bad", "")) == is_a_link
    code, out = command(store, "--json", "ls")
    assert (code, "'bad' is damaged" in out) == (0, is_a_link)
    listed = json.loads(out[out.index("{") :])
    assert [row["run"] for row in listed["runs"]] == ["run"]
    assert ("bad" in listed["damaged_runs"]) == is_a_link
    for words in (("prune", "--all", "--keep-last", "1"), ("sweep",), ("sweep", "*")):
        assert command(store, *words)[0] == 0
    assert store.iterations("run") == [4]
    if is_a_link:
        code, out = command(store, "prune", "bad", "--keep-last", "1")
        assert (code, said in out) == (3, True)
    assert tree(tmp_path / "outside") == outside


def test_a_link_within_the_store_is_a_checkpoint(store: LocalWeightsStore, tmp_path: Path) -> None:
    iterations = tmp_path / "store/run/checkpoints/iterations"
    (iterations / "5").symlink_to("3")
    assert store.latest_iteration("run", verified=True) == 5
    assert store.retrieve_weights("run", 5).model
    assert store.verify("run", 5).record is False


@pytest.mark.parametrize("where", ["run", "run/checkpoints", "run/checkpoints/iterations"])
def test_a_run_whose_folder_lies_elsewhere_still_opens(
    store: LocalWeightsStore, tmp_path: Path, where: str, run: Any
) -> None:
    moved = tmp_path / "large disk" / "moved"
    moved.parent.mkdir()
    (tmp_path / "store" / where).rename(moved)
    (tmp_path / "store" / where).symlink_to(moved)
    assert store.latest_iteration("run", verified=True) == 4
    store.store_weights(run, 5)
    assert list(store.prune("run", LAST).pruned) == [1, 2, 3]
    assert store.iterations("run") == [4, 5]
