"""What can go wrong in training, in names that can be had without torch."""

from __future__ import annotations


class TrainingDivergedError(RuntimeError):
    """Loss or gradient stayed not finite for too many iterations in a row."""


class OutOfMemoryError(RuntimeError):
    """The device has too little memory for a step; the message says what to turn down."""


class ProcessDiedError(RuntimeError):
    """A process that shared the training ended before its time."""


class GroupError(ValueError):
    """Processes that were to train together cannot; the message says which, and why."""


class PeersUnreachableError(GroupError, ProcessDiedError):
    """The other processes of a group are late, or gone: all may be started again."""
