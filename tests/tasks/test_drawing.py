"""Charts have round numbers at their axes, whatever is drawn."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import inf, nan
from xml.etree import ElementTree

import pytest

from tasks.pages.drawing import disk_use_chart, line_chart

SVG = "{http://www.w3.org/2000/svg}"


def texts(picture: bytes) -> list[str]:
    return [each.text or "" for each in ElementTree.fromstring(picture).iter(f"{SVG}text")]


def test_the_axes_of_scores_have_round_numbers() -> None:
    chart = line_chart({"dice": [(32, 0.326), (64, 0.967), (192, 0.69)]}, "iteration")
    assert {"0.2", "0.4", "0.6", "0.8", "1"} <= set(texts(chart))
    assert {"40", "100", "180"} <= set(texts(chart))


def test_the_axes_of_disk_use_have_round_numbers() -> None:
    start = datetime(2026, 3, 1, tzinfo=UTC)
    levels = [(start + timedelta(minutes=n), n * 4_030_000) for n in range(1, 11)]
    assert {"0 B", "20.0 MB", "40.0 MB", "4 min 0 s"} <= set(texts(disk_use_chart(levels)))


@pytest.mark.parametrize("value", [nan, inf, -inf])
def test_what_is_not_finite_is_left_out(value: float) -> None:
    whole = line_chart({"loss": [(0, 2.0), (2, 1.0)]}, "iteration")
    assert line_chart({"loss": [(0, 2.0), (1, value), (2, 1.0)]}, "iteration") == whole
    assert "nothing to draw yet" in texts(line_chart({"loss": [(0, value)]}, "iteration"))


def test_a_single_point_is_drawn() -> None:
    drawn = ElementTree.fromstring(line_chart({"loss": [(7, 0.5)]}, "iteration"))
    assert len(list(drawn.iter(f"{SVG}circle"))) == 2  # the point, and its line's name
