"""Events about checkpoints: ``dacapo.checkpoint.{stored,best,pruned,restored,rehearsed}``.

An event names the run (resource ``dacapo.run.<name>``); Prefect adds the flow run it came from.
Sending never waits for the server and never fails a run: the store keeps the truth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from prefect.events import emit_event
from prefect.logging import get_logger

from tasks.pages.event_words import event_line
from tasks.runtime.batched_events import event_batch
from tasks.runtime.open_stores import place_of

if TYPE_CHECKING:
    from dacapo_core.store.local_weights_store import LocalWeightsStore

CheckpointEvent = Literal["stored", "best", "pruned", "restored", "rehearsed"]


def emit_checkpoint_event(
    kind: CheckpointEvent, run: str, store: LocalWeightsStore, /, **payload: Any
) -> None:
    """Send ``dacapo.checkpoint.<kind>`` on resource ``dacapo.run.<run>``; best effort.

    The resource's name is the line that the event feed shows, which leaves the payload folded; the
    payload also names the run and its store. Where many validations are one task run, those of a
    kind are sent as one after a while.
    """
    payload["store"] = place_of(store)
    batch = event_batch.get()
    if batch is None:
        send_checkpoint_event(kind, run, payload)
    else:
        batch.add(kind, run, payload)


def emit_pruned(
    kind: Literal["prune", "mark", "reclaim", "remove"],
    run: str,
    store: LocalWeightsStore,
    reasons: Mapping[int, Sequence[str]],
    size: int | None,
    *,
    restorable_until: datetime | None = None,
    rehearsed: bool = False,
) -> None:
    """Send that checkpoints were pruned, or that a dry run would have pruned them.

    Args:
        kind: what was done, as the store's record says it.
        reasons: iteration → why it went.
        size: their bytes, as far as they are known.
    """
    emit_checkpoint_event(
        "rehearsed" if rehearsed else "pruned",
        run,
        store,
        kind=kind,
        iterations=sorted(reasons),
        reasons={str(iteration): why for iteration, why in reasons.items()},
        bytes=size,
        restorable_until=None if restorable_until is None else restorable_until.isoformat(),
    )


def send_checkpoint_event(kind: str, run: str, payload: Mapping[str, Any]) -> None:
    """Send one now."""
    try:
        emit_event(
            event=f"dacapo.checkpoint.{kind}",
            resource={
                "prefect.resource.id": f"dacapo.run.{run}",
                "prefect.resource.name": event_line(kind, run, payload),
                "prefect.resource.role": "training-run",
            },
            payload={"run": run, **payload},
        )
    except Exception as error:
        get_logger(__name__).warning("event dacapo.checkpoint.%s not sent: %s", kind, error)
