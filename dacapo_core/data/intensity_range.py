"""Which raw values become -1 and 1, decided from what was seen of the volumes. Pure.

Records of runs are read with this, so numpy is imported only where values are looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Range = tuple[float, float]
"""Raw values that become -1 and 1."""

AS_IT_IS: Range = (-1.0, 1.0)

# per cent: what is beyond is hot pixels, dust, the rim of padding
LOW, HIGH = 0.5, 99.5
# of the range of 8 bits: data that spans so much was made to use it
USED = 1 / 3
# ranges that together span more than so many times one of them are not shared
APART = 2.0

_SHOWN = 4


@dataclass(frozen=True)
class Intensities:
    """What a run makes of raw data.

    Attributes:
        ranges: array → its range. One that is not here has the range of its type.
    """

    ranges: Mapping[str, Range] = field(default_factory=dict)

    def range_of(self, array: str, dtype: np.dtype[Any]) -> Range:
        """Raw values of an array that become -1 and 1."""
        return self.ranges.get(array) or type_range(dtype)

    def to_json(self) -> dict[str, Any]:
        """As JSON, for the run's record."""
        return {"ranges": {array: list(found) for array, found in self.ranges.items()}}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Intensities:
        """From what `to_json` returned.

        Raises:
            ValueError: it is something else.
        """
        try:
            ranges = {
                str(array): (float(low), float(high))
                for array, (low, high) in values["ranges"].items()
            }
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"no ranges of intensities: {error!r}") from error
        if not all(low < high for low, high in ranges.values()):
            raise ValueError(f"ranges of intensities that are empty: {ranges}")
        return cls(ranges)


def type_range(dtype: np.dtype[Any]) -> Range:
    """The whole range of an integer type; floating-point data as it is."""
    if dtype.kind == "b":
        return (0.0, 1.0)
    numbers = 2 ** (8 * dtype.itemsize)
    if dtype.kind == "u":
        return (0.0, float(numbers - 1))
    if dtype.kind == "i":
        return (-numbers / 2, numbers / 2 - 1)
    return AS_IT_IS


def range_of_sample(
    blocks: Sequence[NDArray[Any]], padding: Sequence[float], dtype: np.dtype[Any]
) -> Range | None:
    """The range of an array of which some voxels were seen; None where they are all the same.

    Data of 8 bits that uses them keeps their whole range.

    Args:
        blocks: voxels of places that are not constant.
        padding: values of the places that are: padding, or chunks that were never written.
    """
    import numpy as np

    none = np.empty(0, np.float32)
    seen = np.concatenate([none, *(block.astype(np.float32).ravel() for block in blocks)])
    seen = seen[np.isfinite(seen)]
    data = seen[~np.isin(seen, np.asarray(padding, np.float32))]
    for values in (data, seen, np.concatenate([seen, np.asarray(padding, np.float32)])):
        found = _spread(values)
        if found is not None:
            return _kept_whole(found, dtype) or found
    return None


def shared_or_own(found: Mapping[str, Range]) -> dict[str, Range]:
    """One range for all arrays; each its own where they are more than `APART` from each other."""
    if not found:
        return {}
    union = (min(low for low, _ in found.values()), max(high for _, high in found.values()))
    if all(apart(union, each) <= APART for each in found.values()):
        return dict.fromkeys(found, union)
    return dict(found)


def apart(one: Range, other: Range) -> float:
    """How many times the narrower of two ranges both together span; 1 where they are equal."""
    together = max(one[1], other[1]) - min(one[0], other[0])
    return together / min(one[1] - one[0], other[1] - other[0])


def described(ranges: Mapping[str, Range]) -> str:
    """One line that says what raw data becomes.

    Args:
        ranges: volume → its range.
    """
    named: dict[Range, list[str]] = {}
    for volume, found in ranges.items():
        named.setdefault(found, []).append(volume)
    if len(named) == 1:
        (found,) = named
        of = "in the one volume" if len(ranges) == 1 else f"in all {len(ranges)} volumes"
        if found == AS_IT_IS:
            return f"raw data {of} is taken as it is"
        return f"raw data: {shown(found)} become -1 to 1 {of}"
    several = [
        f"{shown(found)} in {', '.join(map(repr, volumes[:_SHOWN]))}"
        + (f" and {len(volumes) - _SHOWN} more" if len(volumes) > _SHOWN else "")
        for found, volumes in named.items()
    ]
    more = f"; and {len(several) - _SHOWN} other ranges" if len(several) > _SHOWN else ""
    return f"raw data: what becomes -1 to 1 is {'; '.join(several[:_SHOWN])}{more}"


def compared_with_start(
    own: Sequence[Range], start: Sequence[Range], name: str
) -> tuple[str, bool]:
    """One line that offers a run the range of its start, and whether they are far apart.

    Args:
        own, start: ranges of their volumes; at least one of each.
        name: of the start.
    """
    theirs, ours = list(dict.fromkeys(start)), list(dict.fromkeys(own))
    if len(theirs) > 1:
        each = "; ".join(shown(found) for found in theirs[:_SHOWN])
        return f"start {name} was trained with a range for each of its volumes: {each}", False
    (offered,) = theirs
    if all(found == offered for found in ours):
        return f"start {name} was trained with the same range of raw data", False
    far = max(apart(found, offered) for found in ours)
    said = f"start {name} was trained with {shown(offered)} as -1 to 1"
    if far > APART:
        said += (
            f", which with this run's range spans {far:.3g} times the narrower of the two: the "
            "start may be of little use like this"
        )
    low, high = (_plain(value) for value in offered)
    return f"{said}; intensity_range: [{low}, {high}] takes that range here", far > APART


def shown(found: Range) -> str:
    """A range as people read it."""
    return " to ".join(
        f"{value:,.0f}" if float(value).is_integer() and abs(value) < 1e15 else f"{value:.4g}"
        for value in found
    )


def _spread(values: NDArray[np.float32]) -> Range | None:
    """Robust percentiles, or the extremes where those coincide; None of a constant."""
    import numpy as np

    if not values.size:
        return None
    low, high = np.percentile(values, (LOW, HIGH), method="inverted_cdf")
    if not low < high:
        low, high = values.min(), values.max()
    return (float(low), float(high)) if low < high else None


def _kept_whole(found: Range, dtype: np.dtype[Any]) -> Range | None:
    if dtype.kind == "f" or dtype.itemsize > 1:
        return None
    whole = type_range(dtype)
    used = (found[1] - found[0]) / (whole[1] - whole[0])
    return whole if used >= USED else None


def _plain(value: float) -> str:
    return f"{value:.0f}" if float(value).is_integer() and abs(value) < 1e15 else f"{value:.9g}"
