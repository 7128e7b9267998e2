"""RunConfig: defaults, files, refusals, differences, and what a form makes of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from dacapo_core.experiments.run_config import RunConfig


def test_every_field_has_a_default_and_survives_storing() -> None:
    config = RunConfig()
    assert RunConfig.model_validate(json.loads(config.model_dump_json())) == config


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "run.yaml",
            "name: mine\ntask_config:\n  type: distance\n  channels: [mito]\n"
            "start_config:\n  type: cosem\n  run: setup04\n",
        ),
        (
            "run.toml",
            'name = "mine"\n[task_config]\ntype = "distance"\nchannels = ["mito"]\n'
            '[start_config]\ntype = "cosem"\nrun = "setup04"\n',
        ),
    ],
)
def test_from_file_takes_what_the_file_says_and_defaults_for_the_rest(
    tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / name).write_text(text)
    config = RunConfig.from_file(tmp_path / name)
    assert config.name == "mine"
    assert (config.task_config.type, config.task_config.channels) == ("distance", ["mito"])
    assert config.start_config is not None
    assert config.start_config.type == "cosem"
    assert config.num_iterations == RunConfig().num_iterations


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("run.json", "{}", "must end in .yaml"),
        ("run.yaml", "- a\n- b\n", "must hold fields and values, not a list"),
        ("run.yaml", "a: [", "cannot read run configuration"),
        ("run.toml", "a = ", "cannot read run configuration"),
    ],
)
def test_from_file_refuses_what_is_no_configuration(
    tmp_path: Path, name: str, text: str, says: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=says):
        RunConfig.from_file(tmp_path / name)


def test_from_file_names_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.yaml"):
        RunConfig.from_file(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({"iterations": 5}, ["iterations"]),
        ({"trainer_config": {"learnin_rate": 1}}, ["trainer_config.learnin_rate"]),
        ({"validation_interval": 0}, ["validation_interval"]),
        ({"name": "../evil"}, ["name", "evil"]),
        ({"name": "configs"}, ["name", "configs"]),
        ({"task_config": {"type": "one_hot", "channels": ["a", "a"]}}, ["named twice: a"]),
        ({"task_config": {"type": "affinities"}}, ["one_hot", "distance"]),
        (
            {"batch_size": 3, "trainer_config": {"gradient_accumulation": 2}},
            ["batch_size 3", "trainer_config.gradient_accumulation 2"],
        ),
        (
            {"task_config": {"type": "distance", "clipmin": 0.5, "clipmax": 0.5}},
            ["clipmin 0.5", "clipmax 0.5"],
        ),
    ],
)
def test_unknown_and_contradictory_fields_are_refused_by_name(
    values: dict[str, Any], names: list[str]
) -> None:
    with pytest.raises(ValidationError) as caught:
        RunConfig.model_validate(values)
    for name in names:
        assert name in str(caught.value)


def test_one_hot_channels_may_be_called_classes_as_in_dacapo() -> None:
    config = RunConfig.model_validate({"task_config": {"type": "one_hot", "classes": ["a", "b"]}})
    assert config.task_config.channels == ["a", "b"]


def test_difference_names_nested_fields_with_both_values() -> None:
    changed = RunConfig.model_validate({"seed": 3, "trainer_config": {"ema_decay": 0.9}})
    assert RunConfig().difference(changed) == {
        "seed": (0, 3),
        "trainer_config.ema_decay": (None, 0.9),
    }
    assert RunConfig().difference(RunConfig()) == {}


@pytest.mark.parametrize(
    ("iterations", "interval", "expected"),
    [(10, 4, [4, 8, 10]), (8, 4, [4, 8]), (3, 4, [3])],
)
def test_the_last_iteration_is_always_validated(
    iterations: int, interval: int, expected: list[int]
) -> None:
    config = RunConfig(num_iterations=iterations, validation_interval=interval)
    assert config.validation_iterations() == expected


def test_the_schema_describes_every_field_and_needs_no_torch() -> None:
    code = (
        "import json, sys\n"
        "from dacapo_core.experiments.run_config import RunConfig\n"
        "print(json.dumps([RunConfig.model_json_schema(), 'torch' in sys.modules]))"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout
    schema, torch_imported = json.loads(output)
    assert not torch_imported
    models = {"RunConfig": schema, **schema["$defs"]}
    undescribed = [
        f"{model}.{field}"
        for model, definition in models.items()
        for field, value in definition.get("properties", {}).items()
        if "description" not in value and field != "type"
    ]
    assert undescribed == []
    for field in ("task_config", "datasplit_config"):
        assert schema["properties"][field]["discriminator"]["propertyName"] == "type"
