"""Stored types as tensors: no bit lost, ids told apart, values right."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dacapo_core.data.dtype_conversion import as_float32, stored_numbers, stored_tensor
from dacapo_core.data.preloaded_array import PreloadedArray
from dacapo_core.experiments.datasplits.datasets.arrays.array import NumpyArray


@pytest.mark.parametrize(
    "dtype", ["u1", "i1", "u2", ">u2", "i2", "u4", "<u4", "i4", "u8", ">u8", "i8", "f4", ">f4", "?"]
)
def test_values_and_ids_survive(dtype: str) -> None:
    kind = np.dtype(dtype)
    values = [0, 1] if kind.kind == "b" else [0, 1, 77]
    if kind.kind in "iu":
        values += [int(np.iinfo(kind).max), int(np.iinfo(kind).min)]
    stored = np.array(values, kind)
    tensor = stored_tensor(stored)
    assert as_float32(tensor, kind).numpy() == pytest.approx(stored.astype(np.float32))
    for place, value in enumerate(values):
        (number,) = stored_numbers([value], kind)
        assert (tensor == number).numpy()[place]
        assert (tensor == number).sum() == values.count(value)


def test_ids_that_a_type_cannot_hold_match_nothing() -> None:
    assert stored_numbers([-1, 3, 300], np.dtype("u1")) == [3]
    assert stored_numbers([2**63 + 5], np.dtype("u8")) == [5 - 2**63]
    assert stored_numbers([2**63 + 5], np.dtype("i8")) == []


def test_a_kept_part_reads_as_the_array_does() -> None:
    data = np.random.default_rng(0).integers(0, 2**16, (2, 9, 8, 7)).astype(">u2")
    plain = NumpyArray("a", data, (8.0, 8.0, 8.0))
    kept = PreloadedArray(plain)
    boxes = [((0, 0, 0), (9, 8, 7)), ((2, 1, 3), (5, 6, 7)), ((3, 2, 3), (4, 4, 4))]
    kept.keep((2, 1, 3), (7, 8, 7), torch.device("cpu"))
    assert kept.bytes_of((2, 1, 3), (7, 8, 7)) == 2 * 5 * 7 * 4 * 2
    for begin, end in boxes:
        assert np.array_equal(kept.read(begin, end), plain.read(begin, end))
        assert torch.equal(kept.start_crop(begin, end)(), stored_tensor(plain.read(begin, end)))
