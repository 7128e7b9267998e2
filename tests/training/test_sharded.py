"""Processes that share out weights, averages and optimizer train what one process would."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.store.checkpoint_format.savable_state import tensors_of
from dacapo_core.store.local_weights_store import LocalWeightsStore
from dacapo_core.store.saving.run_state import state_of
from dacapo_core.train import train_until
from dacapo_core.training.resume import resume
from dacapo_core.training.run import Run
from dacapo_core.validation.scoring import predict
from tests.training.launcher import TWO_HERE, finish, launch

PROGRAM = Path(__file__).with_name("sharded_process.py")
BEGUN, SHARDED, ITERATIONS = 1, 5, 7


def configuration(
    small_config: Any,
    name: str,
    architecture: dict[str, Any],
    trainer: dict[str, Any],
    **values: Any,
) -> RunConfig:
    config = small_config(
        name=name, batch_size=4, num_workers=0, trainer={"sharded": True, **trainer}, **values
    ).model_dump()
    config["architecture_config"].update({"normalisation": None, "num_fmaps": 8, **architecture})
    return RunConfig.model_validate(config)


def ways(small_config: Any) -> list[RunConfig]:
    """Runs that differ in how their weights follow from gradients."""
    start = {"type": "run", "run": "other", "criterion": "latest", "freeze_iterations": 4}
    return [
        configuration(
            small_config,
            "averaged",
            # several tiles to validate
            {"padding": "valid", "input_shape": (24, 24, 24)},
            {"gradient_accumulation": 2, "ema_decay": 0.9, "gradient_clip": 0.1},
        ),
        configuration(
            small_config,
            "frozen",
            {"normalisation": "instance"},
            {"channels_last": True, "ema_decay": 0.5},
            start_config=start,
        ),
        # whose state is larger than its data
        configuration(
            small_config,
            "batch_norm",
            {"batch_norm": True, "num_fmaps": 32},
            {"sync_batch_norm": True},
        ),
        configuration(small_config, "half", {}, {"mixed_precision": "fp16"}),
    ]


def is_comparable(run: str, tensor: str) -> bool:
    """A bias before a normalisation has no gradient but rounding errors, made large by AdamW."""
    if run == "batch_norm":
        return tensor.endswith(("step", "running_var"))
    return run != "frozen" or not tensor.endswith("bias")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_one_process_then_two_sharded_then_two_whole_then_one_train_what_one_would(
    tmp_path: Path, small_config: Any
) -> None:
    store = LocalWeightsStore(tmp_path / "store")
    configs = ways(small_config)
    alone = {config.name: Run(config, "cpu") for config in configs}

    for run in alone.values():
        train_until(run, BEGUN)
        store.store_weights(run, BEGUN)
    job = tmp_path / "job.json"
    stretches = [(c.model_dump(mode="json"), SHARDED) for c in configs]
    # half precision would be too far off by then
    for config in configs[:-1]:
        whole = config.model_dump(mode="json")
        whole["trainer_config"]["sharded"] = False
        stretches.append((whole, ITERATIONS))
    job.write_text(json.dumps(stretches))
    finish(launch(PROGRAM, job, *TWO_HERE))

    for config in configs:
        name = config.name
        ends = [SHARDED] if name == "half" else [SHARDED, ITERATIONS]
        said = [torch.load(tmp_path / f"{name}-{until}.pt") for until in ends]
        train_until(alone[name], ends[-1])
        # sums of half precision, or over many feature maps
        is_rough = name in ("half", "batch_norm")
        rough = {"rtol": 2e-2, "atol": 1e-2} if is_rough else {"rtol": 1e-3, "atol": 1e-4}
        losses = alone[name].training_stats.losses[BEGUN:]
        assert [loss for each in said for loss in each["losses"]] == pytest.approx(
            losses, rel=1e-3 if is_rough else 1e-4
        )
        # half way and at the end of each
        assert store.iterations(name) == [BEGUN, 3, 5, 6, 7][: 1 + 2 * len(ends)]
        back = Run(config, "cpu")
        assert resume(back, store).iteration == ends[-1]
        expected, found = (dict(tensors_of(state_of(run))) for run in (alone[name], back))
        assert expected.keys() == found.keys()
        for path, tensor in expected.items():
            if is_comparable(name, str(path[-1])):
                torch.testing.assert_close(found[path], tensor, **rough, msg=f"{name}: {path}")
        prediction = predict(back, back.validation_datasets[0])
        torch.testing.assert_close(
            prediction, said[-1]["prediction"], rtol=1e-4, atol=1e-5, msg=name
        )
        # the optimizer goes on with what was gathered
        for run in (alone[name], back):
            train_until(run, ends[-1] + 1)
        assert back.training_stats.losses[-1:] == pytest.approx(
            alone[name].training_stats.losses[-1:], rel=rough["rtol"]
        )

    sharded = torch.load(tmp_path / f"averaged-{SHARDED}.pt")
    assert sharded["guard"] == (True, True)
    within, loaded, other = sharded["refused"]
    assert "cannot be stored within" in within
    assert "before their first step" in loaded
    assert "is not held out" in other

    state = sum(each.nbytes for _, each in tensors_of(state_of(alone["batch_norm"])))
    most = json.loads((tmp_path / "bytes.json").read_text())
    assert most < 0.75 * state


def test_a_sharded_network_is_not_compiled(small_config: Any) -> None:
    with pytest.raises(ValueError, match=r"sharded and trainer_config\.compile"):
        small_config(trainer={"sharded": True, "compile": True})


def test_one_process_has_nothing_to_share_out(small_config: Any) -> None:
    run = Run(small_config(trainer={"sharded": True}, num_workers=0), "cpu")
    train_until(run, 1)
    assert not run.is_sharded
    assert run.gather_state() is None
