"""Telling a model's backbone from its head, and treating the two differently."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from dacapo_core.experiments.starts.model_head import (
    freeze_backbone,
    head_prefix,
    parameter_groups,
    split_parameters,
)


def test_every_parameter_is_in_one_of_the_two(make_model: Any) -> None:
    model = make_model()
    backbone, head = split_parameters(model)
    assert [name for name, _ in head] == ["prediction_head.weight", "prediction_head.bias"]
    assert [parameter for _, parameter in backbone + head] == list(model.parameters())


def test_the_head_is_found_inside_wrappers_and_in_other_models(make_model: Any) -> None:
    model = make_model()
    assert head_prefix(nn.DataParallel(model)) == "prediction_head."
    assert head_prefix(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 3, 1))) == "2."
    assert head_prefix(nn.Sequential(nn.ReLU())) == ""


def test_the_parameters_of_a_wrapped_model_are_told_apart(make_model: Any) -> None:
    plain = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sequential(nn.ReLU(), nn.Conv2d(2, 3, 1)))
    inside = nn.Sequential(plain[0], nn.DataParallel(plain[1]))
    for model in (plain, inside, nn.DataParallel(inside)):
        assert head_prefix(model) == "1.1."
        backbone, head = split_parameters(model)
        assert [parameter for _, parameter in backbone] == list(plain[0].parameters())
        assert [parameter for _, parameter in head] == list(plain[1].parameters())


@pytest.mark.slow
def test_the_head_of_a_compiled_model(make_model: Any) -> None:
    model = torch.compile(make_model())
    assert head_prefix(model) == "prediction_head."  # type: ignore[arg-type]
    assert len(split_parameters(model)[1]) == 2  # type: ignore[arg-type]


def test_groups_have_their_learning_rates_and_the_models_order(make_model: Any) -> None:
    model = make_model()
    groups = parameter_groups(model, 1e-2, 0.1)
    assert [(group["name"], group["lr"]) for group in groups] == [
        ("backbone", 1e-3),
        ("head", 1e-2),
    ]
    optimizer = torch.optim.AdamW(groups)
    flat = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    assert all(a is b for a, b in zip(flat, model.parameters(), strict=True))


def test_a_frozen_backbone_stays_and_the_head_learns(make_model: Any) -> None:
    model = make_model()
    optimizer = torch.optim.AdamW(parameter_groups(model, 1e-2), weight_decay=0.1)
    before = {name: value.clone() for name, value in model.state_dict().items()}

    def step() -> None:
        optimizer.zero_grad()
        model(torch.ones(1, 1, 20, 20, 20)).square().mean().backward()
        optimizer.step()

    freeze_backbone(model, True)
    step()
    moved = {name for name, value in model.state_dict().items() if not value.equal(before[name])}
    assert moved == {"prediction_head.weight", "prediction_head.bias"}
    freeze_backbone(model, False)
    step()
    assert not model.state_dict()["architecture.unet.1.up.1.weight"].equal(
        before["architecture.unet.1.up.1.weight"]
    )


def test_a_frozen_backbone_keeps_its_batch_norm_statistics(make_model: Any) -> None:
    model = make_model(batch_norm=True)
    model.prediction_head = nn.Sequential(model.prediction_head, nn.BatchNorm3d(2))

    def moved() -> set[str]:
        before = {name: value.clone() for name, value in model.named_buffers()}
        model(torch.randn(2, 1, 20, 20, 20))
        return {
            name.split(".")[0]
            for name, value in model.named_buffers()
            if not value.equal(before[name])
        }

    freeze_backbone(model, True)
    assert moved() == {"prediction_head"}
    freeze_backbone(model, False)
    assert moved() == {"architecture", "prediction_head"}
    model.eval()
    freeze_backbone(model, False)
    assert moved() == set()
