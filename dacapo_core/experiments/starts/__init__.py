"""Starts: the weights that a run begins with, from another run or from a published network."""

from __future__ import annotations

from dacapo_core.experiments.starts.cosem_start import CosemStart
from dacapo_core.experiments.starts.cosem_start_config import CosemStartConfig
from dacapo_core.experiments.starts.loading_report import LoadingReport
from dacapo_core.experiments.starts.start import Start
from dacapo_core.experiments.starts.start_config import StartConfig
from dacapo_core.experiments.starts.start_error import StartError

__all__ = [
    "CosemStart",
    "CosemStartConfig",
    "LoadingReport",
    "Start",
    "StartConfig",
    "StartError",
]
