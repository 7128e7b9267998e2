"""Events about checkpoints: ``dacapo.checkpoint.{stored,best,pruned,restored,rehearsed}``.

An event names the run (resource ``dacapo.run.<name>``); Prefect adds the flow run it came from.
Sending never waits for the server and never fails a run: the store keeps the truth.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from prefect.events import emit_event
from prefect.logging import get_logger

from tasks.pages.event_words import event_line
from tasks.runtime.batched_events import event_batch

CheckpointEvent = Literal["stored", "best", "pruned", "restored", "rehearsed"]


def emit_checkpoint_event(kind: CheckpointEvent, run: str, /, **payload: Any) -> None:
    """Send ``dacapo.checkpoint.<kind>`` on resource ``dacapo.run.<run>``; best effort.

    The resource's name is the line that the event feed shows, which leaves the payload folded;
    the payload's ``run`` is the run's name. The payload of ``pruned`` says of what ``kind`` it
    was, as the store's record does: prune, mark, reclaim or remove. Where many validations are one
    task run, those of a kind are sent as one after a while.
    """
    held = event_batch.get()
    if held is None:
        send_checkpoint_event(kind, run, payload)
    else:
        held.add(kind, run, payload)


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
