"""A retention policy for a person: in words, and as options of ``dacapo-store prune``. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from datetime import timedelta

from dacapo_core.store.pruning.policy import RetentionPolicy, shown_duration
from dacapo_core.store.records.score_names import in_words


def policy_in_words(policy: RetentionPolicy) -> str:
    """``keep the newest 3, the best 2 of each dataset and criterion; mark the rest for 7 days``."""
    criteria = f" ({in_words(policy.criteria)} only)" if policy.criteria else ""
    rules = {
        "keep_last": "the newest {}",
        "keep_every": "each multiple of {}",
        "keep_best": "the best {} of each dataset and criterion" + criteria,
        "keep_hourly": "the newest of each of the last {} hours that have one",
        "keep_daily": "the newest of each of the last {} days that have one",
        "keep_weekly": "the newest of each of the last {} weeks that have one",
    }
    keep = [
        words.format(getattr(policy, rule))
        for rule, words in rules.items()
        if getattr(policy, rule) is not None
    ]
    if policy.minimum_age is not None:
        keep.append(f"what is younger than {shown_duration(policy.minimum_age)}")
    if policy.pins:
        keep.append(f"iterations {', '.join(map(str, policy.pins))}")
    if policy.max_total_size is not None:
        size = policy.max_total_size.human_readable(decimal=True, separator=" ")
        keep.append(
            f"no more than {size} a run in all" if keep else f"all that fits into {size} a run"
        )
    rest = (
        "delete the rest"
        if policy.grace is None
        else f"mark the rest for {shown_duration(policy.grace)}"
    )
    return f"keep {', '.join(keep)}; {rest}"


def prune_command(policy: RetentionPolicy, run: str, store: str) -> str:
    """What to type at a terminal to prune a run by this policy."""
    options: list[str] = []
    shown: dict[str, Callable[[object], str]] = {
        "minimum_age": _seconds,
        "grace": _seconds,
    }
    for rule in RetentionPolicy.model_fields:
        value = getattr(policy, rule)
        option = {"criteria": "criterion", "pins": "keep"}.get(rule, rule).replace("_", "-")
        for each in value if isinstance(value, list) else [value]:
            if each is not None:
                options += [f"--{option}", shown.get(rule, str)(each)]
    return shlex.join(["dacapo-store", "prune", run, *options, "--store", store])


def _seconds(value: object) -> str:
    """A duration as ``dacapo-store`` takes it: ``7d``, ``36h``, ``90s``."""
    assert isinstance(value, timedelta)
    seconds = value.total_seconds()
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds % length == 0:
            return f"{seconds / length:.0f}{unit}"
    return f"{seconds:g}s"
