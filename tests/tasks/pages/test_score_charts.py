"""Scores are drawn and listed in words, and a channel has one colour wherever it is shown."""

from __future__ import annotations

import base64
import re
from xml.etree import ElementTree

import pytest

from dacapo_core.store.records.score_names import score_name
from tasks.pages.score_charts import best_table, channel_colours, score_charts

SVG = "{http://www.w3.org/2000/svg}"


def label_colours(chart: str) -> dict[str, str]:
    """Each label of a picture, and its colour."""
    picture = ElementTree.fromstring(base64.b64decode(chart))
    return {each.text or "": each.get("fill", "") for each in picture.iter(f"{SVG}text")}


def charts(datasets: list[str], channels: list[str]) -> tuple[str, list[dict[str, str]]]:
    keys = [
        f"{dataset}/{channel}{criterion}"
        for dataset in datasets
        for criterion in ("f1_score", "voi")
        for channel in ("", *(f"{each}__" for each in channels))
    ]
    page = score_charts({key: [(1, 0.1), (2, 0.2)] for key in keys}, dict.fromkeys(keys, 2))
    found = re.findall(r"data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)\)", page)
    return page, [label_colours(each) for each in found]


def test_a_channel_has_one_colour_in_all_charts_of_a_run_and_of_runs_with_other_criteria() -> None:
    _, (f1, voi) = charts(["held_out_0"], ["mito", "pm", "er"])
    assert {name: f1[name] for name in ("mito", "pm", "er", "all channels")} == {
        name: voi[name] for name in ("mito", "pm", "er", "all channels")
    }
    assert len({f1[name] for name in ("mito", "pm", "er", "all channels")}) == 4
    _, (of_two, *_) = charts(["other"], ["mito", "pm"])
    assert of_two["mito"] == f1["mito"]


def test_more_channels_than_colours_all_have_one() -> None:
    names = [f"channel {n}" for n in range(40)]
    colours = channel_colours(names)
    assert sorted(colours) == sorted(names)
    assert len(set(channel_colours(names[:16]).values())) == 16


def test_dataset_channel_and_criterion_are_words() -> None:
    page, (f1, _) = charts(["held_out_0"], ["mito"])
    assert "### F1 score on held out 0" in page
    assert "### Variation of information (VOI) on held out 0" in page
    assert {"mito", "all channels"} <= set(f1)
    page, (f1, _) = charts(["held_out_0", "held_out_1"], ["mito"])
    assert "### F1 score\n" in page
    assert {"mito, held out 0", "mito, held out 1", "all channels, held out 1"} <= set(f1)
    assert f1["mito, held out 0"] == f1["mito, held out 1"]
    assert "held_out" not in re.sub(r"base64,[^)]*", "", page)


@pytest.mark.parametrize(
    ("key", "dataset", "channel", "criterion"),
    [
        ("held_out_0/mito__f1_score", "held out 0", "mito", "F1 score"),
        ("val/voi", "val", "all channels", "variation of information (VOI)"),
        ("val/ecs_pm__mean_false_distance", "val", "ecs_pm", "mean false distance"),
        ("a/x__f1_score_with_tolerance", "a", "x", "F1 score with tolerance"),
    ],
)
def test_a_key_in_words(key: str, dataset: str, channel: str, criterion: str) -> None:
    of = score_name(key)
    assert (of.dataset_in_words, of.channel_in_words, of.criterion_in_words) == (
        dataset,
        channel,
        criterion,
    )


def test_the_best_over_all_channels_are_listed_first() -> None:
    table = best_table({"v/a__voi": (3, 0.25), "v/voi": (4, None)})
    assert table.splitlines()[2:] == [
        "| v | all channels | variation of information (VOI) | 4 | – |",
        "| v | a | variation of information (VOI) | 3 | 0.250 |",
    ]
