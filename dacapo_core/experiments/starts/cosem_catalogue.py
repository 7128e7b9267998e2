"""The published COSEM networks: what each predicts, at which resolution, and its checkpoints.

Source: cellmap-models 0.2.4 and Heinrich et al. 2021, doi 10.1038/s41586-021-03977-3.
"""

from __future__ import annotations

from dataclasses import dataclass

from dacapo_core.experiments.architectures.cnnectome_unet_config import CNNectomeUNetConfig


@dataclass(frozen=True)
class CosemSetup:
    """One training setup. Channels are in the head's order; voxel sizes are isotropic, in nm."""

    name: str
    channels: tuple[str, ...]
    voxel_size_input: int
    voxel_size_output: int
    iterations: tuple[int, ...]

    @property
    def upsampling(self) -> int:
        """Output voxels along one input voxel."""
        return self.voxel_size_input // self.voxel_size_output


# fmt: off
CATALOGUE: dict[str, CosemSetup] = {
    setup.name: setup
    for setup in (
        CosemSetup(
            "setup04",
            ("ecs", "pm", "mito", "mito_mem", "ves", "ves_mem", "endo", "endo_mem", "er", "er_mem",
             "eres", "nuc", "mt", "mt_out"),
            8, 4, (1820500, 975000, 625000),
        ),
        CosemSetup("setup26.1", ("mito", "mito_mem", "mito_ribo"), 8, 4, (2580000, 650000)),
        CosemSetup("setup28", ("er", "er_mem"), 8, 4, (1440000, 775000)),
        CosemSetup("setup36", ("nuc", "nucleo"), 8, 4, (1100000, 500000)),
        CosemSetup("setup45", ("ecs", "pm"), 4, 4, (1634500, 625000)),
    )
}
# fmt: on

# the README of cellmap-models says setup46 where the network is setup45
MISTAKEN_NAMES = {"setup46": "setup45", "setup26": "setup26.1", "setup26_1": "setup26.1"}


def known_checkpoints() -> list[str]:
    """Every published checkpoint as ``setup/iteration``."""
    return [
        f"{setup.name}/{iteration}"
        for setup in CATALOGUE.values()
        for iteration in setup.iterations
    ]


def cosem_setup(name: str) -> CosemSetup:
    """The setup of that name.

    Raises:
        ValueError: there is none; the message lists those there are.
    """
    if name in CATALOGUE:
        return CATALOGUE[name]
    meant = MISTAKEN_NAMES.get(name)
    hint = f" (did you mean {meant}?)" if meant else ""
    raise ValueError(f"no COSEM network is called {name!r}{hint}; there are {', '.join(CATALOGUE)}")


def cosem_iteration(name: str, criterion: str) -> int:
    """The iteration of a published checkpoint, checked.

    Raises:
        ValueError: no such setup, or no such checkpoint of it; the message lists those there are.
    """
    setup = cosem_setup(name)
    published = {str(iteration): iteration for iteration in setup.iterations}
    if criterion not in published:
        raise ValueError(
            f"no COSEM checkpoint {name}/{criterion} is published; of {name} there are "
            f"{', '.join(published)}; all: {', '.join(known_checkpoints())}"
        )
    return published[criterion]


def cosem_architecture(
    name: str, input_shape: tuple[int, int, int] = (216, 216, 216), num_fmaps: int = 12
) -> CNNectomeUNetConfig:
    """The architecture that the checkpoints of a setup fit.

    Args:
        name: the setup.
        input_shape: in voxels; 216 and up in steps of 18.
        num_fmaps: feature maps of the top level; 12 in the published networks, fewer for trials.
    """
    factor = cosem_setup(name).upsampling
    return CNNectomeUNetConfig(
        name=name,
        input_shape=input_shape,
        fmaps_in=1,
        fmaps_out=6 * num_fmaps,
        num_fmaps=num_fmaps,
        fmap_inc_factor=6,
        downsample_factors=[(2, 2, 2), (3, 3, 3), (3, 3, 3)],
        # setup45 has the layers of an upsampling too, by a factor of 1
        upsample_factors=[(factor, factor, factor)],
        padding="valid",
    )
