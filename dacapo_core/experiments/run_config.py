"""Everything about a run, as one model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from dacapo_core.experiments.architectures import ArchitectureConfig, CNNectomeUNetConfig
from dacapo_core.experiments.configuration import Configuration
from dacapo_core.experiments.datasplits import DataSplitConfig, SyntheticDataSplitConfig
from dacapo_core.experiments.starts import CosemStartConfig, StartConfig
from dacapo_core.experiments.tasks import OneHotTaskConfig, TaskConfig
from dacapo_core.experiments.trainers import TrainerConfig
from dacapo_core.store.layout import check_run_name


class RunConfig(Configuration):
    """Everything about a run (DaCapo's `dacapo.experiments.run_config.RunConfig`).

    Every field has a default: `RunConfig()` trains a small U-Net on generated data, on a CPU
    in about a minute.
    """

    name: str = Field("demo", description="Name of the run and of its folder in the store.")
    repetition: int = Field(
        0, ge=0, description="Number of this repetition of the run; it is added to seed."
    )
    num_iterations: int = Field(160, gt=0, description="Iterations to train for.")
    validation_interval: int = Field(
        32,
        gt=0,
        description="Iterations between two validations; each stores a checkpoint. The last "
        "iteration always has one.",
    )
    batch_size: int = Field(1, gt=0, description="Patches per iteration, over all processes.")
    num_workers: int | None = Field(
        None,
        ge=0,
        description="Threads that prepare batches ahead; 0 prepares them in the loop. Default: as "
        "many as suit the machine.",
    )
    learning_rate: float = Field(8e-3, gt=0, description="Highest learning rate of AdamW.")
    seed: int = Field(
        0, ge=0, description="Decides initial weights and, with the iteration, every batch."
    )
    architecture_config: ArchitectureConfig = Field(
        CNNectomeUNetConfig(padding="same", normalisation="instance"),
        description="The network, up to its head.",
    )
    task_config: TaskConfig = Field(
        OneHotTaskConfig(), description="What is predicted: channels, target and loss."
    )
    trainer_config: TrainerConfig = Field(
        TrainerConfig(), description="How weights follow from batches."
    )
    datasplit_config: DataSplitConfig = Field(
        SyntheticDataSplitConfig(), description="The volumes to train on and to validate on."
    )
    start_config: Annotated[StartConfig | CosemStartConfig, Field(discriminator="type")] | None = (
        Field(None, description="Weights to begin with. Default: fresh ones.")
    )

    @field_validator("name")
    @classmethod
    def _name_is_a_folder_of_the_store(cls, name: str) -> str:
        return check_run_name(name)

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> Self:
        trainer = self.trainer_config
        parts = trainer.gradient_accumulation * trainer.processes
        if self.batch_size % parts:
            raise ValueError(
                f"batch_size {self.batch_size} cannot be split evenly into "
                f"trainer_config.gradient_accumulation {trainer.gradient_accumulation} × "
                f"trainer_config.processes {trainer.processes} = {parts} parts"
            )
        if trainer.sharded and trainer.compile:
            raise ValueError(
                "trainer_config.sharded and trainer_config.compile cannot be set both: a network "
                "whose weights come together layer by layer is not compiled; leave out one of them"
            )
        return self

    @classmethod
    def from_file(cls, file: str | Path) -> Self:
        """The configuration in a YAML or TOML file; what it leaves out keeps its default.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: neither .yaml, .yml nor .toml, or not readable as such; a
                pydantic.ValidationError names fields that are unknown or wrong.
        """
        return cls.model_validate(read_values(Path(file)))

    def difference(self, other: RunConfig) -> dict[str, tuple[Any, Any]]:
        """Fields that differ, by dotted path: the value here and the value in `other`."""
        ours, theirs = flatten(self.model_dump(mode="json")), flatten(other.model_dump(mode="json"))
        return {
            field: (ours.get(field), theirs.get(field))
            for field in sorted(ours.keys() | theirs.keys())
            if ours.get(field) != theirs.get(field)
        }

    def validation_iterations(self) -> list[int]:
        """Iterations after which the run is validated and stored; the last one always is."""
        regular = range(self.validation_interval, self.num_iterations, self.validation_interval)
        return [*regular, self.num_iterations]


def read_values(file: Path) -> dict[str, Any]:
    """The mapping in a YAML or TOML file."""
    import tomllib

    import yaml

    if not file.is_file():
        raise FileNotFoundError(f"there is no run configuration {str(file)!r}")
    text = file.read_text(encoding="utf-8")
    try:
        if file.suffix == ".toml":
            values = tomllib.loads(text)
        elif file.suffix in (".yaml", ".yml"):
            values = yaml.safe_load(text)
        else:
            raise ValueError(f"{file.name!r} must end in .yaml, .yml or .toml")
    except (tomllib.TOMLDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"cannot read run configuration {str(file)!r}: {error}") from error
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise ValueError(
            f"run configuration {str(file)!r} must hold fields and values, not a "
            f"{type(values).__name__}"
        )
    return values


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
