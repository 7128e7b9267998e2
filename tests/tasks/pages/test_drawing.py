"""Charts have round numbers at their axes, whatever is drawn."""

from __future__ import annotations

import itertools
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from math import inf, nan
from xml.etree import ElementTree

import pytest

from tasks.pages.drawing import Line, disk_use_chart, line_chart, spread

SVG = "{http://www.w3.org/2000/svg}"


def texts(picture: bytes) -> list[str]:
    return [each.text or "" for each in ElementTree.fromstring(picture).iter(f"{SVG}text")]


def drawn(points: list[tuple[float, float]]) -> bytes:
    return line_chart([Line("loss", points, "#2563eb")], "iteration")


def test_the_axes_of_scores_have_round_numbers() -> None:
    chart = drawn([(32, 0.326), (64, 0.967), (192, 0.69)])
    assert {"0.2", "0.4", "0.6", "0.8", "1"} <= set(texts(chart))
    assert {"40", "100", "180"} <= set(texts(chart))


def test_the_axes_of_disk_use_have_round_numbers() -> None:
    start = datetime(2026, 3, 1, tzinfo=UTC)
    levels = [(start + timedelta(minutes=n), n * 4_030_000) for n in range(1, 11)]
    assert {"0 B", "20.0 MB", "40.0 MB", "4 min 0 s"} <= set(texts(disk_use_chart(levels)))


@pytest.mark.parametrize("value", [nan, inf, -inf])
def test_what_is_not_finite_is_left_out(value: float) -> None:
    assert drawn([(0, 2.0), (1, value), (2, 1.0)]) == drawn([(0, 2.0), (2, 1.0)])
    assert "nothing to draw yet" in texts(drawn([(0, value)]))


def test_a_single_point_is_drawn() -> None:
    picture = ElementTree.fromstring(drawn([(7, 0.5)]))
    assert len(list(picture.iter(f"{SVG}circle"))) == 1


def test_each_line_has_its_label_at_its_end_and_none_covers_another() -> None:
    ends = {f"channel {n}": 0.5 + n / 1000 for n in range(30)}
    chart = line_chart(
        [Line(name, [(0, 0.0), (10, end)], "#123456") for name, end in ends.items()], "iteration"
    )
    labels = {each.text: each for each in ElementTree.fromstring(chart).iter(f"{SVG}text")}
    tops = [float(labels[name].get("y", "")) for name in ends]
    assert all(above - below >= 13.9 for above, below in itertools.pairwise(tops))
    assert {labels[name].get("fill") for name in ends} == {"#123456"}
    last = ElementTree.fromstring(chart).find(f"{SVG}polyline")
    assert last is not None
    right = float(last.get("points", "").split()[-1].split(",")[0])
    assert all(float(labels[name].get("x", "")) > right for name in ends)


def test_labels_stay_in_the_picture() -> None:
    assert spread([5, 5, 90], 10, 100) == [5, 15, 90]
    assert spread([95, 96, 97], 10, 100) == [80, 90, 100]


def test_what_pruning_freed_is_between_two_lines() -> None:
    start = datetime(2026, 3, 1, tzinfo=UTC)
    on_disk = [(start, 10), (start + timedelta(hours=3), 20)]
    without = [(start, 10), (start + timedelta(hours=3), 50)]
    assert {"on disk", "without pruning"} <= set(texts(disk_use_chart(on_disk, without)))
    assert "without pruning" not in texts(disk_use_chart(on_disk))


def test_a_chart_imports_nothing_that_another_thread_may_be_importing() -> None:
    program = (
        "import sys; from tasks.pages.drawing import Line, line_chart; "
        "line_chart([Line('a', [(0, 1.0), (5, 2.0)], 'red')], 'x'); "
        "assert 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
