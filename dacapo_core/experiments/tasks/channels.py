"""The channels of a task: one output of the network each, in order, named by their label."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field


def _distinct(channels: list[str]) -> list[str]:
    for channel in channels:
        if not channel.strip() or "__" in channel:
            raise ValueError(
                f"{channel!r} is no channel name: it must not be empty, nor hold '__', which "
                "joins channel and criterion in the names of scores"
            )
    twice = sorted({channel for channel in channels if channels.count(channel) > 1})
    if twice:
        raise ValueError(f"channels named twice: {', '.join(twice)}")
    return channels


Channels = Annotated[list[str], Field(min_length=1), AfterValidator(_distinct)]
