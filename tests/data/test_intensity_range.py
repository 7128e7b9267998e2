"""Which raw values become -1 and 1: the decision alone."""

from __future__ import annotations

import numpy as np
import pytest

from dacapo_core.data.intensity_range import (
    Intensities,
    apart,
    compared_with_start,
    described,
    range_of_sample,
    shared_or_own,
    type_range,
)

RANDOM = np.random.default_rng(0)


def found(values: np.ndarray, *padding: float) -> tuple[float, float] | None:
    return range_of_sample([values], padding, values.dtype)


def test_hot_pixels_and_padding_do_not_widen_the_range() -> None:
    values = RANDOM.integers(1000, 3000, 100_000).astype(np.uint16)
    clean = found(values)
    assert clean == pytest.approx((1010, 2990), abs=5)
    values[::1000] = 65535
    values[: len(values) // 5] = 0
    assert found(values, 0.0) == pytest.approx(clean, abs=15)


def test_8_bits_that_are_used_keep_their_range_and_others_get_their_own() -> None:
    used = np.clip(RANDOM.normal(128, 30, 50_000), 0, 255)
    assert found(used.astype(np.uint8)) == (0, 255)
    assert found((used - 128).astype(np.int8)) == (-128, 127)
    assert found(RANDOM.integers(100, 140, 50_000).astype(np.uint8)) == (100, 139)
    low, high = found((used * 257).astype(np.uint16)) or (0, 0)
    assert low > 10_000
    assert high < 55_000
    assert found(RANDOM.random(1000) < 0.5) == (0, 1)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_floating_point_data_has_a_range_whatever_its_scale(scale: float) -> None:
    values = scale * (7 + RANDOM.random(50_000))
    for dtype in (np.float32, np.float64):
        assert found(values.astype(dtype)) == pytest.approx((7.005 * scale, 7.995 * scale), 1e-3)
    values[5] = np.nan
    values[6] = np.inf
    assert found(values) == pytest.approx((7.005 * scale, 7.995 * scale), 1e-3)


def test_few_bright_spots_are_no_constant() -> None:
    values = np.zeros(10_000, np.uint16)
    values[7] = 900
    assert found(values) == (0, 900)
    assert found(values, 0.0) == (0, 900)
    assert range_of_sample([], (3.0, 8.0), np.dtype(np.uint16)) == (3, 8)


def test_what_does_not_vary_has_no_range() -> None:
    assert found(np.full(100, 5.0)) is None
    assert found(np.full(100, np.nan)) is None
    assert range_of_sample([], (4.0, 4.0), np.dtype(np.uint8)) is None


@pytest.mark.parametrize(
    ("ranges", "shared"),
    [
        ({"a": (1000, 3000)}, (1000, 3000)),
        ({"a": (1000, 3000), "b": (1100, 2900)}, (1000, 3000)),
        ({"a": (1000, 3000), "b": (2000, 4000)}, (1000, 4000)),
        ({"a": (0, 2), "b": (0, 1)}, (0, 2)),
        ({"a": (0, 2.1), "b": (0, 1)}, None),
        ({"a": (0, 1), "b": (5, 6)}, None),
        ({"a": (0, 255), "b": (1000, 3000), "c": (0, 255)}, None),
        ({"a": (-3, -1), "b": (-3, -2)}, (-3, -1)),
        ({}, None),
    ],
)
def test_volumes_share_a_range_unless_they_are_more_than_twice_apart(
    ranges: dict[str, tuple[float, float]], shared: tuple[float, float] | None
) -> None:
    expected = ranges if shared is None else dict.fromkeys(ranges, shared)
    assert shared_or_own(ranges) == expected


def test_how_far_ranges_are_apart() -> None:
    assert apart((0, 1), (0, 1)) == 1
    assert apart((0, 1), (0.5, 1.5)) == 1.5 == apart((0.5, 1.5), (0, 1))


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("uint8", (0, 255)),
        ("int16", (-32768, 32767)),
        ("uint32", (0, 2**32 - 1)),
        ("bool", (0, 1)),
        ("float16", (-1, 1)),
    ],
)
def test_without_a_range_of_its_own_an_array_has_that_of_its_type(
    dtype: str, expected: tuple[float, float]
) -> None:
    assert type_range(np.dtype(dtype)) == expected
    assert Intensities({"other": (0, 7)}).range_of("this", np.dtype(dtype)) == expected


def test_what_is_kept_is_what_comes_back_or_an_error() -> None:
    kept = Intensities({"/data/a": (1010.5, 2990.25), "b": (-1e-7, 3e8)})
    assert Intensities.from_json(kept.to_json()) == kept
    for damaged in ({}, {"ranges": 5}, {"ranges": {"a": [1]}}, {"ranges": {"a": [2, 2]}}):
        with pytest.raises(ValueError, match="intensities"):
            Intensities.from_json(damaged)


def test_one_line_says_what_raw_data_becomes() -> None:
    same = (1010.0, 2990.0)
    assert described({"a": same}) == "raw data: 1,010 to 2,990 become -1 to 1 in the one volume"
    assert "become -1 to 1 in all 2 volumes" in described({"a": same, "b": same})
    assert described({"a": (-1.0, 1.0)}).endswith("taken as it is")
    each = described({"a": same, "b": (0.0, 0.25), "c": same})
    assert "1,010 to 2,990 in 'a', 'c'; 0 to 0.25 in 'b'" in each
    many = described({str(index): (0.0, 1.0 + index // 6) for index in range(60)})
    assert "and 2 more" in many
    assert "and 6 other ranges" in many


def test_a_start_s_range_is_offered_and_a_large_difference_said() -> None:
    near, far = compared_with_start([(1000, 3000)], [(1100.0, 2900.5)], "base/latest")
    assert "base/latest was trained with 1,100 to 2900" in near
    assert "intensity_range: [1100, 2900.5]" in near
    assert not far
    said, far = compared_with_start([(1000, 3000)], [(0, 65535)], "base/latest")
    assert "intensity_range: [0, 65535]" in said
    assert "32.8 times" in said
    assert far
    assert "the same range" in compared_with_start([(0, 255)] * 2, [(0, 255)], "b")[0]
    assert (
        "each of its volumes: 0 to 255; 3 to 4"
        in (compared_with_start([(0, 255)], [(0, 255), (3, 4)], "b")[0])
    )
