"""Scores and reasons in words: ``val_0/mito__f1_score`` is the F1 score of mito on val 0.

Records, parameters and JSON have the keys; whatever a person reads has the words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

_SPELLED = {
    "dice": "Dice",
    "f1": "F1",
    "hausdorff": "Hausdorff distance",
    "iou": "IoU",
    "jaccard": "Jaccard",
    "voi": "VOI",
}
_WHOLE = {
    "voi": "variation of information (VOI)",
    "dice": "Dice coefficient",
    "jaccard": "Jaccard index",
}
ALL_CHANNELS = "all channels"
_NAMES_A_BEST = re.compile(r"(?P<before>although |was )?best of (?P<key>[^/]+/\S+)")
_RANKED = re.compile(
    r"(?P<before>(?:although )?(?:(?:place \d+ of|not among) the best \d+|no score)) of "
    r"(?P<key>[^/]+/\S+)(?P<after>(?: \(.*\))?)"
)


@dataclass(frozen=True)
class ScoreName:
    """A dataset, a channel and a criterion; ``channel`` is None for the mean over all."""

    dataset: str
    channel: str | None
    criterion: str

    @property
    def criterion_in_words(self) -> str:
        """``F1 score``, ``variation of information (VOI)``."""
        return _WHOLE.get(self.criterion) or criterion_in_words(self.criterion)

    @property
    def dataset_in_words(self) -> str:
        """``val 0``."""
        return dataset_in_words(self.dataset)

    @property
    def channel_in_words(self) -> str:
        """``mito``, or that it is of all channels."""
        return self.channel or ALL_CHANNELS


def score_name(key: str) -> ScoreName:
    """What a key ``<dataset>/<channel>__<criterion>`` or ``<dataset>/<criterion>`` names."""
    dataset, _, rest = key.rpartition("/")
    channel, separated, criterion = rest.rpartition("__")
    return ScoreName(dataset, channel if separated else None, criterion)


def dataset_in_words(dataset: str) -> str:
    """Without the underscores of a name."""
    return dataset.replace("_", " ")


def criterion_in_words(criterion: str) -> str:
    """In few words: ``F1 score``, ``VOI``, ``false discovery rate``."""
    words = criterion.split("_")
    return " ".join(_SPELLED.get(word, word) for word in words)


def in_words(keys: Iterable[str]) -> str:
    """``F1 score (all channels, mito) and VOI on val 0, VOI of mito on val 1``."""
    said = []
    for dataset, criteria in _sorted_out(keys).items():
        named = [_with_channels(criterion, of) for criterion, of in criteria.items()]
        said.append(_listed(named) + (f" on {dataset}" if dataset else ""))
    return ", ".join(said)


def shown_scores(scores: Mapping[str, float | None]) -> str:
    """``F1 score 0.841 (mito 0.957), VOI 0.149 on val 0 · VOI of mito 0.2 on val 1``.

    Args:
        scores: by ``<dataset>/<criterion>``; None is shown as ``–``.
    """
    shown = []
    for dataset, criteria in _sorted_out(sorted(scores)).items():
        said = []
        for criterion, of in criteria.items():
            values = {score_name(key).channel: _number(scores[key]) for key in of}
            over_all = values.pop(None, None)
            if over_all is None and len(values) == 1:
                ((channel, value),) = values.items()
                said.append(f"{criterion} of {channel} {value}")
                continue
            each = ", ".join(f"{channel} {value}" for channel, value in values.items())
            said.append(
                criterion + (f" {over_all}" if over_all else "") + (f" ({each})" if each else "")
            )
        shown.append(", ".join(said) + (f" on {dataset}" if dataset else ""))
    return " · ".join(shown)


def overall(scores: Mapping[str, T]) -> dict[str, T]:
    """The scores over all channels, without those of one channel (``mito__dice``)."""
    return {name: score for name, score in scores.items() if score_name(name).channel is None}


def reasons_in_words(reasons: Iterable[str], *, few: bool = False) -> list[str]:
    """Reasons to keep or to prune, as the store has them, as a person reads them.

    What is said of several scores is said once: ``best of val/voi`` and ``best of val/dice`` are
    ``best by VOI and Dice on val``, before all other reasons.

    Args:
        few: leave out the places within a ranking, and count single channels where there are
            scores of all: ``not among the best 3 by VOI on val and 2 of single channels``.
    """
    best: dict[str, list[str]] = {}
    ranked: dict[str, list[tuple[str, str]]] = {}
    for reason in reasons:
        if found := _NAMES_A_BEST.fullmatch(reason):
            best.setdefault(f"{found['before'] or ''}best", []).append(found["key"])
        elif found := _RANKED.fullmatch(reason):
            before = found["before"]
            if few:
                before = re.sub(r"\bplace \d+ of\b", "among", before)
            ranked.setdefault(before, []).append((found["key"], "" if few else found["after"]))
        else:
            ranked[reason] = []
    said = [f"{rule} by {_some(keys, few)}" for rule, keys in best.items()]
    for rule, named in ranked.items():
        if few and named:
            said.append(f"{rule} by {_some([key for key, _ in named], few)}")
        else:
            said += [f"{rule} by {in_words([key])}{after}" for key, after in named] or [rule]
    return said


def short_why(reasons: Iterable[str]) -> str:
    """All reasons as few as fit a row or a line."""
    return "; ".join(reasons_in_words(reasons, few=True))


def _number(score: float | None) -> str:
    return "–" if score is None else f"{score:.4g}"


def _some(keys: Sequence[str], few: bool) -> str:
    over_all = [key for key in keys if score_name(key).channel is None]
    if not few or not over_all or len(over_all) == len(keys):
        return in_words(keys)
    return f"{in_words(over_all)} and {len(keys) - len(over_all)} of single channels"


def _sorted_out(keys: Iterable[str]) -> dict[str, dict[str, list[str]]]:
    """Dataset → criterion → keys, the first two in words."""
    found: dict[str, dict[str, list[str]]] = {}
    for key in keys:
        of = score_name(key)
        criteria = found.setdefault(of.dataset_in_words, {})
        criteria.setdefault(criterion_in_words(of.criterion), []).append(key)
    return found


def _with_channels(criterion: str, keys: Sequence[str]) -> str:
    names = sorted((score_name(key) for key in keys), key=lambda each: each.channel is not None)
    if len(names) > 1:
        return f"{criterion} ({', '.join(each.channel_in_words for each in names)})"
    return f"{criterion} of {names[0].channel}" if names[0].channel else criterion


def _listed(said: Sequence[str]) -> str:
    return " and ".join([", ".join(said[:-1]), said[-1]] if len(said) > 1 else said)
