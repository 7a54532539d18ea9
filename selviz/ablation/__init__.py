"""What a network loses when units are silent.

    engine = Engine(network, inputs, labels)                      # shares its BoundaryCache with others
    result = ablate(engine, {"relu3": [4, 7]}, class_names)       # with random and matched controls
    for estimate in progress(engine, changes(engine, {"relu3": [4, 7]}, "scale", 0.5)):
        ...                                                       # ends exact

tail (its graph: tail_graph): what follows a unit layer; engine: batches; boundary_cache: memory; cuts: where deeper
layers begin; modes: what is done to units, and control sets; many_sets (linear_sets): many sets at once; effects: what
comes of it; curves: many units one after the other; atlas: every unit alone; class_effects: what a unit does to logits.
"""

from selviz.ablation.atlas import atlas_layer, gradient_estimates
from selviz.ablation.class_effects import push, relevance
from selviz.ablation.curves import DRAWS, STEPS, area, areas, curves
from selviz.ablation.effects import (
    Estimate,
    ablate,
    balance,
    compare,
    confusions,
    controls,
    edits,
    flips,
    progress,
    ranked,
)
from selviz.ablation.engine import CACHE_GB, BoundaryCache, Engine, Turn
from selviz.ablation.many_sets import set_accuracies, set_logits
from selviz.ablation.matching import (
    Balance,
    Matching,
    covariates,
    matched_sets,
    matchings,
    outgoing_weights,
)
from selviz.ablation.modes import MODES, changes, check_choice, complement, random_sets
from selviz.networks.unit_edit import UnitEdit

__all__ = [
    "CACHE_GB",
    "DRAWS",
    "MODES",
    "STEPS",
    "Balance",
    "BoundaryCache",
    "Engine",
    "Estimate",
    "Matching",
    "Turn",
    "UnitEdit",
    "ablate",
    "area",
    "areas",
    "atlas_layer",
    "balance",
    "changes",
    "check_choice",
    "compare",
    "complement",
    "confusions",
    "controls",
    "covariates",
    "curves",
    "edits",
    "flips",
    "gradient_estimates",
    "matched_sets",
    "matchings",
    "outgoing_weights",
    "progress",
    "push",
    "random_sets",
    "ranked",
    "relevance",
    "set_accuracies",
    "set_logits",
]
