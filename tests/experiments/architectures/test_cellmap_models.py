"""The published COSEM networks, as cellmap-models builds them, compute what ours computes.

cellmap-models has no activation after upsampling, so it is off here; see `upsample_activation`.
"""

from __future__ import annotations

import importlib
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from dacapo_core.experiments.architectures import CNNectomeUNetConfig
from dacapo_core.experiments.model import Model
from dacapo_core.experiments.starts.cosem_catalogue import CATALOGUE, cosem_architecture
from dacapo_core.experiments.starts.loading import prepare_loading

cellmap = pytest.importorskip(
    "cellmap_models.pytorch.cosem.load_model",
    reason="cellmap-models is not installed: pip install --no-deps cellmap-models==0.2.4, "
    "then pip install tqdm lazy_loader ml-collections",
)


def published(setup: str) -> ModuleType:
    """The setup's own parameters."""
    return importlib.import_module(f"cellmap_models.pytorch.cosem.{setup.replace('.', '_')}.model")


def theirs(setup: str, num_fmaps: int) -> Any:
    """Their network of a setup, with fewer feature maps."""
    parameters = dict(vars(published(setup)))
    widths = [num_fmaps * 6**level for level in range(4)]
    parameters |= {
        "feature_widths_down": widths,
        "feature_widths_up": [widths[1], *widths[1:]],
        "final_feature_width": widths[1],
    }
    torch.manual_seed(0)
    return cellmap.Architecture(SimpleNamespace(**parameters)).eval()


def ours(config: CNNectomeUNetConfig, channels: tuple[str, ...]) -> Model:
    config = config.model_copy(update={"upsample_activation": None})
    return Model(config.build(), torch.nn.Conv3d(config.fmaps_out, len(channels), 1), channels)


@pytest.mark.parametrize("setup", CATALOGUE)
def test_the_catalogue_says_what_cellmap_models_says(setup: str) -> None:
    parameters, known = published(setup), CATALOGUE[setup]
    assert list(known.channels) == parameters.classes_channels
    assert [known.voxel_size_input] * 3 == parameters.voxel_size_input.tolist()
    assert [known.voxel_size_output] * 3 == parameters.voxel_size_output.tolist()


def test_the_catalogue_has_every_published_checkpoint() -> None:
    from cellmap_models.pytorch import cosem

    from dacapo_core.experiments.starts.cosem_catalogue import known_checkpoints
    from dacapo_core.settings import COSEM_URL

    assert {name: f"{COSEM_URL}/{name}" for name in known_checkpoints()} == cosem.models_dict


@pytest.mark.slow
@pytest.mark.parametrize("setup", CATALOGUE)
def test_equal_weights_give_equal_outputs(setup: str) -> None:
    peer = theirs(setup, num_fmaps=1)
    known = CATALOGUE[setup]
    config = cosem_architecture(setup, (198, 216, 198), num_fmaps=1)
    model = ours(config, known.channels).eval()
    report = prepare_loading(
        model, peer.state_dict(), source_labels=known.channels, policy="strict"
    ).carry_out()
    assert report.share_loaded == 1

    assert tuple(peer.min_input_shape) == config.minimal_input_shape
    assert tuple(peer.min_output_shape) == config.output_shape(config.minimal_input_shape)
    assert tuple(peer.input_size_step) == config.input_shape_step
    volume = torch.randn(1, 1, *config.input_shape)
    with torch.no_grad():
        expected, found = peer(volume), model(volume)
    assert tuple(found.shape[2:]) == config.output_shape()
    assert float(expected.abs().max()) > 1e-3
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_the_activation_after_upsampling_makes_the_difference() -> None:
    peer = theirs("setup28", num_fmaps=1)
    config = cosem_architecture("setup28", (198, 198, 198), num_fmaps=1)
    model = Model(config.build(), torch.nn.Conv3d(6, 2, 1), ["er", "er_mem"]).eval()
    prepare_loading(
        model, peer.state_dict(), source_labels=["er", "er_mem"], policy="strict"
    ).carry_out()
    volume = torch.randn(1, 1, 198, 198, 198)
    with torch.no_grad():
        assert not torch.allclose(peer(volume), model(volume), atol=1e-3)


@pytest.mark.slow
def test_the_real_setup04_has_its_published_size() -> None:
    config = cosem_architecture("setup04")
    with torch.device("meta"):
        shapes = Model(config.build(), torch.nn.Conv3d(72, 14, 1)).state_dict()
    assert len(shapes) == 42
    network = config.build()
    assert sum(parameter.numel() for parameter in network.parameters()) == 234_966_804
    assert not any(parameter.is_meta for parameter in network.parameters())
