"""The configuration of the U-Net: shapes by arithmetic, and bad ones refused with the way out."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from dacapo_core.experiments.architectures import CNNectomeUNetConfig
from dacapo_core.experiments.starts.cosem_catalogue import CATALOGUE, cosem_architecture


def test_the_schema_needs_no_torch() -> None:
    code = (
        "import sys; from dacapo_core.experiments.architectures import ArchitectureConfig as A;"
        "A.model_json_schema(); A(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_configuration_survives_json() -> None:
    config = cosem_architecture("setup04")
    assert CNNectomeUNetConfig.model_validate_json(config.model_dump_json()) == config


def test_dacapos_none_for_no_upsampling() -> None:
    assert CNNectomeUNetConfig(upsample_factors=None).upsample_factors == []  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"input_shape": (50, 48, 48)}, ["input_shape", "50", " z ", "48 or 52"]),
        ({"input_shape": (48, 48, 5)}, [" x ", "44"]),
        ({"input_shape": (47, 48, 48), "padding": "same"}, ["44 or 48"]),
        ({"input_shape": (48, 48)}, ["downsample_factors", "axes"]),
        ({"input_shape": (48,)}, ["input_shape"]),
        ({"input_shape": (0, 48, 48)}, ["input_shape"]),
        ({"eval_shape_increase": (2, 0, 0)}, ["eval_shape_increase", "50"]),
        ({"downsample_factors": []}, ["downsample_factors"]),
        ({"upsample_factors": [(2, 2)]}, ["upsample_factors"]),
        ({"kernel_size_down": [[(3, 3, 3)]]}, ["kernel_size_down", "3"]),
        ({"kernel_size_up": [[(3, 3, 3)], [(2, 3, 3)]]}, ["kernel_size_up", "(2, 3, 3)"]),
        ({"batch_norm": True, "normalisation": "instance"}, ["batch_norm", "normalisation"]),
        (
            {
                "input_shape": (4, 4, 4),
                "padding": "same",
                "normalisation": "instance",
            },
            ["InstanceNorm", "normalisation=None"],
        ),
        ({"num_fmap": 12}, ["num_fmap"]),
    ],
)
def test_what_does_not_fit_is_refused_by_name(values: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ValidationError) as error:
        CNNectomeUNetConfig(**values)
    for word in words:
        assert word in str(error.value)


def test_output_shape_refuses_what_the_network_cannot_take() -> None:
    with pytest.raises(ValueError, match="48 or 52"):
        CNNectomeUNetConfig().output_shape((48, 51, 48))
    with pytest.raises(ValueError, match="2 axes"):
        CNNectomeUNetConfig().output_shape((48, 48))


def test_every_size_that_is_named_as_valid_is_valid() -> None:
    axis = CNNectomeUNetConfig(
        input_shape=(64, 64, 64), downsample_factors=[(3, 3, 3), (2, 2, 2)]
    ).axes[0]
    valid = {size for size in range(1, 200) if axis.output_size(size) is not None}
    named = {near for size in range(1, 200) for near in axis.nearest_input_sizes(size)}
    assert {size for size in named if size < 200} == valid
    assert min(valid) == axis.smallest_input_size()


def test_shapes_that_are_published() -> None:
    config = cosem_architecture("setup04")
    assert config.minimal_input_shape == (216, 216, 216)
    assert config.smallest_input_shape == (198, 198, 198)
    assert config.input_shape_step == (18, 18, 18)
    assert config.output_shape((216, 216, 216)) == (68, 68, 68)
    assert cosem_architecture("setup45").output_shape((216, 216, 216)) == (32, 32, 32)


@pytest.mark.parametrize("name", CATALOGUE)
def test_voxel_sizes_follow_the_upsampling(name: str) -> None:
    setup = CATALOGUE[name]
    fine = cosem_architecture(name).scale((setup.voxel_size_input,) * 3)
    assert fine == (setup.voxel_size_output,) * 3
