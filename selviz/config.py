"""The settings of one run, and the name that they give it: `run_name(RunConfig("mnist-5k", "cnn", alpha=-5))`.

A name is a readable prefix and a hash of the settings that differ from their defaults, so a setting added later leaves
every older name as it was, provided that its default switches it off.
"""

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass

from selviz.errors import SelvizError

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "64-true")


@dataclass(frozen=True)
class RunConfig:
    """What decides the weights of a trained run. `alpha` < 0 discourages class selectivity, > 0 encourages it.

    `epochs` 0 is the untrained control; `learning_rate` is the peak of the one-cycle schedule.
    Raises SelvizError for a value out of range.
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

    def __post_init__(self):
        for name in ("alpha", "learning_rate", "momentum", "weight_decay"):
            if not math.isfinite(getattr(self, name)):
                raise SelvizError(
                    f"{name} is {getattr(self, name)}, which is not a finite number; give a number such as "
                    f"--{name.replace('_', '-')}={'-1' if name == 'alpha' else '0.1'}."
                )
        for name, least in (("epochs", 0), ("batch_size", 2), ("seed", 0), ("learning_rate", 0.0), ("weight_decay", 0)):
            if getattr(self, name) < least:
                raise SelvizError(
                    f"{name} is {getattr(self, name)}; it must be at least {least}"
                    + (" (0 is the untrained control)." if name == "epochs" else ".")
                )
        if not 0 <= self.momentum < 1:
            raise SelvizError(f"momentum is {self.momentum}; it must be at least 0 and below 1.")
        if self.precision not in PRECISIONS:
            raise SelvizError(f"precision is {self.precision!r}; use one of {', '.join(PRECISIONS)}.")
        # 1 and 1.0, -0.0 and 0.0 are the same setting and must give the same name.
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            object.__setattr__(self, field.name, float(value) + 0.0 if field.type is float else field.type(value))


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
    return f"{config.dataset}-{config.model}-a{config.alpha:g}-s{config.seed}-{digest}"
