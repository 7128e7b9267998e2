"""Starting a run from a published COSEM network."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dacapo_core.experiments.starts.cosem_catalogue import cosem_iteration, cosem_setup
from dacapo_core.experiments.starts.loading_report import LoadingReport
from dacapo_core.experiments.starts.start import Start, as_configuration
from dacapo_core.store.errors import DamagedCheckpointError

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

    from dacapo_core.experiments.starts.cosem_start_config import CosemStartConfig
    from dacapo_core.store.local_weights_store import LocalWeightsStore

logger = logging.getLogger(__name__)


class CosemStart(Start):
    """Initialises a model with a published COSEM checkpoint (DaCapo's class).

    Channels and voxel sizes come from the catalogue; no network is built to learn them.
    """

    config: CosemStartConfig

    @property
    def channels(self) -> list[str] | None:
        """Labels of the network's output channels, in order."""
        return self.config.channels or list(cosem_setup(self.run).channels)

    def iteration(self) -> int:
        """The published iteration."""
        return cosem_iteration(self.run, self.criterion)

    def pin(self, child: str) -> None:
        """Published checkpoints are never pruned, so there is nothing to do."""

    def unpin(self, child: str) -> None:
        """See `pin`."""

    def check(self, *, damaged: bool = False) -> None:
        """Make sure that the checkpoint is in the store; download it if it is not.

        It comes from the settings' `cosem_url`, once for all who ask at the same time, and is in
        the store whole or not at all.

        Args:
            damaged: the one in the store is damaged: replace it.

        Raises:
            DownloadError: it could not be downloaded, or is not what it should be.
        """
        from dacapo_core.experiments.starts.cosem_download import fetch_checkpoint

        fetch_checkpoint(
            self.store(),
            self.run,
            self.iteration(),
            sha256=self.config.sha256,
            damaged=damaged,
        )

    def initialize_weights(
        self,
        model: nn.Module,
        new_head: Sequence[str] | None = None,
        *,
        optimizer: Optimizer | None = None,
    ) -> LoadingReport:
        """Fetch the checkpoint if need be, load it into `model` and say what was loaded.

        One in the store that is damaged is fetched again.

        The outputs are signed distances squashed by tanh: foreground is above 0.

        Raises:
            DownloadError: it could not be fetched.
            StartError: it does not fit. The model is untouched, as it is after any other error.
        """
        self.check()
        setup = cosem_setup(self.run)
        logger.info(
            "%s was trained on voxels of %d nm and predicts voxels of %d nm",
            self.name,
            setup.voxel_size_input,
            setup.voxel_size_output,
        )
        try:
            return super().initialize_weights(model, new_head, optimizer=optimizer)
        except DamagedCheckpointError as error:
            # DaCapo keeps what it got of a broken download
            logger.warning("%s; fetching it again", error)
            self.check(damaged=True)
            return super().initialize_weights(model, new_head, optimizer=optimizer)

    def _digest(self, store: LocalWeightsStore, iteration: int) -> str | None:
        from dacapo_core.experiments.starts.cosem_download import recorded_download

        digest = recorded_download(store.filesystem, self.run, iteration).get("sha256")
        return None if digest is None else f"sha256:{digest}"

    @staticmethod
    def _configuration(start_config: Any) -> CosemStartConfig:
        from dacapo_core.experiments.starts.cosem_start_config import CosemStartConfig

        return as_configuration(start_config, CosemStartConfig)
