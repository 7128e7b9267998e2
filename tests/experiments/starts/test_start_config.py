"""What a start may be given as."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field, ValidationError

from dacapo_core.experiments.starts import CosemStart, CosemStartConfig, Start, StartConfig


class Holder(BaseModel):
    start_config: Annotated[StartConfig | CosemStartConfig, Field(discriminator="type")] | None


@pytest.mark.parametrize(
    "config",
    [
        StartConfig("parent", "val/dice"),
        StartConfig("parent", criterion="val/dice"),
        StartConfig(run="parent", criterion="val/dice"),
        StartConfig({"run": "parent", "criterion": "val/dice"}),
        StartConfig.model_validate({"run": "parent", "criterion": "val/dice"}),
    ],
)
def test_every_form_that_dacapo_takes(config: StartConfig) -> None:
    assert (config.run, config.criterion) == ("parent", "val/dice")
    start = config.start_type(config)
    assert type(start) is Start
    assert (start.run, start.criterion, start.name) == ("parent", "val/dice", "parent/val/dice")


@pytest.mark.parametrize(
    "given",
    [
        CosemStartConfig("setup04", "975000"),
        {"run": "setup04", "criterion": "975000"},
        {"type": "cosem", "run": "setup04", "criterion": 975000},
        SimpleNamespace(run="setup04", criterion="975000"),
    ],
)
def test_a_cosem_start_knows_its_channels(given: Any) -> None:
    start = CosemStart(given)
    assert start.name == "setup04/975000"
    assert start.iteration() == 975000
    assert start.channels is not None
    assert start.channels[:3] == ["ecs", "pm", "mito"]
    assert len(start.channels) == 14
    assert CosemStartConfig.start_type is CosemStart


def test_channels_of_a_configuration_like_dacapos_are_taken() -> None:
    task = SimpleNamespace(channels=["a", "b"])
    given = SimpleNamespace(run="parent", criterion="5", task_config=task)
    assert Start(given).channels == ["a", "b"]


@pytest.mark.parametrize("config", [StartConfig("parent", "5"), CosemStartConfig(), None])
def test_the_two_are_told_apart_by_type(config: StartConfig | None) -> None:
    holder = Holder(start_config=config)  # type: ignore[arg-type]
    again = Holder.model_validate_json(holder.model_dump_json())
    assert again.start_config == config
    assert type(again.start_config) is type(config)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"run": "setup46", "criterion": "1634500"}, ["setup46", "setup45", "setup26.1"]),
        ({"run": "nothing"}, ["nothing", "setup04", "setup36"]),
        ({"run": "setup04", "criterion": "5"}, ["setup04/5", "1820500", "setup45/625000"]),
        ({"sha256": "abc"}, ["sha256"]),
    ],
)
def test_what_is_not_published_is_refused_with_what_is(
    values: dict[str, str], words: list[str]
) -> None:
    for make in (CosemStartConfig, CosemStartConfig.model_validate):
        with pytest.raises(ValidationError) as error:
            make(values)
        assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"run": "parent"}, "criterion"),
        ({"criterion": "5"}, "run"),
        ({"floor": 1.5}, "floor"),
        ({"policy": "lenient"}, "policy"),
        ({"freeze_iterations": -1}, "freeze_iterations"),
        ({"backbone_learning_rate_factor": 0}, "backbone_learning_rate_factor"),
        ({"freeze": 3}, "freeze"),
        ({"channels": ["mito", "er", "mito"]}, "channels"),
    ],
)
def test_bad_fields_are_named(values: dict[str, Any], field: str) -> None:
    if len(values) == 1 and field in values:
        values = {"run": "parent", "criterion": "5", **values}
    with pytest.raises(ValidationError, match=field):
        StartConfig(**values)


def test_too_much_by_position() -> None:
    with pytest.raises(TypeError, match="3 values"):
        StartConfig("a", "b", "c")
    with pytest.raises(TypeError, match="run given by position and by name"):
        StartConfig("a", run="b")


def test_the_schema_needs_no_torch() -> None:
    code = (
        "import sys; from dacapo_core.experiments.starts import *;"
        "StartConfig.model_json_schema(); CosemStartConfig().model_dump(); CosemStart({});"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
