"""A person reads dataset, channel and criterion in words, and never a key."""

from __future__ import annotations

import pytest

from dacapo_core.store.records.score_names import in_words, reasons_in_words, shown_scores


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (["val_0/f1_score"], "F1 score on val 0"),
        (["val_0/mito__f1_score"], "F1 score of mito on val 0"),
        (["a/f1_score", "a/voi", "a/mito__f1_score"], "F1 score (all channels, mito) and VOI on a"),
        (["a/voi", "b/er__voi"], "VOI on a, VOI of er on b"),
        (["false_discovery_rate"], "false discovery rate"),
    ],
)
def test_names(keys: list[str], words: str) -> None:
    assert in_words(keys) == words


def test_scores_of_channels_stand_behind_that_of_all() -> None:
    scores = {
        "v_0/f1_score": 0.8412,
        "v_0/mito__f1_score": 0.957,
        "v_0/voi": None,
        "w/er__voi": 0.2,
    }
    assert shown_scores(scores) == (
        "F1 score 0.8412 (mito 0.957), VOI – on v 0 · VOI of er 0.2 on w"
    )


def test_reasons_that_name_bests_are_gathered_and_the_others_stay() -> None:
    reasons = ["latest", "best of a/voi", "best of b/dice", "best of a/dice", "pinned: best of/all"]
    assert reasons_in_words(reasons) == [
        "best by VOI and Dice on a, Dice on b",
        "latest",
        "pinned: best of/all",
    ]


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("was best of val/dice", "was best by Dice on val"),
        ("place 2 of the best 3 of a/voi (0.2)", "place 2 of the best 3 by VOI on a (0.2)"),
        (
            "not among the best 3 of a_1/er__f1_score (place 5, 0.4)",
            "not among the best 3 by F1 score of er on a 1 (place 5, 0.4)",
        ),
        (
            "although place 1 of the best 1 of a/voi (0.2)",
            "although place 1 of the best 1 by VOI on a (0.2)",
        ),
        ("no score of a/voi", "no score by VOI on a"),
        ("not among the last 2", "not among the last 2"),
    ],
)
def test_each_rule_of_a_policy(reason: str, words: str) -> None:
    assert reasons_in_words([reason]) == [words]
