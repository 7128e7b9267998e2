"""Messages, agreements and sums between the processes that train one run together."""

from __future__ import annotations

import logging
import pickle
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from dacapo_core.training.errors import ProcessDiedError

Done = TypeVar("Done")

logger = logging.getLogger(__name__)

_GO_ON, _STOP, _FAILED = range(3)


class Processes:
    """A process group of torch.distributed, as one of its processes sees it.

    A process that trains by itself is a group of one (`ALONE`). All processes of a group make the
    same calls in the same order. Rank 0 decides what they do; it alone writes checkpoints and
    talks to Prefect.

    Attributes:
        rank: number of this process, from 0.
        size: number of processes, on all machines.
        here: number of processes on this machine.
        restarts: how often the launcher has started the group again.
        most_restarts: how often the launcher may.
        asked_to_end: a signal asked this process to end; `agree` tells the others.
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
            words: a gloo group for messages, with a time-out of days.
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
        """Whether the group has more than one process."""
        return self.size > 1

    def know(self, error: Exception) -> bool:
        """Whether `agree` raised this error, in all processes."""
        return error is self._agreed

    @property
    def broken(self) -> bool:
        """Whether this process left `together` by an error: it can no longer reach the others."""
        return self._broken

    @property
    def leads(self) -> bool:
        """Whether this process is rank 0 of several, whose messages the others wait for."""
        return self.several and self.rank == 0

    def tell(self, message: Any) -> None:
        """As rank 0, send a picklable `message` to all others; does nothing in a group of one.

        Raises:
            ProcessDiedError: another process ended.
        """
        if self.several:
            self._say([message])

    def hear(self) -> Any:
        """Wait for the next message of rank 0 and return it.

        Raises:
            ProcessDiedError: rank 0 ended.
        """
        return self._say([None])

    def agree(self, *, stop: bool = False, error: Exception | None = None) -> bool:
        """Whether all processes go on. All call it, each with what it has met itself.

        Args:
            stop: this process wants all to stop.
            error: what went wrong in this process.

        Returns:
            False where any of them wants to stop or was asked to end.

        Raises:
            ProcessDiedError: another process ended.
            Exception: the `error` of the lowest rank that gave one. All processes raise it; in the
                others it has the same type, and its message names that process.
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

    def agreed(self, work: Callable[[], Done]) -> Done:
        """What `work` gives; all processes call it, each with its own.

        Raises:
            Exception: what was wrong in one of the processes, in all of them; see `agree`.
        """
        done: list[Done] = []
        error = None
        try:
            done.append(work())
        except Exception as found:
            error = found
        self.agree(error=error)
        return done[0]

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes, by rank. All call it, with a picklable value each."""
        found: list[Any] = [None] * self.size
        if not self.several:
            return [value]
        with self.together():
            dist.all_gather_object(found, value, group=self._words)
        return found

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a tensor over the processes, which all call it. Changes `value`."""
        if self.several:
            dist.all_reduce(value)
            value /= self.size
        return value

    @contextmanager
    def together(self) -> Iterator[None]:
        """Within, the processes exchange data. One that leaves it by an error is `broken`.

        An error on which all have agreed is no such end: all of them raise it.

        Raises:
            ProcessDiedError: another process ended; in place of torch's error.
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
