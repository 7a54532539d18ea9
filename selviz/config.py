"""The settings of one run, and the name that they give it: `run_name(RunConfig("mnist-5k", "cnn", alpha=-5))`.

A name is a readable prefix and a hash of the settings that differ from their defaults, so a setting added later leaves
every older name as it was, provided that its default switches it off. Each setting is described once, on its field
here: the options of the commands, the fields of the dashboard's Train page and docs/settings.md follow from `SETTINGS`.
"""

import dataclasses
import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from selviz.errors import SelvizError

RUN, PENALTY_GROUP, TRAINING, RECORDING, IMAGES = "Network and data", "Selectivity", "Training", "Recording", "Images"
MAX_VALUES = 10_000  # in one range of a sweep
_METADATA = "setting"


@dataclass(frozen=True)
class Setting:
    """One setting of a run. `below` is the first value that is too large, `plural` its option's name in a sweep."""

    name: str
    type: type
    default: Any  # dataclasses.MISSING where it must be given
    group: str
    help: str
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    below: float | None = None
    plural: str = ""

    @property
    def option(self) -> str:
        """Return `--batch-size`."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def sweep_option(self) -> str:
        """Return `--alphas`: the option that takes several values."""
        return f"--{(self.plural or self.name).replace('_', '-')}"

    @property
    def title(self) -> str:
        """Return `Batch size`."""
        return self.name.replace("_", " ").capitalize()


def _setting(
    group: str,
    help: str,
    *,
    choices: tuple[str, ...] = (),
    minimum: float | None = None,
    below: float | None = None,
    plural: str = "",
) -> dict[str, Any]:
    """Return the metadata of a field: what `Setting` says beside its name, type and default."""
    return {
        _METADATA: {
            "group": group, "help": help, "choices": choices, "minimum": minimum, "below": below, "plural": plural,
        }
    }  # fmt: skip


@dataclass(frozen=True)
class RunConfig:
    """What decides the weights of a trained run. `alpha` < 0 discourages class selectivity, > 0 encourages it.

    With alpha 0 there is no penalty, so its settings are those of every other baseline. Raises SelvizError for a value
    out of range.
    """

    dataset: str = field(
        metadata=_setting(RUN, "such as mnist-5k, cifar10, folder:PATH (a folder of class folders) or hf-dataset:NAME")
    )
    model: str = field(metadata=_setting(RUN, "network, such as cnn or resnet20"))
    alpha: float = field(
        default=0.0,
        metadata=_setting(
            PENALTY_GROUP,
            "strength of the selectivity term; below 0 suppresses it, write --alpha=-1",
            plural="alphas",
        ),
    )
    seed: int = field(
        default=0, metadata=_setting(TRAINING, "of weights and order of images", minimum=0, plural="seeds")
    )
    epochs: int = field(default=8, metadata=_setting(TRAINING, "0: untrained control", minimum=0))
    batch_size: int = field(default=128, metadata=_setting(TRAINING, "images in a training step", minimum=2))
    learning_rate: float = field(default=0.2, metadata=_setting(TRAINING, "peak of the one-cycle schedule", minimum=0))
    momentum: float = field(
        default=0.9, metadata=_setting(TRAINING, "of stochastic gradient descent", minimum=0, below=1)
    )
    weight_decay: float = field(default=1e-4, metadata=_setting(TRAINING, "of stochastic gradient descent", minimum=0))
    clip_norm: float = field(
        default=0.0,
        metadata=_setting(TRAINING, "norm that longer gradients of a step are cut to; 0: none is cut", minimum=0),
    )
    precision: str = field(
        default="32-true",
        metadata=_setting(
            TRAINING,
            "32-true, bf16-mixed, 16-mixed or 64-true",
            choices=("32-true", "bf16-mixed", "16-mixed", "64-true"),
        ),
    )
    penalty_layers: str = field(
        default="all",
        metadata=_setting(
            PENALTY_GROUP, "layers that alpha acts on: all, first:2, last:2, or names such as relu1+relu3"
        ),
    )
    penalty_labels: str = field(
        default="true",
        metadata=_setting(
            PENALTY_GROUP,
            "true, or shuffled: the same penalty on permuted labels, a control",
            choices=("true", "shuffled"),
        ),
    )
    penalty_metric: str = field(
        default="si",
        metadata=_setting(
            PENALTY_GROUP,
            "what alpha acts on: the selectivity index, d', information about the class, or CCMAS",
            choices=("si", "dprime", "class-mi", "ccmas"),
        ),
    )
    penalty_floor: float = field(
        default=0.0,
        metadata=_setting(
            PENALTY_GROUP,
            "mean activation below which a unit's share of the penalty's gradient shrinks, so that it stays bounded; "
            "0: never",
            minimum=0,
        ),
    )
    alpha_from: int = field(default=1, metadata=_setting(PENALTY_GROUP, "first epoch in which alpha acts", minimum=1))
    alpha_until: int = field(
        default=0, metadata=_setting(PENALTY_GROUP, "last epoch in which alpha acts; 0: the last of all", minimum=0)
    )
    alpha_ramp: int = field(
        default=0, metadata=_setting(PENALTY_GROUP, "epochs over which alpha grows to its full size", minimum=0)
    )
    label_noise: float = field(
        default=0.0, metadata=_setting(TRAINING, "share of training labels made wrong, 0 to 1", minimum=0, below=1)
    )
    augment: str = field(
        default="none",
        metadata=_setting(
            TRAINING,
            "none; crop: pad by an eighth and crop; crop-flip: mirrored half of the time besides",
            choices=("none", "crop", "crop-flip"),
        ),
    )
    snapshots: int = field(
        default=0, metadata=_setting(RECORDING, "moments of an epoch at which every unit's SI is kept", minimum=0)
    )
    mean: str = field(
        default="",
        metadata=_setting(IMAGES, "mean per channel, 0..1, such as 0.485,0.456,0.406 (default: computed)"),
    )
    std: str = field(
        default="",
        metadata=_setting(
            IMAGES, "standard deviation per channel, 0..1, such as 0.229,0.224,0.225 (default: computed)"
        ),
    )
    image_size: int = field(
        default=0,
        metadata=_setting(IMAGES, "side of the crop from the center (default: the images' own, or 224)", minimum=0),
    )
    resize_size: int = field(
        default=0,
        metadata=_setting(IMAGES, "shorter side before the crop (default: 8/7 of --image-size)", minimum=0),
    )
    interpolation: str = field(
        default="", metadata=_setting(IMAGES, "bilinear, bicubic, lanczos or nearest (default: bilinear)")
    )
    channels: int = field(
        default=0, metadata=_setting(IMAGES, "1: gray, 3: color (default: the data set's own, or 3)", minimum=0)
    )
    max_images: int = field(
        default=0, metadata=_setting(IMAGES, "evaluate on so many images, stratified (default: all)", minimum=0)
    )
    further_sealed: int = field(
        default=0,
        metadata=_setting(
            IMAGES,
            "seal so many further images for tests of claims, beyond --max-images (default: a third of those is "
            "sealed)",
            minimum=0,
        ),
    )

    train_folder: str = field(
        default="",
        metadata=_setting(IMAGES, "of folder:PATH, the folder of training images in it (default: told by names)"),
    )
    test_folder: str = field(
        default="",
        metadata=_setting(
            IMAGES, "of folder:PATH, the folder of evaluation images in it, . for PATH itself (default: told by names)"
        ),
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "dataset", absolute_spec(self.dataset))
        for setting in SETTINGS.values():
            _check(setting, getattr(self, setting.name))
        if not re.fullmatch(r"all|(first|last):[1-9]\d*|[^:+,\s]+(\+[^:+,\s]+)*", self.penalty_layers):
            raise SelvizError(
                f"penalty_layers is {self.penalty_layers!r}; use all, first:2, last:2, or names such as relu1+relu3."
            )
        last = self.alpha_until or self.epochs
        if self.epochs and not self.alpha_from <= last <= self.epochs:
            raise SelvizError(
                f"The penalty would count from epoch {self.alpha_from} to epoch {last} of {self.epochs}; choose "
                "alpha_from and alpha_until within the training."
            )
        if self.alpha == 0:
            for name in PENALTY:
                object.__setattr__(self, name, SETTINGS[name].default)
        # 1 and 1.0, -0.0 and 0.0 are the same setting and must give the same name.
        for setting in SETTINGS.values():
            value = getattr(self, setting.name)
            exact = float(value) + 0.0 if setting.type is float else setting.type(value)
            object.__setattr__(self, setting.name, exact)


def _setting_of(field: dataclasses.Field[Any]) -> Setting:
    assert isinstance(field.type, type)
    return Setting(name=field.name, type=field.type, default=field.default, **field.metadata[_METADATA])


SETTINGS: dict[str, Setting] = {field.name: _setting_of(field) for field in dataclasses.fields(RunConfig)}
# How images are prepared; `selviz.datasets` says what each means. A default leaves the choice to the images.
IMAGE_SETTINGS = tuple(name for name, setting in SETTINGS.items() if setting.group == IMAGES)
# What makes no difference where alpha is 0.
PENALTY = tuple(name for name, setting in SETTINGS.items() if setting.group == PENALTY_GROUP and name != "alpha")
# What `train` and `sweep` take beside data set, network and the preparation of images.
TRAINING_SETTINGS = tuple(name for name, setting in SETTINGS.items() if setting.group not in (RUN, IMAGES))


def _check(setting: Setting, value: Any) -> None:
    """Raise SelvizError if `value` is out of the setting's range."""
    name = setting.name
    if setting.type is float and not math.isfinite(value):
        example = "-1" if name == "alpha" else "0.1"
        raise SelvizError(
            f"{name} is {value}, which is not a finite number; give a number such as {setting.option}={example}."
        )
    too_small = setting.minimum is not None and value < setting.minimum
    if too_small and setting.below is None:
        raise SelvizError(
            f"{name} is {value}; it must be at least {setting.minimum:g}"
            + (" (0 is the untrained control)." if name == "epochs" else ".")
        )
    if too_small or (setting.below is not None and not value < setting.below):
        raise SelvizError(f"{name} is {value}; it must be at least {setting.minimum:g} and below {setting.below:g}.")
    if setting.choices and value not in setting.choices:
        raise SelvizError(f"{name} is {value!r}; use one of {', '.join(setting.choices)}.")


def parse_values(name: str, text: str) -> list[Any]:
    """Read several values of a setting: `"-1,0.5"` -> [-1.0, 0.5]; of integers also ranges: `"0-2,5"` -> [0, 1, 2, 5].

    Raises SelvizError for what is not one.
    """
    setting = SETTINGS[name]
    values: list[Any] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        first, dash, last = part.partition("-")
        try:
            if setting.type is int and dash and first:
                if not 0 <= int(last) - int(first) < MAX_VALUES:
                    raise ValueError
                values += range(int(first), int(last) + 1)
            else:
                values.append(setting.type(part))
        except ValueError:
            example = {int: "0-4 or 0,2,5", float: "-1,0,0.5"}[setting.type]
            raise SelvizError(
                f"'{part}' in {setting.sweep_option} is not a number; write {setting.sweep_option}={example}."
            ) from None
    if not values:
        raise SelvizError(
            f"The sweep has no run: {setting.sweep_option} is empty; give one value or more, separated by commas."
        )
    return values


HUB_SPEC = "hf-dataset"  # `hf-dataset:NAME`, a set of the Hugging Face hub


def absolute_spec(dataset: str) -> str:
    """Return `folder:images` -> `folder:/home/ann/images`: the path in a data set's spec made absolute; names as
    they are.
    """
    source, colon, path = dataset.partition(":")
    if source == HUB_SPEC and not path.startswith((".", "~", os.sep)):
        return dataset  # a name of the hub
    return f"{source}:{os.path.abspath(os.path.expanduser(path))}" if colon and path else dataset


def short_name(spec: str) -> str:
    """Return what a name or a spec with a path is called in lists: `cifar10` of `folder:/home/ann/cifar10`."""
    last = os.path.basename(spec.partition(":")[2]) if ":" in spec else spec
    return re.sub(r"[^A-Za-z0-9._+=-]+", "-", last).strip("-._+=")[:60] or "images"


def image_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the IMAGE_SETTINGS among a run's settings, for `datasets.load`; those of an older run are missing."""
    return {name: settings[name] for name in IMAGE_SETTINGS if name in settings}


def first_invalid_setting(settings: Mapping[str, Any]) -> str | None:
    """Return the first setting that is there and of another type than a RunConfig's; None if all fit.

    An imported run has no alpha, seed and epochs, and mean and std may be lists of numbers.
    """
    for name, setting in SETTINGS.items():
        if name not in settings:
            continue
        value = settings[name]
        fits = type(value) is setting.type and (setting.type is str or is_number(value))
        if setting.type is float:
            fits = is_number(value)
        if name in ("alpha", "seed", "epochs"):
            fits = fits or value is None
        if name in ("mean", "std"):
            fits = fits or (isinstance(value, list) and all(map(is_number, value)))
        if not fits:
            return name
    return None


def is_number(value: object) -> bool:
    """Return whether it is a finite number that a table can hold, and no truth value."""
    return type(value) in (int, float) and abs(value) < 2**53 and math.isfinite(value)  # type: ignore[arg-type]


def config_to_dict(config: RunConfig) -> dict[str, Any]:
    """Return all settings by name, defaults included."""
    return dataclasses.asdict(config)


def config_from_dict(settings: Mapping[str, Any]) -> RunConfig:
    """Return the settings that `config_to_dict` wrote; unknown names (of a newer selviz) raise SelvizError."""
    if unknown := sorted(set(settings) - set(SETTINGS)):
        raise SelvizError(f"The run has settings that this selviz does not know ({', '.join(unknown)}); update selviz.")
    return RunConfig(**settings)


def run_name(config: RunConfig) -> str:
    """Return `<dataset>-<model>-a<alpha>-s<seed>-<hash>`; the hash covers every setting that is not at its default."""
    differing = {
        name: getattr(config, name) for name, setting in SETTINGS.items() if getattr(config, name) != setting.default
    }
    canonical = json.dumps(differing, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(canonical.encode()).hexdigest()[:8]
    return f"{short_name(config.dataset)}-{re.sub('[:/]', '-', config.model)}-a{config.alpha:g}-s{config.seed}-{digest}"
