"""Which number format a network computes in."""

from __future__ import annotations

import pytest
import torch

from dacapo_core.experiments.architectures import CNNectomeUNetConfig
from dacapo_core.experiments.model import Model
from dacapo_core.experiments.tasks import OneHotTaskConfig
from dacapo_core.training.precision import (
    computes_bf16,
    resolve_precision,
    shallow_convolutions,
)

CPU = torch.device("cpu")


def model(depth: int) -> Model:
    architecture = CNNectomeUNetConfig(
        input_shape=(depth, 16, 16), padding="same", num_fmaps=2, fmaps_out=2
    )
    return OneHotTaskConfig(channels=["a"]).build().create_model(architecture)


def test_convolutions_on_a_depth_of_two_are_found_without_computing() -> None:
    assert shallow_convolutions(model(16)) == []
    found = shallow_convolutions(model(8))
    assert found
    assert all("l_conv.2" in name or "r_up" in name for name in found)


def test_auto_takes_bf16_where_it_is_native_and_right() -> None:
    native = torch.bfloat16 if computes_bf16(CPU) else torch.float32
    assert resolve_precision("auto", CPU, model(16)) is native
    assert resolve_precision("auto", CPU, model(8)) is torch.float32


def test_bf16_that_would_be_wrong_is_refused() -> None:
    assert resolve_precision("bf16", CPU, model(16)) is torch.bfloat16
    with pytest.raises(ValueError, match=r"mixed_precision 'bf16'.*input_shape.*depth 2"):
        resolve_precision("bf16", CPU, model(8))


def test_off_and_fp16_are_taken_as_they_are() -> None:
    assert resolve_precision("off", CPU, model(8)) is torch.float32
    assert resolve_precision("fp16", CPU, model(8)) is torch.float16
