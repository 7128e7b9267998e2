"""DaCapo's RunConfig, of 0.3.5 or its main branch, as ours. Reads no more than shapes of arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dacapo_core.experiments.from_dacapo.data_translation import translate_datasplit
from dacapo_core.experiments.from_dacapo.translated_part import Part, Source

Values = Mapping[str, Any]

ARCHITECTURE_FIELDS = (
    "input_shape",
    "eval_shape_increase",
    "fmaps_in",
    "fmaps_out",
    "num_fmaps",
    "fmap_inc_factor",
    "downsample_factors",
    "kernel_size_down",
    "kernel_size_up",
    "upsample_factors",
    "constant_upsample",
    "padding",
    "batch_norm",
)
DISTANCE_FIELDS = (
    "channels",
    "clip_distance",
    "tol_distance",
    "scale_factor",
    "mask_distances",
    "clipmin",
    "clipmax",
)
# DaCapo's LinearLR
WARMUP = 1000


def translate_run(values: Values, new_name: str | None = None) -> Part:
    """A run of DaCapo's as ours, with a note for each field that has no counterpart.

    Args:
        values: as ``read_run`` gives them.
        new_name: of a new run that starts from the latest checkpoint of that one.
    """
    source = Source(values)
    name = source.take("name", "")
    run = Part({"name": new_name or name}, [f"from DaCapo's run {name!r}"])
    trainer = Source(source.take("trainer_config", {}))
    for key, default in (
        ("repetition", 0),
        ("num_iterations", None),
        ("validation_interval", 1000),
    ):
        value = source.take(key, default)
        if value is not None:
            run.values[key] = value
    # the main branch has these with the run, 0.3.5 with the trainer
    run.values["batch_size"] = source.take("batch_size", trainer.take("batch_size", 1))
    run.values["learning_rate"] = source.take("learning_rate", trainer.take("learning_rate", 1e-3))
    workers = source.take("num_workers", trainer.take("num_data_fetchers"))
    if workers is not None:
        run.values["num_workers"] = workers
    task = source.take("task_config", {})
    _put(run, "task_config", task, translate_task(task), "one_hot or distance")
    architecture = source.take("architecture_config", {})
    translated = translate_architecture(architecture)
    _put(run, "architecture_config", architecture, translated, "cnnectome_unet")
    scaling = scaling_of(trainer)
    run.values["trainer_config"] = translate_trainer(trainer)
    datasplit = source.take("datasplit_config", {})
    channels = list(task.get("channels") or task.get("classes") or [])
    _put(
        run,
        "datasplit_config",
        datasplit,
        translate_datasplit(datasplit, channels, scaling),
        "train_validate",
    )
    start = source.take("start_config")
    if new_name is not None:
        run.values["start_config"] = Part({"type": "run", "run": name, "criterion": "latest"})
        if start is not None:
            run.notes.append(f"DaCapo's run had itself started from {dict(start)}")
    elif start is not None:
        run.values["start_config"] = translate_start(start)
    run.note_left_over(source, "run")
    return run


def _put(run: Part, key: str, values: Values, translated: Part | None, choose: str) -> None:
    kind = str(values.get("__type__", key))
    run.put(key, translated, kind, dict(values), f"{choose} for {key}")


def translate_task(values: Values) -> Part | None:
    """A task; None if there is none like it."""
    source = Source(values)
    source.take("name")
    if source.kind == "PretrainedTaskConfig":
        part = translate_task(source.take("sub_task_config", {}))
        if part is not None:
            part.note_left_over(source, "task")
        return part
    if source.kind == "OneHotTaskConfig":
        part = Part(
            {"type": "one_hot", "channels": list(source.take("classes", []))},
            ["DaCapo's classes exclude each other; here each has a probability of its own"],
        )
        part.values["kernel_size"] = source.take("kernel_size", 1)
    elif source.kind == "DistanceTaskConfig":
        part = Part({"type": "distance"})
        part.take(source, *DISTANCE_FIELDS)
    else:
        return None
    part.note_left_over(source, "task")
    return part


def translate_architecture(values: Values) -> Part | None:
    """An architecture; None if there is none like it."""
    source = Source(values)
    if source.kind != "CNNectomeUNetConfig":
        return None
    part = Part({"type": "cnnectome_unet", "name": source.take("name", "")})
    part.take(source, *ARCHITECTURE_FIELDS)
    if source.take("use_attention"):
        part.notes.append("no counterpart for DaCapo's architecture use_attention: true")
    part.note_left_over(source, "architecture")
    return part


def translate_trainer(source: Source) -> Part:
    """A trainer, with its augmentations; there is one kind here."""
    source.take("name")
    augmentation = Part(
        {
            "mirror": False,
            "transpose": False,
            "contrast": 0.0,
            "brightness": 0.0,
            "section_brightness": 0.0,
            "noise": 0.0,
        }
    )
    for values in source.take("augments", []):
        _augment(augmentation, Source(values))
    part = Part(
        {
            "type": "adamw",
            "weight_decay": 0.0,
            "schedule": "constant",
            "warmup_iterations": WARMUP,
            "gradient_clip": None,
            "mixed_precision": "off",
            "augmentation": augmentation,
        },
        ["DaCapo's optimizer is RAdam with a linear warm-up and no decay; here it is AdamW"],
    )
    if source.kind not in ("GunpowderTrainerConfig", ""):
        part.notes.append(f"{source.kind} has no counterpart but this")
    part.note_left_over(source, "trainer")
    return part


def scaling_of(trainer: Source) -> tuple[float, float]:
    """What the trainer makes of raw data in 0…1: a factor and a shift."""
    for values in trainer.peek("augments") or []:
        if values.get("__type__") == "IntensityScaleShiftAugmentConfig":
            return float(values["scale"]), float(values["shift"])
    return 1.0, 0.0


def _augment(part: Part, source: Source) -> None:
    probability = source.take("augmentation_probability", 1.0)
    values = part.values
    if source.kind == "SimpleAugmentConfig":
        values["mirror"] = values["transpose"] = True
        if probability != 1.0:
            part.notes.append(f"DaCapo mirrored and transposed with probability {probability}")
    elif source.kind == "ElasticAugmentConfig":
        sigma = max(map(float, source.take("control_point_displacement_sigma", [0])))
        # points of a normal distribution are seldom farther than this
        values["elastic_displacement"] = 2 * sigma
        values["elastic_spacing"] = max(400.0, 5 * sigma)
        part.notes.append(
            "DaCapo's elastic control points are "
            f"{list(source.take('control_point_spacing', []))} voxels apart and move by a sigma of "
            f"{sigma:g} in world units, with probability {probability}; here elastic_spacing and "
            "elastic_displacement (at most 0.4 of it) are in nm: set them to fit the voxel size"
        )
    elif source.kind == "IntensityAugmentConfig":
        scale = [float(each) for each in source.take("scale")]
        shift = [float(each) for each in source.take("shift")]
        values["contrast"] = round(min(0.99, max(abs(each - 1) for each in scale)), 6)
        # raw data is in 0…1 there and in -1…1 here
        values["brightness"] = 2 * max(map(abs, shift))
        if probability != 1.0:
            part.notes.append(f"DaCapo varied intensities with probability {probability}")
    elif source.kind == "IntensityScaleShiftAugmentConfig":
        scale, shift = source.take("scale"), source.take("shift")
        part.notes.append(
            f"DaCapo's IntensityScaleShift by {scale:g} and {shift:g}: see intensity_range"
        )
    elif source.kind == "NoiseAugmentConfig":
        arguments = dict(source.take("kwargs", {}))
        # skimage's random_noise
        variance = float(arguments.pop("var", 0.01))
        values["noise"] = 2 * variance**0.5
        if arguments:
            part.notes.append(f"no counterpart for DaCapo's noise {arguments}")
    else:
        part.notes.append(f"no counterpart for DaCapo's {source.kind}")
    part.note_left_over(source, source.kind)


def translate_start(values: Values) -> Part:
    """A start."""
    source = Source(values)
    part = Part({"type": "cosem" if source.kind == "CosemStartConfig" else "run"})
    for field in ("run", "criterion"):
        part.values[field] = str(source.take(field))
    source.take("name")
    part.note_left_over(source, "start")
    return part
