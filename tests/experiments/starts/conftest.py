"""Small models and checkpoints in every layout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from dacapo_core.experiments.architectures import CNNectomeUNetConfig
from dacapo_core.experiments.model import Model

State = dict[str, Tensor]
MakeModel = Callable[..., Model]


@pytest.fixture
def make_model() -> MakeModel:
    """A model of a few thousand parameters; another seed, other values."""

    def make(channels: Sequence[str] = ("mito", "er"), seed: int = 0, **values: object) -> Model:
        torch.manual_seed(seed)
        settings: dict[str, object] = {
            "input_shape": (20, 20, 20),
            "num_fmaps": 2,
            "fmaps_out": 4,
            "downsample_factors": [(2, 2, 2)],
            "upsample_factors": [(2, 2, 2)],
        }
        config = CNNectomeUNetConfig(**{**settings, **values})  # type: ignore[arg-type]
        head = (nn.Conv2d if config.dims == 2 else nn.Conv3d)(config.fmaps_out, len(channels), 1)
        return Model(config.build(), head, channels)

    return make


@pytest.fixture
def layouts() -> dict[str, Callable[[State], State]]:
    """Our state dict in each of the layouts that a checkpoint may have."""
    return {
        "ours": dict,
        "dacapo-0.3.5": lambda state: state | {second(key): state[key] for key in state},
        "dacapo-main": lambda state: (
            {
                (second(key).replace("chain.0.unet.", "chain.0.")): value
                for key, value in state.items()
            }
            | {key: value for key, value in state.items() if key.startswith("prediction_head")}
        ),
        "cellmap-models": lambda state: {
            key.replace("architecture.unet.", "backbone."): value for key, value in state.items()
        },
        "parallel": lambda state: {f"module.{key}": value for key, value in state.items()},
        "compiled": lambda state: {f"_orig_mod.{key}": value for key, value in state.items()},
        "both": lambda state: {f"module._orig_mod.{key}": value for key, value in state.items()},
        "compiled inside": lambda state: {
            key.replace("architecture.", "architecture._orig_mod."): value
            for key, value in state.items()
        },
    }


def second(key: str) -> str:
    """DaCapo's second name of a tensor."""
    return key.replace("architecture.", "chain.0.").replace("prediction_head.", "chain.1.")


@pytest.fixture
def dacapo_stores(shared: Path) -> Path:
    """Stores written by the real DaCapo 0.3.5."""
    folder = shared / "stores" / "dacapo-0.3.5"
    if not folder.is_dir():
        pytest.skip("shared/stores/dacapo-0.3.5 is not here")
    return folder


def copy_of(model: nn.Module) -> State:
    """The model's values as they are now."""
    return {key: value.clone() for key, value in model.state_dict().items()}


@pytest.fixture
def unchanged() -> Callable[[nn.Module], Callable[[], bool]]:
    """Remembers a model's values, and says later whether they are still the same, bit for bit."""

    def remember(model: nn.Module) -> Callable[[], bool]:
        before = copy_of(model)
        return lambda: all(
            torch.equal(before[key], value) for key, value in model.state_dict().items()
        )

    return remember
