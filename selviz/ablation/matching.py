"""Control units that are like the chosen ones: `m = Matching(covariates(values, weights), chosen)`, `m.sets(100)`.

Units are *matched* if they lie within a caliper of the chosen ones in mean activation, its standard deviation, and
outgoing weight: standardized differences of at most 0.25 each (Rosenbaum & Rubin 1985, Am. Stat. 39:33, for the idea;
the covariates and the caliper are selviz's). Where a layer has no such units there is no matched control.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, fx, nn

from selviz.networks import graph_nodes
from selviz.networks.unit_network import UnitNetwork
from selviz.statistics import CALIPER

COVARIATES = ("mean activation", "standard deviation", "outgoing weight")
MAX_TRIES = 20  # for each set that is wanted: where few sets exist, the same ones come again
_PASSING = (
    nn.AdaptiveAvgPool2d, nn.AvgPool2d, nn.MaxPool2d, nn.AdaptiveMaxPool2d, nn.Identity, nn.Flatten, nn.Dropout,
    nn.Dropout2d,
)  # fmt: skip
_PASSING_CALLS = {
    "add", "iadd", "mean", "flatten", "view", "reshape", "dropout", "avg_pool2d", "max_pool2d", "adaptive_avg_pool2d",
    "squeeze", "contiguous", "size", "getattr",
}  # fmt: skip


class Balance(NamedTuple):
    """How alike chosen and matched units are in one covariate; the difference is in standard deviations of the
    layer.
    """

    covariate: str
    chosen: float
    matched: float
    difference: float


class Matching:
    """The units of one layer that may stand in for each chosen one.

    `covariates` [U, K] with a column for each of COVARIATES that is known; `live` [U] says which units may be controls
    and set the standard deviations. `candidates` has a list of units for each chosen unit.
    """

    def __init__(self, covariates: np.ndarray, chosen: Sequence[int], live: np.ndarray, caliper: float = CALIPER):
        self.covariates, self.chosen = np.asarray(covariates, dtype=float), list(chosen)
        spread = self.covariates[live].std(axis=0) if live.any() else np.ones(self.covariates.shape[1])
        self._spread = np.where(spread > 0, spread, 1.0)
        free = np.asarray(live).copy()
        free[self.chosen] = False
        scaled = self.covariates / self._spread
        self.candidates = [
            np.flatnonzero(free & (np.abs(scaled - scaled[unit]) <= caliper + 1e-9).all(axis=1)).tolist()
            for unit in self.chosen
        ]

    @property
    def possible(self) -> bool:
        """Return whether every chosen unit has a unit of its own that stands in for it."""
        return self._largest_matching() == len(self.chosen)

    def sets(self, draws: int, seed: int = 0) -> Iterator[list[int]]:
        """Yield at most `draws` different sets, each of one candidate for each chosen unit."""
        for drawn in matched_sets({"": self}, draws, seed):
            yield drawn[""]

    def balance(self, sets: Sequence[Sequence[int]]) -> list[Balance]:
        """Return the means of chosen and of matched units in each covariate, and their standardized difference."""
        ours = self.covariates[self.chosen].mean(axis=0)
        theirs = self.covariates[[unit for drawn in sets for unit in drawn]].mean(axis=0)
        rows = zip(COVARIATES, ours.tolist(), theirs.tolist(), ((ours - theirs) / self._spread).tolist())
        return [Balance(*row) for row in rows]

    def why_not(self, layer: str) -> str:
        """Return the sentence that says that there is no matched control."""
        lonely = [unit for unit, candidates in zip(self.chosen, self.candidates) if not candidates]
        what = f"unit {lonely[0]} of {layer}" if lonely else f"all of the chosen units of {layer} at once"
        return (
            f"no other live units lie within {CALIPER:g} standard deviations of {what} in "
            f"{', '.join(COVARIATES[: self.covariates.shape[1]])}, so there is no matched control"
        )

    def draw(self, generator: random.Random) -> tuple[int, ...] | None:
        """Return one set in order, None where the drawing ran into a unit without a free candidate."""
        taken: set[int] = set()
        # Those with few candidates first, or they are taken away from them.
        order = sorted(range(len(self.chosen)), key=lambda place: (len(self.candidates[place]), generator.random()))
        for place in order:
            free = [unit for unit in self.candidates[place] if unit not in taken]
            if not free:
                return None
            taken.add(generator.choice(free))
        return tuple(sorted(taken))

    def _largest_matching(self) -> int:
        """Return how many chosen units can have a stand-in of their own at once."""
        from scipy.sparse import csr_matrix
        from scipy.sparse.csgraph import maximum_bipartite_matching

        possible = np.zeros((len(self.chosen), len(self.covariates)), dtype=bool)
        for place, candidates in enumerate(self.candidates):
            possible[place, candidates] = True
        return int((maximum_bipartite_matching(csr_matrix(possible), perm_type="column") >= 0).sum())


def matchings(
    network: UnitNetwork, units: Mapping[str, Sequence[int]], statistics: Mapping[str, tuple[Tensor, Tensor]]
) -> dict[str, Matching]:
    """Return the Matching of each layer of `units`; `statistics` are each layer's means and standard deviations [U]."""
    by_layer = {}
    for name, chosen in units.items():
        means, spreads = (torch.as_tensor(part) for part in statistics[name])
        live = ((means != 0) | (spreads != 0)).numpy()
        by_layer[name] = Matching(covariates(means, spreads, outgoing_weights(network, name)), chosen, live)
    return by_layer


def matched_sets(matchings: Mapping[str, Matching], draws: int, seed: int = 0) -> Iterator[dict[str, list[int]]]:
    """Yield at most `draws` different sets of units that are matched in every layer; none where one has no match."""
    if not all(matching.possible for matching in matchings.values()):
        return
    generator = random.Random(seed)
    seen: set[tuple[tuple[int, ...] | None, ...]] = set()
    for _ in range(draws * MAX_TRIES):
        if len(seen) == draws:
            return
        drawn = {name: matching.draw(generator) for name, matching in matchings.items()}
        if all(drawn.values()) and (key := tuple(drawn.values())) not in seen:
            seen.add(key)
            yield {name: list(numbers or ()) for name, numbers in drawn.items()}


def covariates(means: Tensor, spreads: Tensor, weights: Tensor | None) -> np.ndarray:
    """Return [U, 2 or 3] of each unit's mean activation, its standard deviation, and outgoing weight where known."""
    columns = [means, spreads] + ([] if weights is None else [weights])
    return torch.stack([torch.as_tensor(column).double() for column in columns], dim=1).numpy()


def outgoing_weights(network: UnitNetwork, name: str) -> Tensor | None:
    """Return the length [U], on the CPU, of each unit's weights in the linear steps that follow its layer.

    The convolutions and linear modules up to which only additions, poolings and reshapes lie; their squared weights are
    summed over outputs and positions. None where there is none, or where one mixes the units of several layers.
    """
    layer = network.layer(name)
    nodes = {node.name: node for node in network.graph.nodes}
    modules = dict(network.root.named_modules())
    squares, waiting, seen = [], [nodes[layer.node]], set()
    while waiting:
        for node in waiting.pop().users:
            if node.name in seen:
                continue
            seen.add(node.name)
            module = modules.get(str(node.target)) if node.op == "call_module" else None
            weight = module.weight if isinstance(module, nn.Linear | nn.Conv2d) else _called_weight(network, node)
            if weight is not None:
                if weight.shape[1] % layer.units or getattr(module, "groups", 1) != 1:
                    return None
                squares.append(weight.detach().double().square().sum(dim=0).reshape(layer.units, -1).sum(dim=1))
            elif isinstance(module, _PASSING) or (module is None and graph_nodes.called(node) in _PASSING_CALLS):
                waiting.append(node)
    return torch.stack(squares).sum(dim=0).sqrt().cpu() if squares else None


def _called_weight(network: UnitNetwork, node: fx.Node) -> Tensor | None:
    """Return the weight [out, in, ...] of a convolution or linear step that is called as a function."""
    if graph_nodes.called(node) not in ("conv2d", "linear", "convolution") or len(node.args) < 2:
        return None
    source = node.args[1]
    if not isinstance(source, fx.Node) or source.op != "get_attr":
        return None
    value = network.root
    for part in str(source.target).split("."):
        value = getattr(value, part)
    return value if isinstance(value, Tensor) else None
