"""Starting a run from a checkpoint of another."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dacapo_core.data.intensity_range import Range, type_range
from dacapo_core.experiments.starts.loading_report import LoadingReport
from dacapo_core.experiments.starts.start_error import StartError
from dacapo_core.store.layout import parse_iteration

if TYPE_CHECKING:
    import numpy as np
    from torch import nn
    from torch.optim import Optimizer

    from dacapo_core.experiments.starts.start_config import StartConfig
    from dacapo_core.store.local_weights_store import LocalWeightsStore
    from dacapo_core.training.scored_weights import WhichWeights

logger = logging.getLogger(__name__)


class Start:
    """Initialises a model with the weights of a stored checkpoint (DaCapo's class).

    Unlike DaCapo's, it returns a report of what was loaded, and a start that would load (almost)
    nothing is an error.

    Attributes:
        config: the configuration.
        run: the run to start from.
        criterion: which of its checkpoints.
        name: ``<run>/<criterion>``.
    """

    def __init__(
        self,
        start_config: StartConfig | Mapping[str, Any] | Any,
        store: LocalWeightsStore | None = None,
    ) -> None:
        """
        Args:
            start_config: a configuration, a dict, or an object with `run` and `criterion`.
            store: where to look, unless the configuration names another store; None: in the one
                of the settings.
        """
        self.config = self._configuration(start_config)
        self.run = self.config.run
        self.criterion = self.config.criterion
        self.name = f"{self.run}/{self.criterion}"
        self._iteration: int | None = None
        self._store = store if self.config.store_url is None else None

    @property
    def channels(self) -> list[str] | None:
        """Labels of the checkpoint's output channels: given, or as the run recorded them."""
        if self.config.channels is not None:
            return list(self.config.channels)
        return recorded_channels(self.store().run_config(self.run))

    def raw_ranges(self, dtypes: Iterable[np.dtype[Any]]) -> list[Range]:
        """Raw values that became -1 and 1 when the run was trained, as far as it is on record.

        Args:
            dtypes: of raw data: of a run that began before ranges were kept, it had those.
        """
        from dacapo_core.experiments.datasplits.run_intensity_ranges import ranges_of_run

        store = self.store()
        known = ranges_of_run(store.run_config(self.run), store.intensities(self.run))
        ranges = [found for found in known.values() if found is not None]
        if None in known.values():
            ranges += [type_range(dtype) for dtype in dtypes]
        return list(dict.fromkeys(ranges))

    def store(self) -> LocalWeightsStore:
        """The store that holds the checkpoint."""
        from dacapo_core.settings import get_settings
        from dacapo_core.store.create_store import create_weights_store
        from dacapo_core.store.local_weights_store import LocalWeightsStore

        url = self.config.store_url
        if self._store is None:
            self._store = (
                create_weights_store()
                if url is None
                else LocalWeightsStore(url, get_settings().options_for(url))
            )
        return self._store

    def iteration(self) -> int:
        """The iteration that the criterion stood for when it was first asked.

        Raises:
            FileNotFoundError: no such run or checkpoint; the message lists those there are.
        """
        if self._iteration is None:
            self._iteration = find_iteration(self.store(), self.run, self.criterion)
        return self._iteration

    def pin(self, child: str) -> None:
        """Keep the checkpoint from being pruned until `unpin`: `child` starts from it.

        For the time until the child's own first checkpoint is durable. Where the store cannot be
        written, a warning says so and the start goes on.
        """
        from dacapo_core.store.errors import StoreNotWritableError

        try:
            self.store().pin(self.run, self.iteration(), child=child)
        except StoreNotWritableError as error:
            logger.warning("%s cannot be pinned for %s: %s", self.name, child, error)

    def unpin(self, child: str) -> None:
        """Let go of every checkpoint of the run that `child` had pinned.

        What cannot be let go of stays pinned, and a warning says so: by now the child does not
        need its start any more.
        """
        from dacapo_core.store.errors import StoreError

        try:
            store = self.store()
            for iteration, pins in store.pins(self.run).items():
                if any(pin.child == child for pin in pins):
                    store.unpin(self.run, iteration, child=child)
        except (StoreError, OSError) as error:
            logger.warning("%s may stay pinned for %s: %s", self.run, child, error)

    def initialize_weights(
        self,
        model: nn.Module,
        new_head: Sequence[str] | None = None,
        *,
        optimizer: Optimizer | None = None,
    ) -> LoadingReport:
        """Load the checkpoint into `model`, whole or by what matches, and say what was loaded.

        Of a run that keeps a moving average of its weights, the average is loaded: it is what was
        judged. With `carry_optimizer` the weights that the optimizer's state belongs to.

        Args:
            model: any model with a head; its head is found from the model, see `model_head`.
            new_head: labels of its output channels; None takes ``model.channels``.
            optimizer: given the checkpoint's optimizer state, if the configuration says
                `carry_optimizer`.

        Raises:
            FileNotFoundError: no such run or checkpoint.
            StartError: it does not fit, or labels are wrong. The model is untouched, as it is
                after any other error.
        """
        from dacapo_core.experiments.starts.loading import prepare_loading
        from dacapo_core.experiments.starts.optimizer_state import matching_optimizer_state
        from dacapo_core.training.scored_weights import retrieve_judged_weights

        store = self.store()
        iteration = self.iteration()
        carried: Mapping[str, Any] = {}
        which: WhichWeights = "model"
        if self.config.carry_optimizer:
            weights = store.retrieve_weights(self.run, iteration)
            state, carried = weights.model, weights.optimizer
        else:
            state, which = retrieve_judged_weights(store, self.run, iteration)
        loading = prepare_loading(
            model,
            state,
            source_labels=self.channels,
            labels=new_head,
            policy=self.config.policy,
            floor=self.config.floor,
            run=self.run,
            criterion=self.criterion,
        )
        if self.config.carry_optimizer:
            carried = matching_optimizer_state(carried, optimizer, loading.report)
        report = loading.carry_out()
        if optimizer is not None and self.config.carry_optimizer:
            optimizer.load_state_dict(dict(carried))
        report.iteration = iteration
        report.weights = which
        report.store_url = str(store.basedir)
        report.digest = self._digest(store, iteration)
        for line in report.summary().splitlines():
            logger.info(line)
        return report

    def _digest(self, store: LocalWeightsStore, iteration: int) -> str | None:
        from dacapo_core.store.checkpoint_files import read_record

        record = read_record(store.filesystem, self.run, iteration)
        return None if record is None else f"xxh3_128:{record.digest}"

    @staticmethod
    def _configuration(start_config: Any) -> StartConfig:
        from dacapo_core.experiments.starts.start_config import StartConfig

        return as_configuration(start_config, StartConfig)


def as_configuration(start_config: Any, kind: type[StartConfig]) -> Any:
    """`start_config` as a `kind`: itself, from a dict, or from an object like DaCapo's."""
    if isinstance(start_config, kind):
        return start_config
    if isinstance(start_config, Mapping):
        return kind(**start_config)
    channels = getattr(getattr(start_config, "task_config", None), "channels", None)
    return kind(run=start_config.run, criterion=start_config.criterion, channels=channels)


def find_iteration(store: LocalWeightsStore, run: str, criterion: str) -> int:
    """What `criterion` names in `run`: an iteration, "latest", or "<dataset>/<criterion>".

    "iterations/<iteration>", DaCapo's own key of a checkpoint, is an iteration too.

    Raises:
        FileNotFoundError: no such run or checkpoint; the message lists those there are.
        StartError: a criterion of another form.
    """
    from dacapo_core.store.errors import MissingCheckpointError

    iterations = store.iterations(run)
    if not iterations:
        raise MissingCheckpointError(
            f"no checkpoint of a run {run!r} in {store.basedir}; its runs: "
            f"{', '.join(store.runs()) or 'none'}"
        )
    if criterion == "latest":
        return iterations[-1]
    number = parse_iteration(criterion.removeprefix("iterations/"))
    if number is not None:
        iteration = number
    elif "/" in criterion:
        dataset, _, name = criterion.rpartition("/")
        iteration = store.retrieve_best(run, dataset, name)
    else:
        raise StartError(
            f"criterion {criterion!r} of run {run!r} is neither an iteration nor 'latest' nor "
            "'<dataset>/<criterion>'"
        )
    if iteration not in iterations:
        raise MissingCheckpointError(
            f"{run}/{criterion} is iteration {iteration}, which is not in {store.basedir}; there "
            f"are {', '.join(str(known) for known in iterations)}"
        )
    return iteration


def recorded_channels(run_config: Mapping[str, Any] | None) -> list[str] | None:
    """The channels of the task in a stored run configuration; None if it does not say."""
    task = (run_config or {}).get("task_config")
    channels = task.get("channels") if isinstance(task, Mapping) else None
    return list(channels) if channels else None
