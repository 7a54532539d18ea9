"""What changes from step to step: the learning rate, `one_cycle(0.2, step, steps)`; alpha, `alpha_at(config, 2.5)`."""

import torch

from selviz.config import RunConfig

WARM_UP = 0.3  # share of the steps in which the learning rate rises


def one_cycle(peak: float, step: int, steps: int) -> float:
    """Return the learning rate of a step: linear from peak / 25 to peak over WARM_UP, then a cosine to nearly 0."""
    rise = WARM_UP * steps
    if step < rise:
        return peak * (1 / 25 + (1 - 1 / 25) * step / rise)
    share = torch.tensor((step - rise) / max(steps - rise, 1), dtype=torch.float64)
    return peak * float(1 + torch.cos(torch.pi * share)) / 2


def alpha_at(config: RunConfig, done: float) -> float:
    """Return alpha after `done` epochs of training (2.5: in the middle of the third), by the schedule of `config`."""
    waited = done - (config.alpha_from - 1)
    if waited < 0 or (config.alpha_until and done >= config.alpha_until):
        return 0.0
    return config.alpha * (min(1.0, waited / config.alpha_ramp) if config.alpha_ramp else 1.0)
