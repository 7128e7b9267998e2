"""A run as it is trained: what is built from its configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from dacapo_core.data.batch_source import BatchSource
from dacapo_core.data.intensity_range import Intensities
from dacapo_core.data.loader_workers import available_cores, default_workers
from dacapo_core.experiments.model import Model
from dacapo_core.experiments.run_config import RunConfig
from dacapo_core.store.checkpoint_format.load_into_model import check_fit
from dacapo_core.store.saving.state_fence import StateFence
from dacapo_core.training.data_parallel import wrapped
from dacapo_core.training.device import find_device
from dacapo_core.training.moving_average import Average
from dacapo_core.training.optimizer import new_optimizer
from dacapo_core.training.precision import resolve_precision
from dacapo_core.training.processes import ALONE, Processes
from dacapo_core.training.random_state import RandomState
from dacapo_core.training.schedule import Extension, learning_rate_factor
from dacapo_core.training.sync_batch_norm import synchronise
from dacapo_core.training.training_stats import TrainingStats

if TYPE_CHECKING:
    from dacapo_core.data.patch_sampler import PatchSampler
    from dacapo_core.data.training_batches import TrainingBatches
    from dacapo_core.data.volume_placement import Placement
    from dacapo_core.experiments.datasplits.datasets.raw_gt_dataset import RawGTDataset
    from dacapo_core.experiments.datasplits.datasplit import DataSplit


class Run:
    """Model, optimizer and everything else that training changes (DaCapo's ``Run``).

    Weights are initialised from the seed; a start is loaded into ``model`` afterwards.

    Attributes:
        seed: the configuration's, for this repetition.
        iteration: how many iterations are done.
        skipped_in_a_row: how many of the last of them changed nothing, see `TrainingStep`.
        extensions: where it was given more iterations than it was begun with.
        training_stats: the iterations of this process.
        processes: that train it together; of one, where it is trained by this process alone.
        is_shared: whether all of them have the same state.
        is_sharded: whether this process has but its share of model, average and optimizer. A run
            that is to be sharded is whole until its first step, in host memory and in rank 0 alone.
        is_training: whether the processes take steps together right now.
        gathered: host memory that is kept for `gather_state`.
        random_state: of torch's generators, while the run draws from them.
        state_fence: what changes the weights waits here while a checkpoint is copied. The
            optimizer's step does so by itself.
    """

    def __init__(
        self,
        config: RunConfig,
        device: str | torch.device | None = None,
        processes: Processes = ALONE,
    ) -> None:
        self.config = config
        self.name = config.name
        self.device = find_device(device)
        self.iteration = 0
        self.skipped_in_a_row = 0
        self.extensions: list[Extension] = []
        self.training_stats = TrainingStats(config.batch_size)
        self.processes = processes
        self.is_shared = False
        self.is_sharded = False
        self.is_training = False
        self.gathered: list[torch.Tensor] = []
        self.seed = config.seed + config.repetition
        self.task = config.task_config.build()
        self.random_state = RandomState(self.device)
        where = self._first_place()
        with self.random_state.forked():
            torch.manual_seed(self.seed)
            self.model = self._new_model(where)
            self.random_state.take()
        trainer = config.trainer_config
        self.dtype = resolve_precision(trainer.mixed_precision, self.device, self.model)
        self.state_fence = StateFence()
        self.optimizer = new_optimizer(config, self.model, self.device, self.state_fence)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16)
        self.average = self._new_average(where)

    @property
    def is_to_be_sharded(self) -> bool:
        """Whether each process is to have its share of the state, and has not yet."""
        wanted = self.config.trainer_config.sharded and self.processes.several
        return wanted and not self.is_sharded

    def _first_place(self) -> torch.device:
        if not self.is_to_be_sharded:
            return self.device
        return torch.device("cpu" if self.processes.rank == 0 else "meta")

    def _new_model(self, where: torch.device) -> Model:
        with torch.device("meta") if where.type == "meta" else nullcontext():
            model = self.task.create_model(self.config.architecture_config)
        if self.config.trainer_config.sync_batch_norm and self.processes.several:
            synchronise(model, self.device)
        if self.is_to_be_sharded:
            # torch shards contiguous tensors only
            return model
        return model.to(self.device).to(memory_format=self.memory_format)  # type: ignore[call-overload]

    def _new_average(self, where: torch.device) -> Average | None:
        decay = self.config.trainer_config.ema_decay
        return None if decay is None else Average(self.model, decay, where)

    def become_shares(self, shard: Callable[[nn.Module], None]) -> None:
        """Have this process's shares of model, average and optimizer, yet to be filled.

        Args:
            shard: gives each parameter of a module the share's shape.
        """
        meta = torch.device("meta")
        with self.random_state.forked():
            self.model = self._new_model(meta)
        self.average = self._new_average(meta)
        shard(self.model)
        self.model.to_empty(device=self.device)
        if self.average is not None:
            shard(self.average.module)
            self.average.to_empty(device=self.device)
        self.is_sharded = True
        self.optimizer = new_optimizer(self.config, self.model, self.device, self.state_fence)

    def gather_state(self) -> dict[str, Any] | None:
        """As rank 0 of a sharded run, the whole state in host memory, as it is until the next call.

        None where this process has the whole state, and in the others, which call it too.

        Raises:
            RuntimeError: the processes are in the middle of training.
            ProcessDiedError: one of them is gone.
        """
        if not self.is_sharded:
            return None
        from dacapo_core.training.sharding import gather

        return gather(self)

    @contextmanager
    def training(self) -> Iterator[None]:
        """Within, the processes that share out the run take steps together."""
        self.is_training = True
        try:
            yield
        finally:
            self.is_training = False

    def learning_rate_factor(self, iteration: int) -> float:
        """Share of the highest learning rate with which `iteration` (from 0) is trained.

        It depends on configuration and extensions alone.
        """
        trainer = self.config.trainer_config
        return learning_rate_factor(
            iteration,
            self.config.num_iterations,
            trainer.warmup_iterations,
            trainer.schedule,
            self.extensions,
        )

    def set_learning_rate(self) -> float:
        """Give the optimizer the rate with which the next iteration is trained, and return it."""
        factor = self.learning_rate_factor(self.iteration)
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
        return self.config.learning_rate * factor

    @property
    def memory_format(self) -> torch.memory_format:
        """How feature maps lie in memory."""
        if not self.config.trainer_config.channels_last:
            return torch.contiguous_format
        three = self.config.architecture_config.dims == 3
        return torch.channels_last_3d if three else torch.channels_last

    @property
    def eval_model(self) -> nn.Module:
        """What validation judges: the averaged weights if there are any, else ``model``."""
        if self.average is None or self.average.n_averaged == 0:
            return self.model
        return self.average.module

    @cached_property
    def _opened(self) -> DataSplit:
        return self.config.datasplit_config.build()

    @cached_property
    def intensities(self) -> Intensities:
        """What becomes of raw values; found in the data, unless `take_intensities` said it.

        Raises:
            ArrayError: raw data cannot be read, or is constant.
        """
        from dacapo_core.data.intensity_sample import find_intensities

        return find_intensities([*self._opened.train, *self._opened.validate])

    def take_intensities(self, intensities: Intensities) -> None:
        """Make of raw values what was made of them before."""
        if self.__dict__.get("intensities") != intensities:
            for name in ("datasplit", "sampler", "placement", "batches", "batch_source"):
                self.__dict__.pop(name, None)
            self.intensities = intensities

    @cached_property
    def datasplit(self) -> DataSplit:
        """The volumes, opened and checked, with the ranges of their raw data."""
        return self._opened.scaled(self.intensities)

    @property
    def validation_datasets(self) -> Sequence[RawGTDataset]:
        """The volumes that are held out."""
        return self.datasplit.validate

    @cached_property
    def sampler(self) -> PatchSampler:
        """Draws patches from the volumes to train on.

        Raises:
            ArrayError: the volumes do not fit the network or the task; the message names them.
        """
        from dacapo_core.data.patch_sampler import PatchSampler
        from dacapo_core.data.preloaded_array import PreloadedArray

        architecture = self.config.architecture_config
        return PatchSampler(
            [dataset.reading_from(PreloadedArray) for dataset in self.datasplit.train],
            self.task.channels,
            architecture.input_shape,
            architecture.output_shape(),
            architecture.upsampling,
            augmentation=self.config.trainer_config.augmentation,
        )

    @cached_property
    def placement(self) -> Placement:
        """Where the volumes to train on are kept."""
        from dacapo_core.data.volume_placement import Placement

        left = max(1, self.config.num_iterations - self.iteration)
        share = left * self.config.batch_size // self.processes.size
        return Placement(self.sampler, self.device, share, self.processes.here)

    @cached_property
    def batches(self) -> TrainingBatches:
        """Makes what the network is trained on of what the sampler draws."""
        from dacapo_core.data.training_batches import TrainingBatches

        self.placement.keep()
        return TrainingBatches(self.sampler, self.task, self.device)

    @cached_property
    def batch_source(self) -> BatchSource[Any]:
        """The batches of the run, or this process's share of them."""
        return BatchSource(
            self.batches.read,
            self.batches.make,
            self.seed,
            self.config.batch_size,
            self.config.trainer_config.gradient_accumulation,
            self.processes.rank,
            self.processes.size,
        )

    def explain_fault(self, iteration: int) -> None:
        """Say what is wrong with the values that the batch of `iteration` (from 0) is made from.

        Raises:
            ArrayError: it names array, place and value.
        """
        for generator in self.batch_source.generators(iteration):
            self.batches.explain(generator)

    @property
    def num_workers(self) -> int:
        """Threads that prepare batches ahead."""
        configured = self.config.num_workers
        if configured is not None:
            return configured
        return default_workers(self.device.type, available_cores(), self.processes.here)

    @cached_property
    def wrapped_model(self) -> nn.Module:
        """The model, with gradients summed over the processes where there are several."""
        if self.is_sharded or not self.processes.several:
            return self.model
        parts = self.config.trainer_config.gradient_accumulation
        return wrapped(self.model, self.device, parts=parts)

    @cached_property
    def training_model(self) -> nn.Module:
        """The wrapped model as the training step calls it: compiled, if so configured."""
        if self.config.trainer_config.compile:
            return torch.compile(self.wrapped_model)  # type: ignore[return-value]
        return self.wrapped_model

    @property
    def is_wrapped(self) -> bool:
        """Whether there is a `wrapped_model` yet."""
        return "wrapped_model" in vars(self)

    def rewrap(self) -> None:
        """Where several processes train, sum the gradients of what is trained from now on."""
        if self.processes.several and not self.is_sharded:
            for name in ("wrapped_model", "training_model"):
                self.__dict__.pop(name, None)

    def extra_state(self) -> dict[str, Any]:
        """What exact resume needs beside model and optimizer; loads with ``weights_only=True``."""
        state: dict[str, Any] = {
            "iteration": self.iteration,
            "skipped_in_a_row": self.skipped_in_a_row,
            "num_iterations": self.config.num_iterations,
            "extensions": [list(extension) for extension in self.extensions],
            "intensities": self._found_intensities(),
            "scaler": self.scaler.state_dict(),
            "random_state": self.random_state.state_dict(),
        }
        if self.average is not None:
            state["average"] = self.average.state_dict()
        return state

    def _found_intensities(self) -> dict[str, Any] | None:
        """None while nobody looked at the data."""
        found: Intensities | None = self.__dict__.get("intensities")
        return None if found is None else found.to_json()

    def check_extra_state(self, state: dict[str, Any]) -> None:
        """Make sure that `load_extra_state` will take `state`; changes nothing.

        Raises:
            ValueError: a part is missing, or the run was configured with an average of its weights
                and the state has none or that of another network, or the other way round.
        """
        lacking = sorted({"iteration", "skipped_in_a_row", "scaler", "random_state"} - set(state))
        if lacking:
            raise ValueError(
                f"the checkpoint of run {self.name!r} lacks {', '.join(lacking)} in its extra state"
            )
        if ("average" in state) != (self.average is not None):
            has = "has" if "average" in state else "has no"
            raise ValueError(
                f"the checkpoint of run {self.name!r} {has} averaged weights, and "
                f"trainer_config.ema_decay is {self.config.trainer_config.ema_decay}"
            )
        if self.average is not None:
            check_fit(f"the average of run {self.name!r}", self.average, state["average"])

    def load_extra_state(self, state: dict[str, Any]) -> None:
        """Take up what `extra_state` gave.

        Raises:
            ValueError: as `check_extra_state`; nothing has been changed.
        """
        self.check_extra_state(state)
        self.is_shared = False
        self.iteration = int(state["iteration"])
        self.skipped_in_a_row = int(state["skipped_in_a_row"])
        self.extensions = [Extension(*each) for each in state.get("extensions", [])]
        # before there were any, all raw data had the range of its type
        found = state.get("intensities", Intensities().to_json())
        if found is not None:
            self.take_intensities(Intensities.from_json(found))
        if state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
        self.random_state.load_state_dict(state["random_state"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
