"""What a run starts from: a published COSEM network."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from dacapo_core.experiments.starts.cosem_catalogue import cosem_iteration
from dacapo_core.experiments.starts.cosem_start import CosemStart
from dacapo_core.experiments.starts.start_config import StartClass, StartConfig


class CosemStartConfig(StartConfig):
    """Start from a published COSEM checkpoint (DaCapo's class of the same name).

    `CosemStartConfig("setup04", "1820500")`. It is fetched once, from the settings' `cosem_url`,
    into the store. A name that is not published is an error that lists those that are.
    """

    start_type: ClassVar[StartClass] = CosemStart

    type: Literal["cosem"] = "cosem"  # type: ignore[assignment]
    run: str = Field("setup04", min_length=1, description="The network: setup04, setup26.1, …")
    criterion: str = Field(
        "1820500", min_length=1, description="Which checkpoint of it: its iteration."
    )
    sha256: str | None = Field(
        None,
        pattern="^[0-9a-f]{64}$",
        description="The file's SHA-256, where you know it; a download that differs is refused.",
    )

    @model_validator(mode="after")
    def _is_published(self) -> CosemStartConfig:
        cosem_iteration(self.run, self.criterion)
        return self
