"""Starting from another run: its checkpoint found, its labels known, its store left as it was."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import xxhash

from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.experiments.starts import LoadingReport, Start, StartConfig, StartError
from dacapo_core.store.errors import DamagedCheckpointError
from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.train import train_until
from dacapo_core.training.run import Run
from dacapo_core.validation.scoring import validate_iteration
from tests.small_run import small_run

# the network of the stores that the real DaCapo wrote
DACAPOS = {"num_fmaps": 2, "fmaps_out": 4, "input_shape": (20, 20, 20)}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalWeightsStore:
    """The store of the settings."""
    monkeypatch.setenv("DACAPO_RUNS_BASE_DIR", str(tmp_path / "store"))
    return LocalWeightsStore(tmp_path / "store")


@pytest.fixture
def store_run(make_model: Any) -> Callable[..., Any]:
    """Stores a checkpoint of a run; its model is returned."""

    def store_run(
        store: LocalWeightsStore, name: str, iteration: int, channels: list[str], seed: int = 1
    ) -> Any:
        model = make_model(channels, seed)
        optimizer = torch.optim.RAdam(model.parameters())
        run: Any = SimpleNamespace(name=name, model=model, optimizer=optimizer)
        store.store_weights(run, iteration)
        store.store_run_config(name, {"task_config": {"type": "one_hot", "channels": channels}})
        return model

    return store_run


@pytest.mark.parametrize(
    ("run", "criterion", "iteration", "channels"),
    [
        ("tiny_run", "2000", 2000, ["mito", "er"]),
        ("tiny_run", "iterations/500", 500, ["mito", "er"]),
        ("tiny_run", "latest", 10000, ["mito", "er"]),
        ("tiny_run", "val_a/dice", 2000, ["mito", "er"]),
        ("tiny_run", "val_a/voi", 500, ["mito", "er"]),
        ("tiny_run", "val_b/dice", 10000, ["mito", "er"]),
        ("best_removed", "latest", 8, ["mito"]),
        ("legacy_dict", "1820500", 1820500, ["mito"]),
    ],
)
def test_dacapos_own_checkpoints_load_in_full(
    run: str,
    criterion: str,
    iteration: int,
    channels: list[str],
    dacapo_stores: Path,
    make_model: Any,
) -> None:
    config = StartConfig(run, criterion, store_url=str(dacapo_stores), channels=channels)
    wanted = list(reversed(channels))
    model = make_model(wanted, **DACAPOS)
    report = Start(config).initialize_weights(model, wanted)
    assert report.share_loaded == 1
    assert report.iteration == iteration
    assert not report.left_over
    assert not report.reinitialised
    stored = LocalWeightsStore(dacapo_stores).retrieve_model(run, iteration)
    for key in ("weight", "bias"):
        for row, label in enumerate(wanted):
            assert torch.equal(
                model.state_dict()[f"prediction_head.{key}"][row],
                stored[f"prediction_head.{key}"][channels.index(label)],
            )
    assert all(
        torch.equal(value, stored[key])
        for key, value in model.state_dict().items()
        if key.startswith("architecture")
    )


def test_a_best_that_dacapo_removed_is_said_to_be_missing(
    dacapo_stores: Path, make_model: Any, unchanged: Any
) -> None:
    model = make_model(["mito"], **DACAPOS)
    still_the_same = unchanged(model)
    with pytest.raises(FileNotFoundError, match="7"):
        Start(
            StartConfig("best_removed", "val_a/dice", store_url=str(dacapo_stores))
        ).initialize_weights(model)
    assert still_the_same()


THEIR_SIDE = """
import sys, torch
from types import SimpleNamespace
from dacapo.experiments.architectures import CNNectomeUNetConfig
from dacapo.experiments.model import Model
from dacapo.store.local_weights_store import LocalWeightsStore
torch.manual_seed(3)
config = CNNectomeUNetConfig(
    name="u", input_shape=(20, 20, 20), fmaps_in=1, fmaps_out=4, num_fmaps=2, fmap_inc_factor=2,
    downsample_factors=[(2, 2, 2)], upsample_factors=[(2, 2, 2)],
)
model = Model(config.architecture_type(config), torch.nn.Conv3d(4, 2, 1))
run = SimpleNamespace(name="theirs", model=model, optimizer=torch.optim.RAdam(model.parameters()))
store = LocalWeightsStore(sys.argv[1])
store.store_weights(run, 5)
store.store_best("theirs", 5, "val", "f1_score")
"""


@pytest.mark.slow
@pytest.mark.dacapo
def test_what_dacapo_writes_now_loads_in_full(
    dacapo_python: Path, tmp_path: Path, make_model: Any
) -> None:
    subprocess.run([str(dacapo_python), "-c", THEIR_SIDE, str(tmp_path)], check=True, cwd=tmp_path)
    config = StartConfig(
        "theirs", "val/f1_score", store_url=str(tmp_path), channels=["a", "b"], policy="strict"
    )
    report = Start(config).initialize_weights(make_model(["b", "a"], **DACAPOS))
    assert report.share_loaded == 1
    assert report.iteration == 5


def test_channels_come_from_the_stored_run(
    store: LocalWeightsStore, store_run: Any, make_model: Any
) -> None:
    parent = store_run(store, "parent", 10, ["mito", "er", "pm"])
    model = make_model(["pm", "ves"], 2)
    start = Start({"run": "parent", "criterion": "latest"})
    assert start.channels == ["mito", "er", "pm"]
    report = start.initialize_weights(model)
    assert report.matched_labels == ["pm"]
    assert torch.equal(model.prediction_head.weight[0], parent.prediction_head.weight[2])
    assert report.store_url == str(store.basedir)
    file = Path(store.basedir) / "parent" / "checkpoints" / "iterations" / "10"
    assert report.digest == f"xxh3_128:{xxhash.xxh3_128_hexdigest(file.read_bytes())}"
    store.store_start_report("child", report.model_dump(mode="json"))
    assert LoadingReport(**store.start_report("child")) == report  # type: ignore[arg-type]


def test_a_run_that_recorded_no_channels_gives_its_body_only(
    dacapo_stores: Path, make_model: Any
) -> None:
    model = make_model(["mito", "er"], **DACAPOS)
    before = model.prediction_head.weight.detach().clone()
    config = StartConfig("tiny_run", "latest", store_url=str(dacapo_stores))
    report = Start(config).initialize_weights(model)
    assert report.new_labels == ["mito", "er"]
    assert torch.equal(model.prediction_head.weight, before)


def test_a_criterion_is_asked_for_once(
    store: LocalWeightsStore, store_run: Any, make_model: Any
) -> None:
    store_run(store, "parent", 10, ["a"])
    start = Start(StartConfig("parent", "latest"))
    assert start.iteration() == 10
    store_run(store, "parent", 20, ["a"])
    assert start.initialize_weights(make_model(["a"], 2)).iteration == 10


def test_another_stores_best(
    store: LocalWeightsStore, store_run: Any, make_model: Any, tmp_path: Path
) -> None:
    other = LocalWeightsStore(tmp_path / "other")
    for iteration in (1, 2, 3):
        store_run(other, "parent", iteration, ["a"], seed=iteration)
    other.store_best("parent", 2, "volume/crop1", "f1_score", score=0.5)
    config = StartConfig("parent", "volume/crop1/f1_score", store_url=other.basedir)
    assert Start(config).initialize_weights(make_model(["a"], 9)).iteration == 2


@pytest.mark.parametrize(
    ("run", "criterion", "error", "words"),
    [
        ("nobody", "latest", FileNotFoundError, ["nobody", "parent"]),
        ("parent", "11", FileNotFoundError, ["11", "10"]),
        ("parent", "val/dice", FileNotFoundError, ["val", "dice"]),
        ("parent", "best", StartError, ["'best'", "'latest'"]),
        ("parent", "1_0", StartError, ["1_0"]),
        ("../parent", "10", ValueError, ["../parent"]),
    ],
)
def test_what_is_not_there_is_named_and_the_model_untouched(
    run: str,
    criterion: str,
    error: type[Exception],
    words: list[str],
    store: LocalWeightsStore,
    store_run: Any,
    make_model: Any,
    unchanged: Any,
) -> None:
    store_run(store, "parent", 10, ["a"])
    model = make_model(["a"], 2)
    still_the_same = unchanged(model)
    with pytest.raises(error) as raised:
        Start(StartConfig(run, criterion)).initialize_weights(model)
    assert all(word in str(raised.value) for word in words)
    assert still_the_same()
    with pytest.raises(error):
        Start(StartConfig(run, criterion)).iteration()


def test_a_damaged_checkpoint_is_refused_and_the_model_untouched(
    store: LocalWeightsStore, store_run: Any, make_model: Any, unchanged: Any
) -> None:
    store_run(store, "parent", 10, ["a"])
    file = Path(store.basedir) / "parent" / "checkpoints" / "iterations" / "10"
    content = bytearray(file.read_bytes())
    weight = LocalWeightsStore(store.basedir).retrieve_model("parent", 10)
    values = weight["architecture.unet.0.l_conv.1.conv_pass.2.weight"].numpy().tobytes()
    content[content.index(values) + 100] ^= 64
    file.write_bytes(content)
    model = make_model(["a"], 2)
    still_the_same = unchanged(model)
    with pytest.raises(DamagedCheckpointError, match="parent"):
        Start(StartConfig("parent", "10")).initialize_weights(model)
    assert still_the_same()


def test_a_store_that_cannot_be_written_gives_a_start_all_the_same(
    store: LocalWeightsStore, store_run: Any, make_model: Any, caplog: Any
) -> None:
    store_run(store, "parent", 1, ["a"])
    # nobody, not even root, can write below a file
    (Path(store.basedir) / "parent" / "records" / "pins").touch()
    start = Start(StartConfig("parent", "1", channels=["a"]))
    start.pin("child")
    assert "cannot be pinned" in caplog.text
    assert start.initialize_weights(make_model(["a"], 2)).share_loaded == 1
    start.unpin("child")


def test_a_given_store_is_looked_in_unless_another_is_named(
    store: LocalWeightsStore, store_run: Any, tmp_path: Path
) -> None:
    other = LocalWeightsStore(tmp_path / "other")
    store_run(other, "parent", 5, ["a"])
    store_run(store, "parent", 6, ["a"])
    assert Start(StartConfig("parent", "latest"), other).iteration() == 5
    assert Start(StartConfig("parent", "latest")).iteration() == 6
    named = StartConfig("parent", "latest", store_url=store.basedir)
    assert Start(named, other).iteration() == 6


def test_a_start_is_pinned_while_a_child_needs_it(store: LocalWeightsStore, store_run: Any) -> None:
    for iteration in (1, 2, 3):
        store_run(store, "parent", iteration, ["a"])
    start = Start(StartConfig("parent", "2"))
    start.pin("child")
    start.pin("sibling")
    folder = Path(store.basedir) / "parent" / "records" / "pins"
    assert [json.loads(file.read_bytes())["child"] for file in sorted(folder.iterdir())] == [
        "child",
        "sibling",
    ]
    for _ in range(2):
        start.unpin("child")
    start.unpin("sibling")
    assert not list(folder.iterdir())


def test_the_optimizer_is_taken_over_only_when_asked(
    store: LocalWeightsStore, make_model: Any
) -> None:
    parent = make_model(["a", "b"], 1)
    trained = torch.optim.AdamW(parent.parameters(), lr=1e-2)
    parent(torch.ones(1, 1, 20, 20, 20)).square().mean().backward()
    trained.step()
    run: Any = SimpleNamespace(name="parent", model=parent, optimizer=trained)
    store.store_weights(run, 1)
    store.store_run_config("parent", {"task_config": {"channels": ["a", "b"]}})

    model = make_model(["a", "b"], 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    Start(StartConfig("parent", "1")).initialize_weights(model, optimizer=optimizer)
    assert not optimizer.state
    asked = StartConfig("parent", "1", carry_optimizer=True)
    Start(asked).initialize_weights(model, optimizer=optimizer)
    assert optimizer.param_groups[0]["lr"] == 1e-4
    for theirs, ours in zip(parent.parameters(), model.parameters(), strict=True):
        assert torch.equal(trained.state[theirs]["exp_avg"], optimizer.state[ours]["exp_avg"])


@pytest.mark.parametrize("channels", [["b", "a"], ["a", "c"], ["a"]])
def test_an_optimizer_of_other_rows_is_not_taken_over(
    channels: list[str], store: LocalWeightsStore, store_run: Any, make_model: Any, unchanged: Any
) -> None:
    store_run(store, "parent", 1, ["a", "b"])
    model = make_model(channels, 2)
    still_the_same = unchanged(model)
    start = Start(StartConfig("parent", "1", carry_optimizer=True))
    with pytest.raises(StartError, match="carry_optimizer"):
        start.initialize_weights(model, optimizer=torch.optim.AdamW(model.parameters()))
    with pytest.raises(StartError, match="no optimizer"):
        start.initialize_weights(model)
    assert still_the_same()


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.RAdam])
def test_only_an_optimizer_of_the_same_kind_is_taken_over(
    kind: Any, store: LocalWeightsStore, make_model: Any, unchanged: Any
) -> None:
    parent = make_model(["a"], 1)
    trained = kind(parent.parameters(), lr=1e-2)
    parent(torch.ones(1, 1, 20, 20, 20)).square().mean().backward()
    trained.step()
    store.store_weights(SimpleNamespace(name="parent", model=parent, optimizer=trained), 1)  # type: ignore[arg-type]
    model = make_model(["a"], 2)
    optimizer = torch.optim.AdamW(model.parameters())
    start = Start(StartConfig("parent", "1", channels=["a"], carry_optimizer=True))
    if kind is torch.optim.RAdam:
        start.initialize_weights(model, optimizer=optimizer)
        model(torch.ones(1, 1, 20, 20, 20)).square().mean().backward()
        optimizer.step()
        assert next(iter(optimizer.state.values()))["step"] == 2
        return
    still_the_same = unchanged(model)
    with pytest.raises(StartError, match="another kind than AdamW: it has momentum"):
        start.initialize_weights(model, optimizer=optimizer)
    assert still_the_same()
    assert not optimizer.state


@pytest.fixture
def averaged_run(store: LocalWeightsStore) -> tuple[Run, dict[str, torch.Tensor]]:
    """A run with a moving average, stored at iteration 4, the best of "val/dice"; its average."""
    config = RunConfig.model_validate(
        {**small_run("averaged", 4, 4), "trainer_config": {"ema_decay": 0.5}}
    )
    run = Run(config)
    store.store_run_config(run.name, config.model_dump(mode="json"))
    store.store_weights(run, 0)
    train_until(run, 4)
    store.store_weights(run, 4)
    store.store_best(run.name, 4, "val", "dice")
    return run, {key: value.clone() for key, value in run.eval_model.state_dict().items()}


@pytest.mark.parametrize("criterion", ["val/dice", "4", "latest"])
def test_of_a_run_with_a_moving_average_what_was_judged_is_loaded(
    criterion: str, store: LocalWeightsStore, averaged_run: tuple[Run, dict[str, torch.Tensor]]
) -> None:
    run, average = averaged_run
    child = Run(run.config.model_copy(update={"name": "child"}))
    report = Start(StartConfig("averaged", criterion), store).initialize_weights(child.model)
    assert report.weights == "average"
    assert "the moving average" in report.summary()
    loaded = child.model.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in average.items())
    raw = run.model.state_dict()
    assert any(not torch.equal(loaded[key], value) for key, value in raw.items())
    (volume,) = run.validation_datasets
    best, first = (validate_iteration(each, volume).entries for each in (run, child))
    assert first == best, "the child's first score is the one that it starts from"


def test_without_an_average_or_with_the_optimizer_the_models_own_weights_are_loaded(
    store: LocalWeightsStore, averaged_run: tuple[Run, dict[str, torch.Tensor]]
) -> None:
    run, _ = averaged_run
    child = Run(run.config.model_copy(update={"name": "child"}))
    first = Start(StartConfig("averaged", "0"), store).initialize_weights(child.model)
    assert first.weights == "model"
    carried = Start(StartConfig("averaged", "4", carry_optimizer=True), store)
    report = carried.initialize_weights(child.model, optimizer=child.optimizer)
    assert report.weights == "model"
    loaded, raw = child.model.state_dict(), run.model.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in raw.items())
