"""Where what writes a run's state waits for the copies of it that are under way."""

from __future__ import annotations

from collections.abc import Callable


class StateFence:
    """Lets a checkpoint leave the device while the next forward and backward pass run there.

    A run that offers one as ``state_fence`` promises to call `wait` before anything but a forward
    pass of its model changes what a checkpoint holds: before the optimizer's step, before an
    average takes up new weights, before a ``load_state_dict``. A run that offers none promises
    nothing: whatever is queued on the device after the save waits there for the whole copy.
    """

    def __init__(self) -> None:
        self._waits: list[Callable[[], None]] = []

    def put_up(self, wait: Callable[[], None]) -> None:
        """Let the next `wait` wait for one more copy.

        Args:
            wait: makes the current stream of the copy's device wait for it.
        """
        self._waits.append(wait)

    def wait(self, *_: object) -> None:
        """Let what is queued from now on wait for the copies; the host does not wait.

        Takes what ``torch.optim.Optimizer.register_step_pre_hook`` passes.
        """
        while self._waits:
            self._waits.pop()()
