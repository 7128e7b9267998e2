"""Configuration of the one-hot task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AliasChoices, Field

from dacapo_core.experiments.tasks.channels import Channels
from dacapo_core.experiments.tasks.evaluation_settings import EvaluationSettings

if TYPE_CHECKING:
    from dacapo_core.experiments.tasks.one_hot_task import OneHotTask


class OneHotTaskConfig(EvaluationSettings):
    """A probability per class and voxel (DaCapo's class of the same name).

    Each class has a channel and a sigmoid of its own, so that classes may overlap, as the
    membrane of an organelle does with the organelle.
    """

    type: Literal["one_hot"] = "one_hot"
    channels: Channels = Field(
        ["mito", "pm", "ves", "er"],
        validation_alias=AliasChoices("channels", "classes"),
        description="Labels to predict, one output channel each; DaCapo calls them classes.",
    )
    kernel_size: Literal[1, 3] = Field(1, description="Kernel of the head's convolution.")
    dice_weight: float = Field(
        0.5, ge=0, le=1, description="Share of the Dice loss; cross-entropy has the rest."
    )
    thresholds: Annotated[list[Annotated[float, Field(gt=0, lt=1)]], Field(min_length=1)] = Field(
        [0.3, 0.4, 0.5, 0.6, 0.7], description="Probabilities above which a voxel is foreground."
    )

    def build(self) -> OneHotTask:
        """The task itself."""
        from dacapo_core.experiments.tasks.one_hot_task import OneHotTask

        return OneHotTask(self)
