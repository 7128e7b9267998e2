"""The processes that train a run together, and what they agree on."""

from __future__ import annotations

import logging
import pickle
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from dacapo_core.training.errors import ProcessDiedError

logger = logging.getLogger(__name__)

_GO_ON, _STOP, _FAILED = range(3)


class Processes:
    """A group of torch.distributed; a process that trains by itself is a group of one.

    Every process has one object of its own, and all make the same calls in the same order. The
    first of them, rank 0, decides and tells; it alone stores and speaks to anyone else.

    Attributes:
        rank: this process, from 0.
        size: how many there are, on all machines.
        here: how many of them are on this machine.
        restarts: how often the group was started again after a death.
        most_restarts: how often it may be.
        asked_to_end: this process was asked to; `agree` makes it known.
    """

    def __init__(
        self,
        rank: int = 0,
        size: int = 1,
        here: int = 1,
        *,
        words: dist.ProcessGroup | None = None,
        restarts: int = 0,
        most_restarts: int = 0,
    ) -> None:
        """
        Args:
            words: a group of gloo's for what is said; its members may be silent for days.
        """
        self.rank = rank
        self.size = size
        self.here = here
        self.restarts = restarts
        self.most_restarts = most_restarts
        self.asked_to_end = False
        self._words = words
        self._broken = False
        self._agreed: Exception | None = None

    @property
    def several(self) -> bool:
        """Whether there is more than one."""
        return self.size > 1

    def know(self, error: Exception) -> bool:
        """Whether all processes have raised this error."""
        return error is self._agreed

    @property
    def broken(self) -> bool:
        """Whether this process has left the others in the middle of what they do together."""
        return self._broken

    @property
    def leads(self) -> bool:
        """Whether others wait to be told by this one."""
        return self.several and self.rank == 0

    def tell(self, message: Any) -> None:
        """As rank 0, say `message` to the others; harmless where there are none.

        Raises:
            ProcessDiedError: one of them is gone.
        """
        if self.several:
            self._say([message])

    def hear(self) -> Any:
        """What rank 0 tells, for as long as it takes.

        Raises:
            ProcessDiedError: it is gone.
        """
        return self._say([None])

    def agree(self, *, stop: bool = False, error: Exception | None = None) -> bool:
        """Whether all go on; they do unless one wants to stop or was asked to end.

        Raises:
            ProcessDiedError: one of them is gone.
            Exception: what a process gave as `error`, of that kind; elsewhere than in that process
                the message says which it was. All of them raise it, and go on to listen.
        """
        if not self.several:
            if error is not None:
                raise error
            return not stop
        own = _FAILED if error is not None else _STOP if stop or self.asked_to_end else _GO_ON
        word = torch.tensor(own)
        with self.together():
            dist.all_reduce(word, dist.ReduceOp.MAX, group=self._words)
        if int(word) < _FAILED:
            return int(word) == _GO_ON
        errors = self.gather(None if error is None else _described(error))
        first = next(rank for rank, found in enumerate(errors) if found is not None)
        mine_is_first = first == self.rank and error is not None
        self._agreed = error if mine_is_first else _from_process(first, self.size, *errors[first])
        assert self._agreed is not None
        raise self._agreed

    def gather(self, value: Any) -> list[Any]:
        """What each process gave, by rank, in every process."""
        found: list[Any] = [None] * self.size
        if not self.several:
            return [value]
        with self.together():
            dist.all_gather_object(found, value, group=self._words)
        return found

    def mean(self, value: Tensor) -> Tensor:
        """The mean over the processes, on the device; one takes part by calling it."""
        if self.several:
            dist.all_reduce(value)
            value /= self.size
        return value

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is inside cannot be left by one process alone: whoever does leaves the group.

        An error on which all have agreed is no such end: all of them raise it.

        Raises:
            ProcessDiedError: in place of what torch says of a connection that was lost.
        """
        if not self.several:
            yield
            return
        try:
            yield
        except BaseException as error:
            if error is self._agreed:
                raise
            self._broken = True
            if isinstance(error, RuntimeError) and _is_loss_of_contact(error):
                raise ProcessDiedError(
                    f"another of the {self.size} processes that train together ended; its own "
                    f"output says why (here: {' '.join(str(error).split())[-160:]})"
                ) from error
            raise

    def leave(self, code: int = 0) -> None:
        """End the group; as rank 0, let the others end with it.

        Args:
            code: how rank 0 is about to exit; with any but 0 the others raise SystemExit.
        """
        if not self.several:
            return
        if self.rank == 0 and not self._broken:
            with suppress(ProcessDiedError):
                self.tell(("exit", code) if code else None)
        if dist.is_initialized():
            with suppress(RuntimeError):
                dist.destroy_process_group()

    def _say(self, message: list[Any]) -> Any:
        with self.together():
            dist.broadcast_object_list(
                message, src=0, group=self._words, device=torch.device("cpu")
            )
        return message[0]


ALONE = Processes()

_current = ALONE


def current_processes() -> Processes:
    """The group that this process has joined, else `ALONE`."""
    return _current


def set_current_processes(processes: Processes) -> None:
    """Let `current_processes` give a group."""
    global _current
    _current = processes


def _is_loss_of_contact(error: RuntimeError) -> bool:
    if isinstance(error, dist.DistError):
        return True
    said = str(error).lower()
    return "gloo" in said or any(
        each in said for each in ("connection closed", "connection reset", "broken pipe", "nccl")
    )


def _described(error: Exception) -> tuple[type[Exception], str, str]:
    kind: type[Exception] = type(error)
    try:
        pickle.loads(pickle.dumps(kind))
        kind("probe")
    except Exception:
        kind = RuntimeError
    said = str(error) if kind is type(error) else f"{type(error).__name__}: {error}"
    return kind, said, socket.gethostname()


def _from_process(rank: int, size: int, kind: type[Exception], said: str, host: str) -> Exception:
    return kind(f"process {rank} of {size} (on {host}): {said}")
