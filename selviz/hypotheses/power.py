"""How likely a test is to support a claim that is true: `power("necessary", settings, facts)`, before it is registered.

Samples are drawn from a simple model with the smallest effect that matters planted in it (no difference where the
claim is that there is none), and go through the very function that will judge the real one. How much units, images and
seeds vary is taken from the store where it holds that, and assumed otherwise; which, is said.
"""

import math
from collections.abc import Mapping

import numpy as np

from selviz import statistics
from selviz.hypotheses.decision import decide
from selviz.hypotheses.templates import TEMPLATES

DRAWS, ENOUGH = 200, 0.8


def power(template: str, settings: Mapping, facts: Mapping, draws: int = 0, effect: float | None = None) -> dict:
    """{"power" 0..1, "low", "high" (95 % Wilson, for the number of draws), "draws", "effect", "assumed", "told"}.

    `effect` is the true one, by default the smallest that matters; `told` says in words what the model assumes.
    """
    kind = TEMPLATES[template]
    draws = draws or (DRAWS // 2 if template == "replicates" else DRAWS)  # each of these resamples images
    null = settings.get("claim") in ("no cost", "equivalent") or template == "single"
    effect = effect if effect is not None else 0.0 if null else settings["smallest"]
    shorter = {**settings, "permutations": max(199, math.ceil(5 / settings["level"]) - 1)}
    generator = np.random.default_rng(settings["seed"])
    supported = 0
    for draw in range(draws):
        sample = kind.simulate(generator, shorter, facts, effect)
        parts = kind.judge(sample, {**shorter, "seed": draw})
        supported += decide(parts, settings["level"])[0] == "supported"
    low, high = statistics.wilson(supported, draws)
    return {
        "power": supported / draws,
        "low": float(low),
        "high": float(high),
        "draws": draws,
        "effect": effect,
        "assumed": bool(facts.get("assumed")),
        "told": kind.about.told.format(**{k: v for k, v in facts.items() if isinstance(v, int | float | str)}),
    }
