"""Resume: which checkpoint, why, and that nothing differs from an undisturbed run."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from dacapo_core.store.errors import UnsafeCheckpointError
from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.store.records.scores import ScoreEntry, ScoresRecord
from dacapo_core.train import train_until
from dacapo_core.training.resume import resume
from dacapo_core.training.run import Run
from dacapo_core.validation.scoring import score_rows, validate_iteration

EVERYTHING = {"ema_decay": 0.9, "gradient_accumulation": 2, "gradient_clip": 0.5}


def differences(ours: Any, theirs: Any, path: str = "") -> list[str]:
    """Paths at which two nested states are not equal bit for bit."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        keys = ours.keys() | theirs.keys()
        return [
            difference
            for key in sorted(keys, key=str)
            for difference in differences(ours.get(key), theirs.get(key), f"{path}/{key}")
        ]
    if isinstance(ours, list | tuple) and isinstance(theirs, list | tuple):
        pairs = dict(enumerate(ours)), dict(enumerate(theirs))
        return differences(*pairs, path)
    if isinstance(ours, torch.Tensor) and isinstance(theirs, torch.Tensor):
        return [] if torch.equal(ours, theirs) else [path]
    return [] if ours == theirs else [path]


def whole_state(run: Run) -> dict[str, Any]:
    return {
        "model": run.model.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "extra": run.extra_state(),
    }


def store_scores(store: LocalWeightsStore, iteration: int, score: float) -> None:
    entry = ScoreEntry(parameters={"threshold": 0.5}, scores={"dice": score})
    record = ScoresRecord(
        iteration=iteration, dataset="held_out", criteria={"dice": True}, entries=[entry]
    )
    store.store_scores("small", iteration, "held_out", record)
    store.derive_best("small")


@pytest.mark.parametrize(
    "trainer", [{}, EVERYTHING, {"mixed_precision": "bf16"}, {"mixed_precision": "fp16"}]
)
def test_a_resumed_run_equals_an_undisturbed_one_bit_for_bit(
    small_config: Any, store: LocalWeightsStore, trainer: dict[str, Any]
) -> None:
    config = small_config(trainer=trainer)
    undisturbed = Run(config)
    train_until(undisturbed, 12)

    interrupted = Run(config)
    train_until(interrupted, 5)
    store.store_weights(interrupted, 5)
    train_until(interrupted, 7)
    torch.manual_seed(99)  # what else the process does must not matter

    resumed = Run(config)
    assert resume(resumed, store).iteration == 5
    train_until(resumed, 12)
    assert differences(whole_state(resumed), whole_state(undisturbed)) == []
    assert differences(whole_state(resumed), whole_state(interrupted)) != []


def test_two_runs_in_turns_do_not_disturb_each_other(small_config: Any) -> None:
    config = small_config(num_workers=0)
    alone, one, other = Run(config), Run(config), Run(small_config(seed=1))
    train_until(alone, 4)
    for until in (1, 2, 3, 4):
        train_until(one, until)
        train_until(other, until)
    assert differences(whole_state(one), whole_state(alone)) == []


def test_a_run_without_checkpoints_begins(small_config: Any, store: LocalWeightsStore) -> None:
    found = resume(Run(small_config()), store)
    assert found.iteration == 0
    assert found.reason == "it has no checkpoint yet"


def test_a_damaged_checkpoint_is_passed_over_and_what_it_led_to_withdrawn(
    small_config: Any, store: LocalWeightsStore, tmp_path: Path
) -> None:
    run = Run(small_config())
    for until, score in ((4, 0.5), (8, 0.9)):
        before = run.iteration
        stats = train_until(run, until)
        store.store_weights(run, until)
        store.store_training_stats(run.name, until, stats.record())
        store_scores(store, until, score)
        assert stats.iterations == list(range(before + 1, until + 1))
    assert store.retrieve_best("small", "held_out", "dice") == 8
    newest = tmp_path / "store" / "small" / "checkpoints" / "iterations" / "8"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)

    resumed = Run(small_config())
    found = resume(resumed, store)
    assert found.iteration == 4
    assert "damaged: 8" in found.reason
    assert store.retrieve_best("small", "held_out", "dice") == 4
    assert [record.iteration for record in store.scores("small")] == [4]
    assert resumed.training_stats.iterations == [1, 2, 3, 4]


def test_when_no_checkpoint_verifies_the_run_begins_and_says_so(
    small_config: Any, store: LocalWeightsStore, tmp_path: Path
) -> None:
    run = Run(small_config())
    train_until(run, 2)
    store.store_weights(run, 2)
    path = tmp_path / "store" / "small" / "checkpoints" / "iterations" / "2"
    path.write_bytes(path.read_bytes()[:100])
    found = resume(Run(small_config()), store)
    assert found.iteration == 0
    assert "none of its checkpoints verifies (2)" in found.reason


def test_weights_without_the_rest_continue_with_a_new_optimizer(
    small_config: Any, store: LocalWeightsStore
) -> None:
    class DaCapoRun:
        """What DaCapo's own run has."""

        def __init__(self, run: Run) -> None:
            self.name, self.model, self.optimizer = run.name, run.model, run.optimizer

    run = Run(small_config(seed=3))
    train_until(run, 4)
    store.store_weights(DaCapoRun(run), 4)
    resumed = Run(small_config())
    found = resume(resumed, store)
    assert (found.iteration, resumed.iteration) == (4, 4)
    assert "the optimizer starts anew" in found.reason
    assert differences(resumed.model.state_dict(), run.model.state_dict()) == []
    assert train_until(resumed, 5).iterations == [5]


def test_a_checkpoint_of_another_network_is_refused_by_name(
    small_config: Any, store: LocalWeightsStore
) -> None:
    run = Run(small_config())
    store.store_weights(run, 1)
    other = Run(small_config(task_config={"type": "one_hot", "channels": ["mito"]}))
    before = copy.deepcopy(whole_state(other))
    with pytest.raises(ValueError, match=r"checkpoint 1 of run 'small' does not fit.*head"):
        resume(other, store)
    assert differences(whole_state(other), before) == []


def test_a_run_of_another_device_goes_on_as_this_one_computes(small_config: Any) -> None:
    run = Run(small_config())
    train_until(run, 1)
    state = run.optimizer.state_dict()
    for group in state["param_groups"]:
        # as a GPU's
        group["fused"] = True
    run.optimizer.load_state_dict(state)
    assert [group["fused"] for group in run.optimizer.param_groups] == [False, False]
    assert state["param_groups"][0]["fused"]
    assert train_until(run, 2).skipped == 0


def test_averaged_weights_that_are_missing_are_named(
    small_config: Any, store: LocalWeightsStore
) -> None:
    run = Run(small_config(seed=3))
    store.store_weights(run, 1)
    other = Run(small_config(trainer={"ema_decay": 0.5}))
    before = copy.deepcopy(whole_state(other))
    with pytest.raises(ValueError, match=r"has no averaged weights.*ema_decay is 0\.5"):
        resume(other, store)
    assert differences(whole_state(other), before) == []


def test_extra_state_that_lacks_a_part_leaves_the_run_as_it_was(
    small_config: Any, store: LocalWeightsStore
) -> None:
    run, other = Run(small_config(seed=3)), Run(small_config())
    extra = run.extra_state()
    del extra["random_state"]
    run.extra_state = lambda: extra  # type: ignore[method-assign]
    store.store_weights(run, 1)
    before = copy.deepcopy(whole_state(other))
    with pytest.raises(ValueError, match="lacks random_state"):
        resume(other, store)
    assert differences(whole_state(other), before) == []


def test_an_extended_run_keeps_its_rate_and_stays_exact(
    small_config: Any, store: LocalWeightsStore
) -> None:
    short = Run(small_config(num_iterations=4), "cpu")
    train_until(short, 4)
    store.store_weights(short, 4)
    longer = small_config(num_iterations=12)
    extended = Run(longer, "cpu")
    found = resume(extended, store)
    assert "extended from 4 to 12 iterations: the learning rate was" in found.reason
    train_until(extended, 8)
    store.store_weights(extended, 8)
    train_until(extended, 12)
    last = short.training_stats.learning_rates[-1]
    assert max(extended.training_stats.learning_rates[-8:]) == last
    again = Run(longer, "cpu")
    assert "extended" not in resume(again, store).reason
    train_until(again, 12)
    assert differences(whole_state(extended), whole_state(again)) == []
    record = validate_iteration(again, again.validation_datasets[0])
    assert record.extended == [4]
    assert {row["extended"] for row in score_rows([record])} == {1}


def test_a_checkpoint_that_does_not_say_its_length_takes_it_from_the_stored_configuration(
    small_config: Any, store: LocalWeightsStore
) -> None:
    config = small_config(num_iterations=4)
    short = Run(config, "cpu")
    extra = short.extra_state

    def of_an_earlier_version() -> dict[str, Any]:
        return {k: v for k, v in extra().items() if k not in ("num_iterations", "extensions")}

    short.extra_state = of_an_earlier_version  # type: ignore[method-assign]
    short.iteration = 4
    # a step, so that the optimizer has a state
    train_until(short, 5)
    short.iteration = 4
    store.store_weights(short, 4)
    store.store_run_config("small", config.model_dump(mode="json"))
    assert "extended" not in resume(Run(config, "cpu"), store).reason
    assert "from 4 to 8" in resume(Run(small_config(num_iterations=8), "cpu"), store).reason


class OfTheLab:
    """A class that a checkpoint of DaCapo's may hold."""


def test_a_newest_checkpoint_that_asks_for_code_is_refused_and_not_trained_over(
    small_config: Any, store: LocalWeightsStore
) -> None:
    run = Run(small_config(), "cpu")
    folder = Path(store.basedir, run.name, "checkpoints/iterations")
    folder.mkdir(parents=True)
    state = {"model": run.model.state_dict(), "optimizer": run.optimizer.state_dict()}
    torch.save(state, folder / "5")
    torch.save({**state, "of the lab": OfTheLab()}, folder / "10")
    store_scores(store, 10, 0.5)
    with pytest.raises(UnsafeCheckpointError, match=r"checkpoint 10 .*OfTheLab.*--force"):
        resume(run, store)
    assert [record.iteration for record in store.scores(run.name)] == [10]
    (folder / "10").write_bytes(b"damaged")
    assert resume(run, store).iteration == 5
