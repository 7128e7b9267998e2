"""Configuration of the training step."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dacapo_core.experiments.configuration import Configuration
from dacapo_core.experiments.datasplits.augmentation_config import AugmentationConfig


class TrainerConfig(Configuration):
    """How weights follow from batches: optimizer, schedule, precision, safeguards.

    The optimizer is AdamW; its learning rate is the run's.
    """

    type: Literal["adamw"] = "adamw"
    weight_decay: float = Field(0.01, ge=0, description="Weight decay of AdamW.")
    warmup_iterations: int = Field(
        20,
        ge=0,
        description="Iterations over which the learning rate rises from zero; at most a quarter "
        "of the run.",
    )
    schedule: Literal["cosine", "constant", "wsd"] = Field(
        "cosine",
        description="Learning rate after the warm-up: falls to zero as a cosine, stays, or stays "
        "and falls to zero over the last fifth (wsd: warm-up, stable, decay), which suits runs "
        "that may be extended.",
    )
    extension: Literal["hold", "warm_up"] = Field(
        "hold",
        description="Learning rate where num_iterations is raised: stays at what it was until the "
        "longer run's schedule falls below it, or warms up again to that schedule. May be changed "
        "with num_iterations.",
    )
    gradient_clip: float | None = Field(
        1.0, gt=0, description="Largest norm of the gradient; larger ones are scaled down to it."
    )
    gradient_accumulation: int = Field(
        1,
        ge=1,
        description="Into how many parts a batch is split, one after the other: the same result "
        "with less memory. Only BatchNorm notices: it sees each part alone.",
    )
    processes: int = Field(
        1,
        ge=1,
        description="Processes on this machine, one GPU each, that share each batch: the same "
        "result sooner. Only BatchNorm notices, see sync_batch_norm. What torchrun starts are as "
        "many as it says.",
    )
    max_restarts: int = Field(
        3,
        ge=0,
        description="How often the processes are started again, from the newest checkpoint, when "
        "one of them dies. For torchrun: its --max-restarts.",
    )
    sync_batch_norm: bool = Field(
        False,
        description="BatchNorm over the whole batch of all processes, as one process would see it. "
        "Off, each sees its own share, and the running statistics are those of the first.",
    )
    sharded: bool = Field(
        False,
        description="Each process holds but its share of weights, average and optimizer (FSDP2), "
        "for networks larger than one GPU. The result and the checkpoints are the same, the steps "
        "slower. Of no effect with one process.",
    )
    mixed_precision: Literal["auto", "off", "bf16", "fp16"] = Field(
        "auto",
        description="Number format of the convolutions. auto: bf16 where the device computes it "
        "natively, else off (float32).",
    )
    ema_decay: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Decay of an exponential moving average of the weights, which is then what "
        "validation judges. Default: none.",
    )
    channels_last: bool = Field(
        False, description="Memory format channels_last_3d: faster on some GPUs, measure."
    )
    compile: bool = Field(
        False, description="Compile the network with torch.compile: minutes at first, then faster."
    )
    augmentation: AugmentationConfig = Field(
        AugmentationConfig(), description="How training patches are varied."
    )
    max_skipped: int = Field(
        20,
        ge=1,
        description="Iterations in a row with a loss or gradient that is not finite, each of them "
        "skipped, after which training stops.",
    )
