"""Reasons to keep or to let go as a person reads them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from dacapo_core.store.records.scores import gathered_names, gathered_reasons, overall

_OF_THE_BEST = re.compile(
    r"(?P<rule>(?:not among|place \d+ of) the best \d+ of|no score of) (?P<name>.+/\S+)( \(.*\))?"
)


def short_why(reasons: Iterable[str]) -> str:
    """All reasons; what is said of many criteria is said once, without the place by each."""
    names: dict[str, list[str]] = {}
    for reason in gathered_reasons(reasons):
        if (found := _OF_THE_BEST.fullmatch(reason)) is None:
            names[reason] = []
        else:
            rule = re.sub(r"^place \d+ of", "among", found["rule"])
            names.setdefault(rule, []).append(found["name"])
    return "; ".join(f"{rule} {_criteria(of)}" if of else rule for rule, of in names.items())


def _criteria(names: Sequence[str]) -> str:
    """``val: dice, voi and 8 of single channels``: those of one channel would fill the page."""
    over_all = list(overall(dict.fromkeys(names, 0.0)))
    shown = gathered_names(over_all or names)
    of_channels = len(names) - len(over_all) if over_all else 0
    return " and ".join([*shown, f"{of_channels} of single channels"] if of_channels else shown)
