"""Integer labels as binary channels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from dacapo_core.experiments.configuration import Configuration
from dacapo_core.experiments.datasplits.datasets.arrays.zarr_array_config import ZarrArrayConfig

if TYPE_CHECKING:
    from dacapo_core.experiments.datasplits.datasets.labels import GroupedLabels


class BinarizeArrayConfig(Configuration):
    """An array of integer labels, read as one binary channel a group of values (DaCapo's class).

    Every value must be said to be something: one without a channel is an error, because it is
    more often a slip than background.
    """

    type: Literal["binarize"] = "binarize"
    source_array_config: ZarrArrayConfig = Field(description="The integer labels.")
    groupings: Annotated[dict[str, list[int]], Field(min_length=1)] = Field(
        description="Channel → the label values that belong to it; a value may belong to several. "
        "No values ([]) means every value that is neither background nor unlabelled, as for "
        "instance ids."
    )
    background: list[int] | Literal["others"] = Field(
        [0],
        description="Label values of no channel; 'others' for all that groupings do not name.",
    )
    unlabelled: list[int] = Field(
        [], description="Label values that mean 'not annotated': no loss, no score."
    )

    @model_validator(mode="after")
    def _each_value_means_one_thing(self) -> BinarizeArrayConfig:
        if self.source_array_config.channels is not None:
            raise ValueError("source_array_config.channels: the channels are named by groupings")
        foreground = {value for values in self.groupings.values() for value in values}
        background = set() if self.background == "others" else set(self.background)
        for first, second, names in (
            (foreground, set(self.unlabelled), "groupings and unlabelled"),
            (foreground, background, "groupings and background"),
            (background, set(self.unlabelled), "background and unlabelled"),
        ):
            if first & second:
                values = ", ".join(str(value) for value in sorted(first & second))
                raise ValueError(f"label value {values} is in both {names}")
        return self

    def labels(self) -> GroupedLabels:
        """The groups as ground truth; raises as `ZarrArrayConfig.array` does."""
        from dacapo_core.experiments.datasplits.datasets.labels import GroupedLabels

        background = None if self.background == "others" else self.background
        return GroupedLabels(
            self.source_array_config.array(), self.groupings, background, self.unlabelled
        )
