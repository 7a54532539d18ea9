"""The settings of one run, and the name that they give it: `run_name(RunConfig("mnist-5k", "cnn", alpha=-5))`.

A name is a readable prefix and a hash of the settings that differ from their defaults, so a setting added later leaves
every older name as it was, provided that its default switches it off.
"""

import dataclasses
import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from selviz.errors import SelvizError

# How images are prepared; `selviz.datasets` says what each means. A default leaves the choice to the images.
IMAGE_SETTINGS = ("mean", "std", "image_size", "resize_size", "interpolation", "channels", "max_images")
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "64-true")
AUGMENTATIONS = ("none", "crop", "crop-flip")
PENALTY_LABELS = ("true", "shuffled")
PENALTY = ("penalty_layers", "penalty_labels", "alpha_from", "alpha_until", "alpha_ramp")
LEAST = {"epochs": 0, "batch_size": 2, "seed": 0, "learning_rate": 0.0, "weight_decay": 0, "alpha_from": 1}
LEAST |= dict.fromkeys(("alpha_until", "alpha_ramp", "label_noise", "snapshots"), 0)
LEAST |= dict.fromkeys(("image_size", "resize_size", "channels", "max_images"), 0)


@dataclass(frozen=True)
class RunConfig:
    """What decides the weights of a trained run. `alpha` < 0 discourages class selectivity, > 0 encourages it.

    `epochs` 0 is the untrained control; `learning_rate` is the peak of the one-cycle schedule. The penalty is on
    `penalty_layers`: all, first:K, last:K, or names joined by +; with `penalty_labels` shuffled it takes the training
    labels in another order, which tells selectivity from mere regularisation. It counts from epoch `alpha_from` (the
    first is 1) to epoch `alpha_until` (0: the last) and grows to its full size over `alpha_ramp` epochs. `label_noise`
    is the share 0..1 of training labels that are wrong; `augment` is none, crop or crop-flip; `snapshots` is the number
    of points in an epoch at which every unit's SI is kept. With alpha 0 there is no penalty, so its settings are those
    of every other baseline. Raises SelvizError for a value out of range.
    """

    dataset: str
    model: str
    alpha: float = 0.0
    seed: int = 0
    epochs: int = 8
    batch_size: int = 128
    learning_rate: float = 0.2
    momentum: float = 0.9
    weight_decay: float = 1e-4
    precision: str = "32-true"
    penalty_layers: str = "all"
    penalty_labels: str = "true"
    alpha_from: int = 1
    alpha_until: int = 0
    alpha_ramp: int = 0
    label_noise: float = 0.0
    augment: str = "none"
    snapshots: int = 0
    mean: str = ""
    std: str = ""
    image_size: int = 0
    resize_size: int = 0
    interpolation: str = ""
    channels: int = 0
    max_images: int = 0

    def __post_init__(self):
        object.__setattr__(self, "dataset", whole_spec(self.dataset))
        for name in ("alpha", "learning_rate", "momentum", "weight_decay", "label_noise"):
            if not math.isfinite(getattr(self, name)):
                raise SelvizError(
                    f"{name} is {getattr(self, name)}, which is not a finite number; give a number such as "
                    f"--{name.replace('_', '-')}={'-1' if name == 'alpha' else '0.1'}."
                )
        for name, least in LEAST.items():
            if getattr(self, name) < least:
                raise SelvizError(
                    f"{name} is {getattr(self, name)}; it must be at least {least}"
                    + (" (0 is the untrained control)." if name == "epochs" else ".")
                )
        if not 0 <= self.momentum < 1:
            raise SelvizError(f"momentum is {self.momentum}; it must be at least 0 and below 1.")
        if not self.label_noise < 1:
            raise SelvizError(f"label_noise is {self.label_noise}; it is a share of the labels, below 1.")
        for name, known in (
            ("precision", PRECISIONS),
            ("augment", AUGMENTATIONS),
            ("penalty_labels", PENALTY_LABELS),
        ):
            if getattr(self, name) not in known:
                raise SelvizError(f"{name} is {getattr(self, name)!r}; use one of {', '.join(known)}.")
        if not re.fullmatch(r"all|(first|last):[1-9]\d*|[^:+,\s]+(\+[^:+,\s]+)*", self.penalty_layers):
            raise SelvizError(
                f"penalty_layers is {self.penalty_layers!r}; use all, first:2, last:2, or names such as relu1+relu3."
            )
        self._check_schedule()
        if self.alpha == 0:
            for field in dataclasses.fields(self):
                if field.name in PENALTY:
                    object.__setattr__(self, field.name, field.default)
        # 1 and 1.0, -0.0 and 0.0 are the same setting and must give the same name.
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            object.__setattr__(self, field.name, float(value) + 0.0 if field.type is float else field.type(value))

    def _check_schedule(self):
        last = self.alpha_until or self.epochs
        if self.epochs and not self.alpha_from <= last <= self.epochs:
            raise SelvizError(
                f"The penalty would count from epoch {self.alpha_from} to epoch {last} of {self.epochs}; choose "
                "alpha_from and alpha_until within the training."
            )


def whole_spec(dataset: str) -> str:
    """`folder:images` -> `folder:/home/ann/images`: the path in a data set's spec made absolute; names as they are."""
    kind, colon, path = dataset.partition(":")
    return f"{kind}:{os.path.abspath(os.path.expanduser(path))}" if colon and path else dataset


def short_name(spec: str) -> str:
    """What a name or a spec with a path is called in names and lists: `cifar10` of `folder:/home/ann/cifar10`."""
    last = os.path.basename(spec.partition(":")[2]) if ":" in spec else spec
    return re.sub(r"[^A-Za-z0-9._+=-]+", "-", last).strip("-._+=")[:60] or "images"


def image_settings(settings: Mapping) -> dict:
    """The IMAGE_SETTINGS among a run's settings, for `datasets.load`; those of an older run are missing."""
    return {name: settings[name] for name in IMAGE_SETTINGS if name in settings}


def odd_setting(settings: Mapping) -> str | None:
    """The first setting that is there and of another kind than a RunConfig's; None if all fit.

    An imported run has no alpha, seed and epochs, and mean and std may be lists of numbers.
    """
    for field in dataclasses.fields(RunConfig):
        if field.name not in settings:
            continue
        value, kind = settings[field.name], str if field.default is dataclasses.MISSING else type(field.default)
        fits = is_number(value) if kind is float else type(value) is kind and (kind is str or is_number(value))
        if field.name in ("alpha", "seed", "epochs"):
            fits = fits or value is None
        if field.name in ("mean", "std"):
            fits = fits or (isinstance(value, list) and all(map(is_number, value)))
        if not fits:
            return field.name
    return None


def is_number(value) -> bool:
    """Whether it is a finite number that a table can hold, and no truth value."""
    return type(value) in (int, float) and abs(value) < 2**53 and math.isfinite(value)


def config_to_dict(config: RunConfig) -> dict:
    """All settings by name, defaults included."""
    return dataclasses.asdict(config)


def config_from_dict(settings: dict) -> RunConfig:
    """The settings that `config_to_dict` wrote; unknown names (of a newer selviz) raise SelvizError."""
    known = {field.name for field in dataclasses.fields(RunConfig)}
    if unknown := sorted(set(settings) - known):
        raise SelvizError(f"The run has settings that this selviz does not know ({', '.join(unknown)}); update selviz.")
    return RunConfig(**settings)


def run_name(config: RunConfig) -> str:
    """`<dataset>-<model>-a<alpha>-s<seed>-<hash>`; the hash covers every setting that differs from its default."""
    differing = {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(config)
        if field.default is dataclasses.MISSING or getattr(config, field.name) != field.default
    }
    canonical = json.dumps(differing, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(canonical.encode()).hexdigest()[:8]
    return f"{short_name(config.dataset)}-{config.model.replace(':', '-')}-a{config.alpha:g}-s{config.seed}-{digest}"
