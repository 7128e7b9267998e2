"""What Prefect's form makes of a flow's parameters: what a person sets first, the rest folded."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import jsonschema
import pytest
from prefect.utilities.callables import parameter_schema

from deployments.parameter_forms import Schema, form
from flows.finetune import FINETUNED

FLOWS = ["train", "finetune", "validate", "prune", "sweep"]


def shaped(flow: str) -> tuple[Schema, Schema]:
    """The schema as Prefect makes it, and the form's."""
    found = parameter_schema(getattr(importlib.import_module(f"flows.{flow}"), flow).fn)
    schema = found.model_dump_for_openapi()
    return schema, form(schema)


def first_tab(field: Mapping[str, Any]) -> Mapping[str, Any]:
    tab: Mapping[str, Any] = field["anyOf"][0]
    return tab


@pytest.mark.parametrize("flow", FLOWS)
def test_the_defaults_stay_what_they_are_and_valid(flow: str) -> None:
    schema, shape = shaped(flow)
    for name, field in schema["properties"].items():
        assert shape["properties"][name].get("default") == field.get("default")
    given = {n: f["default"] for n, f in schema["properties"].items() if f.get("default")}
    jsonschema.validate({"run": "any"} | given if flow == "validate" else given, shape)


def test_what_a_person_sets_comes_first_and_the_rest_is_one_line_each() -> None:
    _, shape = shaped("finetune")
    run = shape["properties"]["run"]
    order = sorted(run["properties"], key=lambda name: run["properties"][name]["position"])
    assert order[:5] == [
        *("name", "start_config", "num_iterations", "validation_interval", "batch_size")
    ]
    for name in ("start_config", "task_config", "architecture_config", "trainer_config"):
        tab = first_tab(run["properties"][name])
        assert tab["title"] == "Default"
        assert tab["const"] == FINETUNED.model_dump(mode="json")[name]
    assert "channels ves, pm, mito" in first_tab(run["properties"]["task_config"])["description"]
    for name in ("source", "retention"):
        assert first_tab(shape["properties"][name])["title"] == "Default"
    assert first_tab(shape["properties"]["retention"])["description"] == "keep_last 2"


def test_the_fields_behind_a_fold_begin_with_the_forms_own_default() -> None:
    _, shape = shaped("finetune")
    default, fields = shape["properties"]["run"]["properties"]["trainer_config"]["anyOf"]
    assert fields["title"] == "TrainerConfig"
    defaults = {name: field["default"] for name, field in fields["properties"].items()}
    assert defaults == default["const"]
    assert defaults["warmup_iterations"] == 5
    start = shape["properties"]["run"]["properties"]["start_config"]["anyOf"]
    assert [kind.get("title") or kind.get("$ref") or kind["type"] for kind in start] == [
        *("Default", "StartConfig", "#/definitions/CosemStartConfig", "null")
    ]


@pytest.mark.parametrize(
    "given",
    [
        {"run": {"trainer_config": {"bogus": 1}}},
        {"run": {"trainer_config": {"warmup_iterations": -3}}},
        {"run": {"num_iteration": 3}},
        {"retention": {"keep_lst": 1}},
        {"retention": {"keep_last": 0}},
    ],
    ids=str,
)
def test_a_mistake_is_told_as_without_the_folds(given: dict[str, Any]) -> None:
    said = []
    for schema in shaped("train"):
        with pytest.raises(jsonschema.ValidationError) as refused:
            jsonschema.validate(given, schema)
        said.append((refused.value.json_path, refused.value.message))
    assert said[0] == said[1]


def test_the_policy_of_a_pruning_is_not_folded() -> None:
    schema, shape = shaped("prune")
    assert shape["properties"] == schema["properties"]


def test_a_run_that_uses_no_cosem_network_says_so_in_its_first_line() -> None:
    import flows.finetune as module

    _, shape = shaped("finetune")
    assert "no COSEM network is used" in shape["properties"]["run"]["description"].split(":")[0]
    assert "no COSEM network is used" in str(module.finetune.fn.__doc__).splitlines()[0]
