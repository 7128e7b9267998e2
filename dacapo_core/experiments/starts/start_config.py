"""What a run starts from: another run's checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from dacapo_core.experiments.configuration import Configuration
from dacapo_core.experiments.starts.start import Start

# the field `type` hides the builtin inside the class
StartClass = type[Start]


class StartConfig(Configuration):
    """Start from a checkpoint of a run (DaCapo's class of the same name).

    Takes what DaCapo takes: `StartConfig("run", "criterion")`, keywords, or a dict.
    """

    start_type: ClassVar[StartClass] = Start

    type: Literal["run"] = "run"
    run: str = Field(min_length=1, description="The run to start from.")
    criterion: str = Field(
        min_length=1,
        description="Which checkpoint: an iteration, 'latest', or '<dataset>/<criterion>' for "
        "the best of that.",
    )
    store_url: str | None = Field(
        None,
        description="Path or URL of that run's store, if it is not the one that the run itself is "
        "stored in. Flows also take the name of a weights store block: block:lab.",
    )
    channels: list[str] | None = Field(
        None,
        description="Labels of the checkpoint's output channels, in order. Default: as recorded.",
    )
    policy: Literal["matching", "strict"] = Field(
        "matching",
        description="'matching' takes what fits and reports it; 'strict' wants every tensor and "
        "every channel.",
    )
    floor: float = Field(
        0.9, ge=0, le=1, description="Share of the body below which a start is an error."
    )
    freeze_iterations: int = Field(
        0,
        ge=0,
        description="Train the head alone for this many iterations first; the backbone stays as "
        "it is, BatchNorm's statistics included.",
    )
    backbone_learning_rate_factor: float = Field(
        1.0, gt=0, le=1, description="Learning rate of the backbone as a share of the head's."
    )
    carry_optimizer: bool = Field(
        False,
        description="Take over the optimizer's state too; for a model of the same shape and head.",
    )

    def __init__(self, *args: Any, **values: Any) -> None:
        super().__init__(**positional_values(args, values))

    @field_validator("channels")
    @classmethod
    def _channels_are_distinct(cls, channels: list[str] | None) -> list[str] | None:
        if channels is not None and len(set(channels)) != len(channels):
            raise ValueError(f"channels {channels} name a label twice")
        return channels

    @field_validator("criterion", mode="before")
    @classmethod
    def _iteration_may_be_a_number(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def positional_values(args: tuple[Any, ...], values: dict[str, Any]) -> dict[str, Any]:
    """DaCapo's positional ``run, criterion``, or one dict, as keywords."""
    if len(args) == 1 and isinstance(args[0], Mapping):
        return {**args[0], **values}
    if len(args) > 2:
        raise TypeError(f"a start takes run and criterion by position, not {len(args)} values")
    named = dict(zip(("run", "criterion"), args, strict=False))
    if twice := named.keys() & values.keys():
        raise TypeError(f"{', '.join(sorted(twice))} given by position and by name")
    return {**named, **values}
