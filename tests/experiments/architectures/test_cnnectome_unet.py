"""The U-Net itself: shapes as announced, equivariant, trainable, and a model around it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dacapo_core.experiments.architectures import CNNectomeUNet, CNNectomeUNetConfig
from dacapo_core.experiments.model import Model

TINY: dict[str, Any] = {"num_fmaps": 2, "fmaps_out": 3}
FLAT = {"downsample_factors": [(1, 2, 2), (2, 2, 2)], "kernel_size_up": [[(1, 3, 3)]] * 2}


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"padding": "same"},
        {"padding": "same", "normalisation": "instance", "upsample_factors": [(2, 2, 2)]},
        {"batch_norm": True},
        {"constant_upsample": False, "upsample_activation": None},
        {"upsample_factors": [(1, 2, 2), (2, 1, 1)]},
        {"input_shape": (30, 48, 48), **FLAT},
        {"input_shape": (28, 28, 28), "downsample_factors": [(3, 3, 3)]},
        {"input_shape": (64, 52), "downsample_factors": [(2, 2), (2, 2)]},
    ],
)
def test_the_output_has_the_announced_shape(values: dict[str, Any]) -> None:
    config = CNNectomeUNetConfig(**TINY, **values)
    smallest = CNNectomeUNet(config).eval()
    for shape in (config.input_shape, config.smallest_input_shape):
        if config.batch_norm or config.normalisation is None or shape == config.input_shape:
            output = smallest(torch.zeros(1, 1, *shape))
            assert tuple(output.shape) == (1, 3, *config.output_shape(shape))


def test_same_padding_keeps_the_shape() -> None:
    config = CNNectomeUNetConfig(**TINY, padding="same", input_shape=(24, 28, 32))
    assert config.output_shape() == (24, 28, 32)


@pytest.mark.parametrize(
    ("factors", "length"),
    [
        ([(2, 2, 2), (2, 2, 2)], 52),
        ([(2, 2, 2), (3, 3, 3)], 66),
        ([(3, 3, 3), (2, 2, 2)], 70),
    ],
)
def test_shifting_the_input_by_a_step_shifts_the_output(
    factors: list[tuple[int, ...]], length: int
) -> None:
    torch.manual_seed(0)
    config = CNNectomeUNetConfig(**TINY, input_shape=(length,) * 3, downsample_factors=factors)
    network = config.build().eval()
    step = config.input_shape_step[0]
    volume = torch.randn(1, 1, length + step, length, length)
    with torch.no_grad():
        here, there = network(volume[:, :, :length]), network(volume[:, :, step:])
    assert here.shape[2] > step
    torch.testing.assert_close(here[:, :, step:], there[:, :, :-step], atol=1e-5, rtol=0)


def test_a_gradient_reaches_every_parameter() -> None:
    network = CNNectomeUNetConfig(**TINY, normalisation="instance", padding="same").build()
    network(torch.randn(1, 1, 16, 16, 16)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_a_model_has_dacapos_keys_once() -> None:
    config = CNNectomeUNetConfig(**TINY, upsample_factors=[(2, 2, 2)])
    model = Model(config.build(), torch.nn.Conv3d(3, 2, 1), ["mito", "er"])
    keys = list(model.state_dict())
    assert "architecture.unet.0.l_conv.0.conv_pass.0.weight" in keys
    assert "prediction_head.bias" in keys
    assert not [key for key in keys if key.startswith("chain")]
    assert model.channels == ["mito", "er"]
    assert model(torch.zeros(1, 1, 48, 48, 48)).shape == (1, 2, *model.output_shape)
    assert model.scale((8, 8, 8)) == (4, 4, 4)


def test_the_evaluation_activation_works_in_evaluation_only() -> None:
    head = torch.nn.Conv3d(3, 1, 1)
    torch.nn.init.constant_(head.weight, 0)
    torch.nn.init.constant_(head.bias, -3)  # type: ignore[arg-type]
    config = CNNectomeUNetConfig(**TINY)
    model = Model(config.build(), head, eval_activation=torch.nn.Sigmoid())
    volume = torch.zeros(1, 1, *config.input_shape)
    assert float(model.train()(volume).mean().detach()) == -3
    assert float(model.eval()(volume).mean().detach()) > 0


def test_a_model_refuses_a_label_twice() -> None:
    with pytest.raises(ValueError, match="mito"):
        Model(CNNectomeUNetConfig(**TINY).build(), torch.nn.Conv3d(3, 2, 1), ["mito", "mito"])
