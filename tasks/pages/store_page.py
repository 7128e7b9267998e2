"""The page of a whole store: a row a run, what needs attention first, and its disk use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from dacapo_core.store.records.run_overview import RunOverview, TrainingNote
from dacapo_core.store.records.score_names import criterion_in_words, score_name
from tasks.pages.disk_use import summed_levels
from tasks.pages.drawing import disk_use_chart, markdown_picture
from tasks.pages.formatting import (
    markdown_table,
    readable_age,
    readable_bytes,
    readable_score,
    readable_seconds,
)

MUCH_WAITING = 0.2
MOST_MARKED = 10
MOST_WORDS = 120


@dataclass(frozen=True)
class StoreRun:
    """A run as the page shows it.

    Attributes:
        overview: None where nobody has written one yet.
        flow_run_state: of its flow run, as the server names it; None where it was not asked.
    """

    run: str
    overview: RunOverview | None
    flow_run_state: str | None = None


@dataclass(frozen=True)
class Condition:
    """What a run does, in words; the lower the ``rank``, the sooner it needs attention."""

    rank: int
    words: str


def condition(run: StoreRun, now: datetime) -> Condition:
    """What a run does, by its own last word and by the state of its flow run."""
    training = run.overview.training if run.overview else None
    if training is None:
        return Condition(8, "not trained here")
    ended = f" at iteration {training.iteration}"
    why = f": {training.why[:MOST_WORDS]}" if training.why else ""
    if training.state == "complete":
        return Condition(7, "complete")
    if training.state == "failed":
        return Condition(0, f"**failed**{ended}{why}")
    if training.state == "stopped":
        return Condition(3, f"**stopped**{ended}{why}")
    state = (run.flow_run_state or "Running").lower()
    if state in ("crashed", "failed"):
        return Condition(0, f"**{state}** after iteration {training.iteration}")
    if state in ("cancelled", "cancelling", "deleted", "completed", "suspended", "paused"):
        return Condition(3, f"**{state}** after iteration {training.iteration}")
    if state != "running":
        return Condition(2, f"starts again ({run.flow_run_state})")
    if training.expected is not None and training.expected < now:
        silent = readable_age(training.heard, now)
        return Condition(1, f"**no word for {silent}**")
    if training.waiting_share >= MUCH_WAITING:
        return Condition(5, "training, **short of data**")
    return Condition(6, "training")


def store_page(
    store_url: str,
    runs: Sequence[StoreRun],
    now: datetime,
    next_prune: datetime | None = None,
) -> str:
    """The page as markdown.

    Args:
        next_prune: when the scheduled pruning of the whole store begins next.
    """
    conditions = {each.run: condition(each, now) for each in runs}
    ordered = sorted(runs, key=lambda each: (conditions[each.run].rank, each.run))
    rows = [_row(each, conditions[each.run], now, next_prune) for each in ordered]
    header = ["run", "state", "iteration", "best", "samples/s", "checkpoints", "pruned"]
    parts = [
        f"# Store {store_url}",
        _totals(runs, next_prune),
        markdown_picture(
            "bytes on disk over time, and what they would be had nothing been pruned",
            disk_use_chart(*_levels(runs)),
        ),
        _restorable(store_url, runs),
        "## Runs",
        markdown_table(header, rows) if rows else "No run yet.",
    ]
    return "\n\n".join(part for part in parts if part)


def _totals(runs: Sequence[StoreRun], next_prune: datetime | None) -> str:
    notes = [each.overview.checkpoints for each in runs if each.overview]
    there = sum(each.kept + each.marked for each in notes)
    on_disk = sum(each.kept_bytes + each.marked_bytes for each in notes)
    gone, freed = sum(each.pruned for each in notes), sum(each.freed_bytes for each in notes)
    said = [
        f"**{readable_bytes(on_disk)} on disk** in {_count(there, 'checkpoint')} of "
        f"{_count(len(notes), 'run')}",
        f"pruning has freed {readable_bytes(freed)}, of {_count(gone, 'checkpoint')}",
        "no pruning of the whole store is scheduled"
        if next_prune is None
        else f"next pruning of the whole store {_minute(next_prune)} UTC",
    ]
    if unknown := len(runs) - len(notes):
        said.append(f"what {_count(unknown, 'run')} more hold is said with their next pruning")
    return " · ".join(said)


def _levels(
    runs: Sequence[StoreRun],
) -> tuple[list[tuple[datetime, int]], list[tuple[datetime, int]]]:
    levels = summed_levels([each.overview.checkpoints.levels for each in runs if each.overview])
    return (
        [(each.time, each.on_disk) for each in levels],
        [(each.time, each.on_disk + each.freed) for each in levels],
    )


def _restorable(store_url: str, runs: Sequence[StoreRun]) -> str:
    marked = [
        (each.run, each.overview.checkpoints)
        for each in runs
        if each.overview and each.overview.checkpoints.marked
    ]
    if not marked:
        return "Nothing is marked that could be restored."
    never = datetime.max.replace(tzinfo=UTC)
    marked.sort(key=lambda each: each[1].restorable_until or never)
    count = sum(each.marked for _, each in marked)
    size = sum(each.marked_bytes for _, each in marked)
    listed = [
        f"{run}: {each.marked} ({readable_bytes(each.marked_bytes)})"
        + (f" until {_minute(each.restorable_until)} UTC" if each.restorable_until else "")
        for run, each in marked[:MOST_MARKED]
    ]
    if len(marked) > MOST_MARKED:
        listed.append(f"and {_count(len(marked) - MOST_MARKED, 'run')} more")
    return (
        f"**{_count(count, 'marked checkpoint')}** ({readable_bytes(size)}) can still be restored: "
        + "; ".join(listed)
        + f". `dacapo-store restore RUN ITERATION --store {store_url}`"
    )


def _row(
    run: StoreRun, condition: Condition, now: datetime, next_prune: datetime | None
) -> list[str]:
    overview = run.overview
    if overview is None:
        return [run.run, condition.words, *["–"] * 5]
    held = overview.checkpoints
    training = overview.training
    return [
        # one that was not trained here has no report
        _linked(run.run, overview.pages.get("report" if training else "pruning")),
        condition.words,
        _progress(training, now),
        _best(overview),
        _rate(training),
        _held(overview),
        _pruned(held.last_pruned, training, next_prune),
    ]


def _progress(training: TrainingNote | None, now: datetime) -> str:
    if training is None:
        return "–"
    said = f"{training.iteration} of {training.num_iterations}"
    if training.state == "training" and training.seconds_left is not None:
        left = (training.heard + timedelta(seconds=training.seconds_left) - now).total_seconds()
        said += f", {readable_seconds(left)} left" if left > 0 else ", overdue"
    return said


def _best(overview: RunOverview) -> str:
    best = overview.best
    if best is None:
        return "–"
    of = score_name(f"{best.dataset}/{best.criterion}")
    return (
        f"{criterion_in_words(of.criterion)} {readable_score(best.score)} at {best.iteration} on "
        f"{of.dataset_in_words}"
    )


def _rate(training: TrainingNote | None) -> str:
    if training is None or not training.samples_per_second:
        return "–"
    return f"{training.samples_per_second:.3g}, {training.waiting_share:.0%} waiting"


def _held(overview: RunOverview) -> str:
    held = overview.checkpoints
    said = _linked(f"{held.kept} kept", overview.pages.get("pruning"))
    if held.marked:
        said += f", {held.marked} marked"
    return f"{said}, {readable_bytes(held.kept_bytes + held.marked_bytes)}"


def _pruned(
    last: datetime | None, training: TrainingNote | None, next_prune: datetime | None
) -> str:
    before = "never" if last is None else _minute(last)
    if training is not None and training.state == "training":
        return f"{before}; next after its next validation"
    return before if next_prune is None else f"{before}; next {_minute(next_prune)}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _linked(text: str, path: str | None) -> str:
    return text if path is None else f"[{text}]({path})"


def _minute(moment: datetime) -> str:
    return f"{moment:%b %d %H:%M}"
