"""Patches as tests compare them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from dacapo_core.data.patch_crops import read_crops
from dacapo_core.data.patch_sampler import PatchSampler
from dacapo_core.data.patch_transform import PatchTransform


class Patches(NamedTuple):
    """``(n, channels, *shape)`` each."""

    raw: np.ndarray
    labels: np.ndarray
    mask: np.ndarray


def make(sampler: PatchSampler, *generators: np.random.Generator) -> Patches:
    """The patches of generators, as a network and its task get them."""
    maker = PatchTransform(sampler, torch.device("cpu"))
    crops = [read_crops(sampler, sampler.draw(generator)) for generator in generators]
    raw, _ = maker.raw(crops)
    labelled = maker.labelled(crops)
    return Patches(raw.numpy(), labelled.labels.numpy(), labelled.mask.numpy())
