"""Loading a state dict into a model: any layout into any other, heads by label, all or nothing."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dacapo_core.experiments.starts import LoadingReport, StartError
from dacapo_core.experiments.starts.loading import prepare_loading

State = dict[str, Tensor]
LAYOUTS = (
    "ours",
    "dacapo-0.3.5",
    "dacapo-main",
    "cellmap-models",
    "parallel",
    "compiled",
    "both",
    "compiled inside",
    "wrapped at every level",
)


class InLayout(nn.Module):
    """A model whose state dict has the keys of a given layout."""

    def __init__(self, state: State) -> None:
        super().__init__()
        for key, value in state.items():
            *path, name = key.split(".")
            parent: nn.Module = self
            for part in path:
                if part not in parent._modules:
                    parent.add_module(part, nn.Module())
                parent = parent._modules[part]  # type: ignore[assignment]
            parent.register_parameter(name, nn.Parameter(value.clone()))


@pytest.mark.parametrize(
    ("of", "into"), [*itertools.product(LAYOUTS, ["ours"]), *itertools.product(["ours"], LAYOUTS)]
)
def test_every_layout_loads_into_every_other(
    of: str, into: str, make_model: Any, layouts: dict[str, Callable[[State], State]]
) -> None:
    source = layouts[of](make_model(seed=1).state_dict())
    model = InLayout(layouts[into](make_model(seed=2).state_dict()))
    report = prepare_loading(model, source, policy="strict").carry_out()
    expected = layouts[into](make_model(seed=1).state_dict())
    assert all(torch.equal(value, expected[key]) for key, value in model.state_dict().items())
    assert report.share_loaded == 1
    assert set(report.loaded) == set(model.state_dict())
    for key in report.loaded:
        assert report.renamed.get(key, key) in source


@pytest.mark.parametrize("normalisation", [{"batch_norm": True}, {"normalisation": "instance"}])
def test_convolutions_find_each_other_past_normalisation(
    normalisation: dict[str, Any], make_model: Any
) -> None:
    source, model = make_model(seed=1), make_model(seed=2, **normalisation)
    report = prepare_loading(model, source.state_dict(), source_labels=["mito", "er"]).carry_out()
    assert report.body_share_loaded > 0.9
    assert {kept.reason for kept in report.reinitialised.values()} == {"not in the checkpoint"}
    assert not report.left_over
    first = model.architecture.unet[0].l_conv[0].conv_pass
    again = source.architecture.unet[0].l_conv[0].conv_pass
    assert torch.equal(first[3].weight, again[2].weight)
    assert torch.equal(first[4].weight, torch.ones(2))
    back = make_model(seed=3)
    assert prepare_loading(back, model.state_dict()).carry_out().body_share_loaded == 1
    assert torch.equal(
        back.state_dict()["architecture.unet.0.l_conv.0.conv_pass.2.weight"], again[2].weight
    )


def test_a_unet_with_upsampling_gives_to_one_without(make_model: Any) -> None:
    model = make_model(seed=2, upsample_factors=[])
    report = prepare_loading(
        model, make_model(seed=1).state_dict(), source_labels=["mito", "er"]
    ).carry_out()
    assert report.body_share_loaded == 1
    assert {key.split(".")[2] for key in report.left_over} == {"1", "2"}


def test_rows_are_matched_by_label_whatever_their_order(make_model: Any) -> None:
    source = make_model(["ecs", "pm", "mito", "er"], seed=1)
    model = make_model(["ves", "er", "pm"], seed=2)
    before = model.prediction_head.weight.detach().clone()
    report = prepare_loading(
        model, source.state_dict(), source_labels=["ecs", "pm", "mito", "er"]
    ).carry_out()
    theirs, ours = source.prediction_head, model.prediction_head
    for row, old in ((1, 3), (2, 1)):
        assert torch.equal(ours.weight[row], theirs.weight[old])
        assert torch.equal(ours.bias[row], theirs.bias[old])
    assert torch.equal(ours.weight[0], before[0])
    assert [(row.label, row.row, row.source) for row in report.head_rows] == [
        ("ves", 0, None),
        ("er", 1, 3),
        ("pm", 2, 1),
    ]
    assert report.matched_labels == ["er", "pm"]
    assert report.new_labels == ["ves"]
    assert report.unused_labels == ["ecs", "mito"]
    assert set(report.head_tensors) == {"prediction_head.weight", "prediction_head.bias"}
    total = sum(value.numel() for value in model.state_dict().values())
    head_size = sum(value.numel() for value in ours.state_dict().values())
    assert report.share_loaded == pytest.approx((total - head_size / 3) / total)


def test_labels_given_win_over_the_models(make_model: Any) -> None:
    source, model = make_model(["a", "b"], seed=1), make_model(["x", "y"], seed=2)
    report = prepare_loading(
        model, source.state_dict(), source_labels=["a", "b"], labels=["b", "a"]
    ).carry_out()
    assert report.matched_labels == ["b", "a"]
    assert torch.equal(model.prediction_head.weight[0], source.prediction_head.weight[1])


def test_a_head_without_labels_on_either_side_is_taken_whole(make_model: Any) -> None:
    source, model = make_model(seed=1), make_model(seed=2)
    model.channels = []
    report = prepare_loading(model, source.state_dict()).carry_out()
    assert torch.equal(model.prediction_head.weight, source.prediction_head.weight)
    assert [row.label for row in report.head_rows] == [None, None]
    assert "without labels" in report.summary()


def test_labels_on_one_side_only_are_no_match(make_model: Any) -> None:
    source, model = make_model(seed=1), make_model(seed=2)
    before = model.prediction_head.weight.detach().clone()
    for labels in (None, []):
        report = prepare_loading(model, source.state_dict(), source_labels=labels).carry_out()
        assert torch.equal(model.prediction_head.weight, before)
        assert report.new_labels == ["mito", "er"]
        assert set(report.reinitialised) == {"prediction_head.weight", "prediction_head.bias"}
    model.channels = []
    report = prepare_loading(model, source.state_dict(), source_labels=["mito", "er"]).carry_out()
    assert torch.equal(model.prediction_head.weight, before)
    assert report.unused_labels == ["mito", "er"]


@pytest.mark.parametrize("bias", ["neither", "source", "model"])
def test_a_head_may_have_no_bias(bias: str, make_model: Any) -> None:
    source, model = make_model(seed=1), make_model(seed=2)
    if bias != "source":
        source.prediction_head.bias = None
    if bias != "model":
        model.prediction_head.bias = None
    report = prepare_loading(model, source.state_dict(), source_labels=["mito", "er"]).carry_out()
    assert torch.equal(model.prediction_head.weight, source.prediction_head.weight)
    assert report.matched_labels == ["mito", "er"]
    assert set(report.reinitialised) == ({"prediction_head.bias"} if bias == "model" else set())
    assert set(report.left_over) == ({"prediction_head.bias"} if bias == "source" else set())


def test_a_head_of_several_layers(make_model: Any) -> None:
    def with_deep_head(seed: int, channels: list[str]) -> Any:
        model = make_model(channels, seed)
        model.prediction_head = nn.Sequential(
            nn.Conv3d(4, 5, 1), nn.ReLU(), nn.Conv3d(5, len(channels), 1), nn.Tanh()
        )
        return model

    source, model = with_deep_head(1, ["a", "b", "c"]), with_deep_head(2, ["c", "d"])
    report = prepare_loading(model, source.state_dict(), source_labels=["a", "b", "c"]).carry_out()
    assert torch.equal(model.prediction_head[0].weight, source.prediction_head[0].weight)
    assert torch.equal(model.prediction_head[2].weight[0], source.prediction_head[2].weight[2])
    assert report.matched_labels == ["c"]
    plain = make_model(["a", "b"], 3)
    assert (
        prepare_loading(plain, source.state_dict(), source_labels=["a", "b", "c"])
        .carry_out()
        .matched_labels
        == []
    )


def test_a_model_of_another_kind_has_its_last_layer_as_head() -> None:
    def network(rows: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, rows, 1, bias=False))

    source, model = network(3), network(2)
    report = prepare_loading(
        model, source.state_dict(), source_labels=["a", "b", "c"], labels=["c", "a"]
    ).carry_out()
    assert torch.equal(model[0].weight, source[0].weight)
    assert torch.equal(model[2].weight, source[2].weight[[2, 0]])
    assert report.share_loaded == 1


def test_two_dimensions(make_model: Any) -> None:
    flat = {
        "input_shape": (20, 20),
        "downsample_factors": [(2, 2)],
        "upsample_factors": [(2, 2)],
    }
    source, model = make_model(["a", "b"], 1, **flat), make_model(["b"], 2, **flat)
    report = prepare_loading(model, source.state_dict(), source_labels=["a", "b"]).carry_out()
    assert torch.equal(model.prediction_head.weight[0], source.prediction_head.weight[1])
    assert report.body_share_loaded == 1


def test_the_callers_dict_is_untouched_and_the_optimizer_keeps_its_parameters(
    make_model: Any,
) -> None:
    source, model = make_model(seed=1), make_model(seed=2)
    state = source.state_dict()
    before = {key: value.clone() for key, value in state.items()}
    parameters = list(model.parameters())
    prepare_loading(model, state).carry_out()
    assert list(state) == list(before)
    assert all(torch.equal(state[key], value) for key, value in before.items())
    assert all(a is b for a, b in zip(parameters, model.parameters(), strict=True))
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_half_precision_loads_into_single(make_model: Any) -> None:
    source, model = make_model(seed=1), make_model(seed=2)
    prepare_loading(
        model, {key: value.half() for key, value in source.state_dict().items()}
    ).carry_out()
    assert model.prediction_head.weight.dtype == torch.float32
    torch.testing.assert_close(
        model.architecture.unet[1].up[1].weight,
        source.architecture.unet[1].up[1].weight,
        atol=1e-3,
        rtol=1e-2,
    )


def spoil(key: str, value: float) -> Callable[[State], State]:
    def change(state: State) -> State:
        changed = state[key].clone()
        changed.view(-1)[0] = value
        return state | {key: changed}

    return change


WEIGHT = "architecture.unet.0.l_conv.1.conv_pass.2.weight"


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        (lambda state: {}, {}, ["0.0%", "another architecture"]),
        (
            lambda state: {k: v for k, v in state.items() if k.startswith("prediction_head")},
            {"floor": 0},
            ["0.0%"],
        ),
        (lambda state: {"encoder.weight": torch.ones(3, 3)}, {}, ["encoder.weight"]),
        (
            lambda state: {k: v for k, v in state.items() if "r_conv" not in k},
            {},
            ["90%", "r_conv", "not in the checkpoint"],
        ),
        (lambda state: state | {WEIGHT: torch.ones(5, 4, 3, 3, 3)}, {"floor": 0.95}, ["shape"]),
        (lambda state: state | {WEIGHT: torch.ones(5)}, {"policy": "strict"}, [WEIGHT]),
        (
            lambda state: state | {"other.weight": torch.ones(5)},
            {"policy": "strict", "source_labels": ["mito", "er"]},
            ["other.weight is not used"],
        ),
        (lambda state: state, {"policy": "strict", "source_labels": ["er", "x"]}, ["mito"]),
        (lambda state: state, {"source_labels": ["er", "er"]}, ["er twice"]),
        (lambda state: state, {"source_labels": ["er"]}, ["2 output channels", "1 label"]),
        (lambda state: state, {"labels": ["er", "pm", "mito"]}, ["2 output channels", "3 labels"]),
        (lambda state: state, {"labels": ["er", "er"]}, ["er twice"]),
        (
            lambda state: state | {WEIGHT.replace("architecture", "chain.0"): torch.ones(4)},
            {},
            ["disagree", "chain.0.unet"],
        ),
        (
            lambda state: (
                state | {WEIGHT.replace("architecture", "chain.0"): torch.zeros_like(state[WEIGHT])}
            ),
            {},
            ["disagree", WEIGHT],
        ),
        (spoil(WEIGHT, float("nan")), {}, [WEIGHT, "not finite"]),
        (
            spoil("prediction_head.bias", float("inf")),
            {"labels": ["er", "mito"], "source_labels": ["mito", "er"]},
            ["prediction_head.bias", "not finite"],
        ),
        (lambda state: state | {WEIGHT: state[WEIGHT].int()}, {}, [WEIGHT, "int32"]),
    ],
)
def test_what_is_no_start_is_refused_and_the_model_untouched(
    change: Callable[[State], State],
    options: dict[str, Any],
    words: list[str],
    make_model: Any,
    unchanged: Any,
) -> None:
    state = dict(make_model(seed=1).state_dict())
    model = make_model(seed=2)
    still_the_same = unchanged(model)
    with pytest.raises(StartError) as error:
        prepare_loading(
            model, change(state), run="source", criterion="latest", **options
        ).carry_out()
    for word in words:
        assert word in str(error.value)
    assert still_the_same()


def test_a_head_on_other_feature_maps_is_said_with_both_shapes(make_model: Any) -> None:
    state = dict(make_model(seed=1).state_dict())
    state["prediction_head.weight"] = torch.ones(2, 7, 1, 1, 1)
    model = make_model(seed=2)
    before = model.prediction_head.bias.detach().clone()
    report = prepare_loading(model, state, source_labels=["mito", "er"]).carry_out()
    kept = report.reinitialised["prediction_head.weight"]
    assert (kept.reason, kept.shape, kept.source_shape) == (
        "shape differs",
        (2, 4, 1, 1, 1),
        (2, 7, 1, 1, 1),
    )
    assert report.new_labels == ["mito", "er"]
    assert torch.equal(model.prediction_head.bias, before)


def test_a_model_without_values_is_refused(make_model: Any) -> None:
    state = make_model(seed=1).state_dict()
    with pytest.raises(StartError, match="meta"):
        prepare_loading(make_model(seed=2).to("meta"), state).carry_out()


def test_below_one_a_floor_can_be_lowered(make_model: Any) -> None:
    state = {k: v for k, v in make_model(seed=1).state_dict().items() if "r_conv" not in k}
    report = prepare_loading(make_model(seed=2), state, floor=0.1).carry_out()
    assert 0.1 < report.body_share_loaded < 0.9
    assert all("r_conv" in key for key, kept in report.reinitialised.items() if not kept.head)


def test_a_share_that_is_not_all_is_rounded_down() -> None:
    report = LoadingReport(share_loaded=0.99999, body_share_loaded=1.0)
    assert "99.9% of the parameters loaded, 100.0% of the body" in report.summary()


def test_the_report_survives_json_and_reads_in_a_few_lines(make_model: Any) -> None:
    source = make_model(["mito", "pm"], seed=1)
    state = {
        k.replace("architecture.unet.", "backbone."): v for k, v in source.state_dict().items()
    }
    state["extra.weight"] = torch.ones(3)
    model = make_model(["er", "mito"], seed=2)
    report = prepare_loading(
        model, state, source_labels=["mito", "pm"], run="setup04", criterion="1820500"
    ).carry_out()
    assert LoadingReport.model_validate_json(report.model_dump_json()) == report
    summary = report.summary()
    assert len(summary.splitlines()) <= 4
    for word in ("setup04/1820500", "100.0% of the body", "mito 0→1", "new: er", "extra.weight"):
        assert word in summary
    table = report.table()
    assert len({tuple(row) for row in table}) == 1
    assert {row["what"] for row in table} == {"renamed", "head row", "new", "not used"}
    assert len([row for row in table if row["what"] in ("head row", "new")]) == 2
    unused = [row["tensor"] for row in table if row["what"] == "not used"]
    assert unused == ["channel pm", *report.left_over]
