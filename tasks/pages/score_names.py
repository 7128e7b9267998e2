"""What was judged, in words: ``val_0/mito__f1_score`` is the F1 score of mito on val 0."""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True)
class Judged:
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
        """Without the underscores of a name."""
        return self.dataset.replace("_", " ")

    @property
    def channel_in_words(self) -> str:
        """``mito``, or that it is of all channels."""
        return self.channel or ALL_CHANNELS


def judged(key: str) -> Judged:
    """What a key ``<dataset>/<channel>__<criterion>`` or ``<dataset>/<criterion>`` names."""
    dataset, _, rest = key.rpartition("/")
    channel, separated, criterion = rest.rpartition("__")
    return Judged(dataset, channel if separated else None, criterion)


def criterion_in_words(criterion: str) -> str:
    """In few words: ``F1 score``, ``VOI``, ``false discovery rate``."""
    words = criterion.split("_")
    return " ".join(_SPELLED.get(word, word) for word in words)
