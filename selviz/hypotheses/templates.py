"""The kinds of claim that can be put to a test: `TEMPLATES["necessary"].words(settings)` says one in plain language.

A template says what is measured, in which direction, what would refute it, and beside which controls; the numbers are
`verdicts.JUDGES`'s. Settings are the plain values that `settings.resolve` makes of what a visitor asks for.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

# Each option: how it is called, whether it must be given, and what it means.
RUN = ("run", True, "the network")
UNIT = ("unit", True, "LAYER:NUMBER, or LAYER:best for the one that is most selective for the class on fold 0")
CLASS = ("class", True, "the class, by its name")
LAYER = ("layer", True, "the layer")
DRAWS = ("draws", False, "number of control sets")
CONTROLS = ("both", "random", "matched")


class Template(NamedTuple):
    """One kind of claim. `words` gives statement, quantity, direction, refuted, controls, statistic and sample."""

    title: str
    options: tuple
    smallest: float  # default of the smallest effect that matters
    unit: str  # of the effect: points are shares of 0..1 times 100
    words: Callable[[Mapping], dict[str, str]]
    baselines: str
    intervenes: str  # "" where nothing is silenced
    replicates: bool = False
    distributed: bool = False
    saliency: bool = False

    @property
    def names(self) -> list[str]:
        return [name for name, _, _ in self.options]


def _points(value: float) -> str:
    return f"{100 * value:g} points"


def _unit(s: Mapping) -> str:
    return f"unit {s['unit']} of {s['layer']}"


def _refuted(s: Mapping, effect: str, how: Callable = _points) -> str:
    return f"An interval of {effect} that lies wholly below {how(s['smallest'])}."


def _necessary(s):
    return {
        "statement": f"{_unit(s).capitalize()} in {s['run']} is necessary for class {s['class']}: without it the "
        f"network loses more of that class than without units of the same mean activation, and more than of other "
        f"classes.",
        "quantity": f"the share of the {s['images']} images of class {s['class']} on fold 1 that silencing the unit "
        "(mode zero) turns from right to wrong, minus those it turns from wrong to right",
        "direction": f"a larger drop, by {_points(s['smallest'])} or more",
        "refuted": _refuted(s, "the drop beyond that of matched units, or beyond that of other classes,"),
        "controls": f"{len(s['controls'])} live units of the layer, nearest in mean activation on fold 0; the other "
        "classes' images",
        "statistic": "rank of the drop among the matched units' drops; permutation of the images' classes; both must "
        "hold",
        "sample": f"{s['of_images']} images of fold 1, {s['images']} of the class; intervals are for new images",
    }


def _sufficient(s):
    return {
        "statement": f"{len(s['units'])} units of {s['layer']} in {s['run']} ({_listed(s['units'])}) are sufficient "
        f"for class {s['class']}: keeping only them keeps more of it than keeping a random set of the same size.",
        "quantity": f"informedness for class {s['class']} with every other unit of the layer silent: share of its "
        "images that are called it, minus share of other images that are",
        "direction": f"higher, by {_points(s['smallest'])} or more",
        "refuted": _refuted(s, "the informedness beyond the mean of random sets"),
        "controls": f"{s['draws']} random sets of {len(s['units'])} units of the layer, kept the same way",
        "statistic": "rank among the random sets",
        "sample": f"{s['of_images']} images of fold 1, {s['images']} of the class; intervals are for new images",
    }


def _selective(s):
    kinds = {"random": "random units", "matched": "units of the same mean activation"}
    kind = " and than ".join(f"{s['k']} {kinds[name]}" for name in control_kinds(s["controls"]))
    sets = " and ".join(f"{s['draws']} sets of {s['k']} {kinds[name]}" for name in control_kinds(s["controls"]))
    return {
        "statement": f"In {s['run']} the {s['k']} most selective units of a layer matter more than {kind} of it "
        f"({_listed(s['layers'])}).",
        "quantity": "the drop of accuracy on fold 1 when the units are silent (mode zero), mean over layers, each "
        "layer by itself",
        "direction": f"a larger drop, by {_points(s['smallest'])} or more",
        "refuted": _refuted(s, "the drop beyond the mean of the control sets"),
        "controls": f"{sets} in each layer",
        "statistic": "rank of the mean drop among the control sets'" + ("; both must hold" if "and" in sets else ""),
        "sample": f"units ranked by SI on fold 0, measured on the {s['of_images']} images of fold 1; intervals are for "
        "new images",
    }


def _predicts(s):
    what = {"loss": "the change of the mean cross entropy", "drop": "the drop of accuracy"}[s["measure"]]
    more = "larger" if s["direction"] == "positive" else "smaller"
    return {
        "statement": f"In {s['run']} a unit's SI predicts its importance: within a layer, the higher the SI the {more} "
        f"{what} without the unit ({_listed(s['layers'])}).",
        "quantity": f"Spearman's correlation, over the live units of a layer, of SI on fold 0 with {what} on fold 1 "
        "when the unit alone is silent; averaged over layers by Fisher's z",
        "direction": f"{s['direction']}, by {s['smallest']:g} or more",
        "refuted": _refuted(s, "the correlation in that direction", lambda x: f"{x:g}"),
        "controls": f"{s['permutations']} random orders of SI within each layer",
        "statistic": "permutation test of the correlation",
        "sample": f"every live unit of {len(s['layers'])} layers; the interval is for other units of the kind",
    }


def _alpha(s):
    a, b, m = f"{s['alpha']:g}", f"{s['baseline']:g}", _points(s["smallest"])
    kind = f"{s['dataset']} {s['model']}"
    claim, direction, refuted = {
        "no cost": (
            f"costs no more than {m} of test accuracy",
            f"a loss below {m}",
            f"An interval of the loss that lies wholly above {m}.",
        ),
        "equivalent": (
            f"leaves the test accuracy within {m} of the baseline's",
            f"a difference between -{m} and +{m}",
            f"An interval of the difference that lies wholly outside of ±{m}.",
        ),
        "cost": (
            "costs test accuracy",
            f"a loss, of {m} or more",
            f"An interval of the loss that lies wholly below {m}.",
        ),
    }[s["claim"]]
    tests = {"no cost": "one-sided", "equivalent": "two one-sided tests (TOST)", "cost": "one-sided"}[s["claim"]]
    return {
        "statement": f"Training {kind} with alpha {a} in place of {b} {claim}.",
        "quantity": "test accuracy on all evaluation images, mean over networks that differ in their seed",
        "direction": direction,
        "refuted": refuted,
        "controls": f"{len(s['baseline_runs'])} networks of alpha {b}, trained alike",
        "statistic": f"Welch's t, {tests}",
        "sample": f"{len(s['other_runs'])} and {len(s['baseline_runs'])} networks, seeds {_listed(s['seeds'])}; the "
        "interval is for new seeds",
    }


def _replicates(s):
    return {
        "statement": f"{_unit(s).capitalize()} in {s['run']} is selective for class {s['class']}, more than shuffled "
        f"labels make it, on images that did not show it; and so is the unit that matches it in "
        f"{len(s['others'])} other networks.",
        "quantity": f"(m - r) / (m + r) on fold 1: m the mean activation on class {s['class']}, preferred on fold 0, r "
        "the mean of the other classes' means",
        "direction": f"higher, by {s['smallest']:g} or more",
        "refuted": "An interval of it that lies wholly below "
        f"{s['smallest']:g}, in the network or in one of the others.",
        "controls": f"{s['permutations']} shuffles of the labels of fold 1 in each network",
        "statistic": "rank among the shuffles, in every network; each must hold",
        "sample": f"{s['of_images']} images of fold 1, {s['images']} of the class; the other networks' units are "
        f"matched by correlation on fold 0 ({_listed(s['others'])})",
    }


def _map(s):
    return {
        "statement": f"The {s['method']} map of {_unit(s)} in {s['run']} shows what the network has learned: it "
        f"changes when the weights become random, and taking away what it highlights lowers the unit.",
        "quantity": "1 - Spearman's correlation of the map with that of the network with random weights; share of "
        "random orders of pixels that lower the unit less than the map's order does, minus one half",
        "direction": f"a correlation below {s['alike']:g}; a share above one half by {s['smallest']:g} or more",
        "refuted": f"An interval of the correlation wholly above {s['alike']:g}, or one of the share beyond one half "
        f"wholly below {s['smallest']:g}.",
        "controls": f"the network with its weights in random order; {s['draws']} random orders of pixels an image",
        "statistic": "Student's t over images; mean place among random orders; both must hold",
        "sample": f"the first {s['images']} images of fold 1 on which the unit is not 0; intervals are for new images",
    }


def _single(s):
    return {
        "statement": f"In {s['layer']} of {s['run']} what tells class {s['class']} from the others is in a single "
        f"unit: the best one ({s['unit']}) is at most {s['smallest']:g} below a linear readout of all "
        f"{s['width']} units.",
        "quantity": "area under the ROC curve, on fold 1, of the unit's activation and of the readout: each one "
        "number an image",
        "direction": f"unit minus readout above -{s['smallest']:g}",
        "refuted": f"An interval of unit minus readout that lies wholly below -{s['smallest']:g}.",
        "controls": "a logistic regression (L2, strength 1) on the layer's standardised units, fitted on fold 0",
        "statistic": "DeLong's test on the same images, against a difference of at most the margin",
        "sample": f"unit and readout chosen on fold 0, read on the {s['of_images']} images of fold 1, {s['images']} of "
        "the class; the interval is for new images",
    }


def _robust(s):
    return {
        "statement": f"The lower a network's class selectivity, the more robust it is to {s['corruption']}.",
        "quantity": f"Spearman's correlation over networks of mean SI (live units) with the accuracy under "
        f"{s['corruption']}, mean over severities, divided by the clean accuracy",
        "direction": f"negative, by {s['smallest']:g} or more",
        "refuted": _refuted(s, "the correlation with its sign turned", lambda x: f"{x:g}"),
        "controls": "orders of the networks' SI",
        "statistic": "permutation test of the correlation",
        "sample": f"{len(s['runs'])} networks ({_listed(s['runs'])}); the interval is for other networks of the kind",
    }


def _own(s):
    if s["statistic"] == "rank correlation":
        quantity = f"Spearman's correlation of {s['measure']} with {s['with']} in the table {s['table']}"
        controls, more = f"{s['permutations']} random orders of {s['with']}", s["direction"]
    else:
        quantity = f"mean of {s['measure']} in the table {s['table']} where {_conditions(s['group'])}"
        controls = f"the rows where {_conditions(s['control'])}"
        more = "higher" if s["direction"] == "greater" else "lower"
    return {
        "statement": s["claim"],
        "quantity": quantity,
        "direction": f"{more}, by {s['smallest']:g} or more",
        "refuted": _refuted(s, "the effect in that direction", lambda x: f"{x:g}"),
        "controls": controls,
        "statistic": f"permutation test, {s['statistic']}",
        "sample": f"rows of {_listed(s['runs'])}"
        + (f" where {_conditions(s['where'])}" if s["where"] else "")
        + "; rows are taken as independent",
    }


def control_kinds(controls: str) -> tuple[str, ...]:
    """Which kinds of sets stand beside the most selective units: random ones, ones matched on activation, or both."""
    return ("random", "matched") if controls == "both" else (controls,)


def _conditions(conditions: Mapping) -> str:
    return " and ".join(f"{column} {op} {value}" for column, (op, value) in conditions.items())


def _listed(names, most: int = 4) -> str:
    names = list(map(str, names))
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


TEMPLATES: dict[str, Template] = {
    "necessary": Template(
        "A unit is necessary for a class",
        (RUN, UNIT, CLASS, ("controls", False, "number of matched units")),
        0.1,
        "points",
        _necessary,
        "units matched on mean activation, other classes",
        "silences the unit: tests that it is necessary, not that it suffices",
    ),
    "sufficient": Template(
        "A set of units is sufficient for a class",
        (
            RUN,
            LAYER,
            CLASS,
            ("k", False, "so many units, the most selective for the class on fold 0 (default: 10)"),
            ("units", False, "or these units, such as 3,5,8-11"),
            DRAWS,
        ),
        0.3,
        "points",
        _sufficient,
        "random sets of the same size",
        "keeps only the set: tests that it suffices, not that it is necessary",
    ),
    "selective": Template(
        "Selective units matter more than random ones",
        (
            RUN,
            ("layer", False, "one layer (default: every layer)"),
            ("k", False, "units of each layer (default: a tenth of the narrowest)"),
            (
                "controls",
                False,
                "random, matched on mean activation, or both (default, where layers have 2 k units)",
            ),
            DRAWS,
        ),
        0.03,
        "points",
        _selective,
        "random units of the layer, units matched on mean activation",
        "silences them: tests that they are necessary",
    ),
    "predicts": Template(
        "SI predicts importance",
        (
            RUN,
            ("layer", False, "one layer (default: every layer)"),
            ("measure", False, "loss (default) or drop, of accuracy"),
            ("direction", False, "positive (default) or negative"),
        ),
        0.2,
        "",
        _predicts,
        "random orders of SI",
        "silences every unit alone",
    ),
    "alpha": Template(
        "Changing alpha costs accuracy, or does not",
        (
            ("run", True, "a network of the baseline: its settings, but for alpha and seed, are those of all"),
            ("alpha", True, "the other alpha"),
            ("claim", True, "no cost, equivalent, or cost"),
            ("seeds", False, "such as 0-4 (default: those that both have in the store)"),
        ),
        0.01,
        "points",
        _alpha,
        "networks of the baseline alpha, trained alike",
        "trains with another alpha",
        replicates=True,
    ),
    "replicates": Template(
        "A unit's selectivity is real and replicates",
        (
            RUN,
            UNIT,
            ("class", False, "the class (default: the one preferred on fold 0)"),
            ("runs", False, "other networks (default: those that differ only in their seed)"),
        ),
        0.2,
        "",
        _replicates,
        "shuffled labels",
        "",
        replicates=True,
    ),
    "map": Template(
        "An attribution map shows what was learned",
        (
            RUN,
            UNIT,
            ("class", False, "of LAYER:best"),
            ("method", False, "of attribution (default: integrated_gradients)"),
            ("images", False, "number of images, 20 or more (default: 24)"),
            ("alike", False, "correlation with the random network's map that is too high (default: 0.5)"),
            DRAWS,
        ),
        0.2,
        "",
        _map,
        "random weights, random orders of pixels",
        "takes pixels away",
        saliency=True,
    ),
    "single": Template(
        "The information is in a single unit",
        (RUN, LAYER, CLASS),
        0.05,
        "",
        _single,
        "a linear readout of the layer",
        "",
        distributed=True,
    ),
    "robust": Template(
        "Less selective networks are more robust",
        (
            ("corruption", True, "such as gaussian_noise"),
            ("runs", False, "the networks (default: all of the kind of --run)"),
            ("run", False, "a network of the kind that is meant"),
        ),
        0.3,
        "",
        _robust,
        "random orders of the networks",
        "",
        replicates=True,
    ),
    "own": Template(
        "A claim of one's own",
        (("file", True, "a YAML file: table, measure, groups, statistic (docs/hypotheses.md)"),),
        0.0,
        "",
        _own,
        "a control group of rows, or random orders",
        "",
    ),
}
