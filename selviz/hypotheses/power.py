"""How likely a test is to support a claim that is true: `power("necessary", settings, facts)`, before it is registered.

Samples are drawn from a simple model with an effect planted in it (no difference where the claim is that there is
none), and go through the very function that will judge the real one. How much units, images and seeds vary is taken
from the store where it holds that, and assumed otherwise; which, is said.

A claim is supported only if its interval clears the smallest effect that matters, so with just that effect it is
supported hardly ever: power is that of a larger one, the effect that is expected.
"""

import math
from collections.abc import Mapping
from typing import Any, TypedDict

import numpy as np

from selviz import statistics
from selviz.hypotheses.decision import SUPPORTED, decide
from selviz.hypotheses.template import About
from selviz.hypotheses.templates import TEMPLATES

DRAWS, CURVE_DRAWS, ENOUGH = 200, 60, 0.8
CURVE = (1.0, 1.5, 3.0)  # times the smallest effect that matters


class PowerPoint(TypedDict):
    """The share of simulated tests that support a claim with this effect."""

    effect: float
    power: float


class Power(TypedDict):
    """`power` 0..1 with its Wilson interval for the number of draws, at the true effect `effect`.

    `curve` has it for other effects; `two_folds` what it would be if the images were halved and not divided in three
    (None where it does not depend on images, and where `further` images are sealed, so that the fold costs no power);
    `model` says in words what is assumed.
    """

    power: float
    low: float
    high: float
    draws: int
    effect: float
    smallest: float
    assumed: bool
    model: str
    curve: list[PowerPoint]
    two_folds: float | None
    further: bool


def expected_effect(about: About, settings: Mapping[str, Any]) -> float:
    """Return the true effect that power is shown for: the one that is expected, else twice the smallest that
    matters.
    """
    if about.difference_is_small or settings.get("claim") in ("no cost", "equivalent"):
        return 0.0
    smallest = float(settings["smallest"])
    return float(settings.get("expected") or min(2 * smallest, (smallest + about.largest) / 2))


def power(
    template: str, settings: Mapping[str, Any], facts: Mapping[str, Any], draws: int = 0, effect: float | None = None
) -> Power:
    """Return the power of a test; `effect` is the true one, by default the expected one."""
    about = TEMPLATES[template].about
    draws = draws or (DRAWS // 2 if template == "replicates" else DRAWS)  # each of these resamples images
    effect = expected_effect(about, settings) if effect is None else effect
    rate = supported_rate(template, settings, facts, draws, effect)
    low, high = statistics.wilson(round(rate * draws), draws)
    curve = []
    if effect:
        effects = [times * settings["smallest"] for times in CURVE if times * settings["smallest"] < about.largest]
        curve = [
            PowerPoint(effect=value, power=supported_rate(template, settings, facts, CURVE_DRAWS, value))
            for value in effects
        ]
    halves = {name: round(1.5 * facts[name]) for name in ("images", "of_images") if name in facts}
    two_folds, further = None, bool(settings.get("further_sealed"))
    if not further and about.samples == "images" and halves and settings.get("fold") == 2 and template != "map":
        two_folds = supported_rate(template, settings, {**facts, **halves}, CURVE_DRAWS, effect)
    return Power(
        power=rate,
        low=float(low),
        high=float(high),
        draws=draws,
        effect=effect,
        smallest=float(settings["smallest"]),
        assumed=bool(facts.get("assumed")),
        model=about.model.format(**{k: v for k, v in facts.items() if isinstance(v, int | float | str)}),
        curve=curve,
        two_folds=two_folds,
        further=further,
    )


def supported_rate(
    template: str, settings: Mapping[str, Any], facts: Mapping[str, Any], draws: int, effect: float
) -> float:
    """Return the share of simulated tests, 0..1, that support the claim with this true effect."""
    kind = TEMPLATES[template]
    shorter = {**settings, "permutations": max(199, math.ceil(5 / settings["level"]) - 1)}
    generator = np.random.default_rng(settings["seed"])
    supported = 0
    for draw in range(draws):
        sample = kind.simulate(generator, shorter, facts, effect)
        parts = kind.judge(sample, {**shorter, "seed": draw})
        supported += decide(parts, settings["level"])[0] == SUPPORTED
    return supported / draws


def power_sentence(power: Mapping[str, Any], unit: str = "") -> str:
    """Return the power in words, and a warning where the test would most likely not tell."""

    def amount(value: float) -> str:
        return f"{100 * value:g} points" if unit == "points" else f"{value:g}"

    share = f"{100 * power['power']:.0f} % of {power['draws']} simulated tests"
    if "curve" not in power:  # registered under the first rules
        return f"With an effect of {power['effect']:g} it was to be supported in {share}: {power['told']}."
    if power["effect"]:
        text = (
            f"If the true effect is {amount(power['effect'])}, the claim is supported in {share}; supported means that "
            f"the whole interval lies above {amount(power['smallest'])}."
        )
        others = ", ".join(f"{100 * p['power']:.0f} % at {amount(p['effect'])}" for p in power["curve"])
        text += f" With other effects: {others}." if others else ""
    else:
        text = f"If there is no difference at all, the claim is supported in {share}."
    source = "assumed values" if power["assumed"] else "values of the store"
    text += f" Simulated from {source}: {power['model']}."
    if power["two_folds"] is not None:
        text += (
            f" The price of a sealed fold: with half of the images in place of a third it would be "
            f"{100 * power['two_folds']:.0f} %."
        )
    if power.get("further"):
        text += " The sealed fold holds further images, so no power is paid for it."
    if power["power"] < ENOUGH:
        text += (
            f" That is below {100 * ENOUGH:.0f} %: this test may well not support an effect of this size, and an open "
            "verdict would say little."
        )
    return text
