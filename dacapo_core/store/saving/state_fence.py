"""The fence at which changes of a run's state wait until it has been copied."""

from __future__ import annotations

from collections.abc import Callable


class StateFence:
    """Lets a state be copied from the device while the next forward and backward pass run there.

    A run that has one as ``state_fence`` promises to call `wait` before anything but a forward
    pass changes its state: before the optimizer's step, before weights are averaged, before a
    ``load_state_dict``. For a run without one, everything that is queued on the device after the
    save waits there for the whole copy.
    """

    def __init__(self) -> None:
        self._waits: list[Callable[[], None]] = []

    def put_up(self, wait: Callable[[], None]) -> None:
        """Make the next `wait` wait for one more copy.

        Args:
            wait: makes the current stream of the copy's device wait for it.
        """
        self._waits.append(wait)

    def wait(self, *_: object) -> None:
        """Make what is queued from now on wait for the copies; the host does not wait.

        Takes what ``torch.optim.Optimizer.register_step_pre_hook`` passes.
        """
        while self._waits:
            self._waits.pop()()
