"""Which networks the experiments on natural images train: `configs(experiment("cifar10-16"), "folder:cifar10")`.

The questions and the rules of the verdicts are in rules.md, which was written before any of these was trained. Seeds
are the outer loop, so that the networks trained at any time are balanced over alphas.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from selviz.config import RunConfig
from selviz.errors import unknown

# The selviz that trains the rows of the plain recipe, and a later one for what that does not know.
REVISION, LATER_REVISION = "7d96331", "bc42cfb"
PLAIN = {"epochs": 10, "augment": "crop-flip"}
# Chosen on seed 99 by the rule in rules.md (recipe.md); None: nothing that needs it can be trained.
STABLE: dict[str, Any] | None = {"alpha_ramp": 4, "penalty_floor": 0.1}
SMALL = {"image_size": 16, "resize_size": 16}


@dataclass(frozen=True)
class Experiment:
    """One row of the table in rules.md. `settings` are those of every run, but for data set, alpha and seed."""

    key: str
    title: str
    model: str
    settings: Mapping[str, Any]
    alphas: tuple[float, ...]
    seeds: tuple[int, ...]
    stable: bool = False
    images: str = "CIFAR-10"
    revision: str = REVISION
    classes: int = 10

    @property
    def networks(self) -> int:
        """How many networks are planned."""
        return len(self.alphas) * len(self.seeds)


SHUFFLED = {"penalty_labels": "shuffled"}
EXPERIMENTS = (
    Experiment(
        "cifar10-16", "Less selectivity: `resnet20` at 16 pixels", "resnet20", SMALL | PLAIN,
        (0, -2, -1, -0.4, -5), tuple(range(10)),
    ),
    Experiment(
        "cifar10-16-stable", "More selectivity, by a recipe that does not diverge", "resnet20", SMALL | PLAIN,
        (0, 0.4, 1, 0.2), tuple(range(5)), stable=True, revision=LATER_REVISION,
    ),
    Experiment(
        "cifar10-16-permuted", "The same penalty on permuted labels", "resnet20", SMALL | PLAIN | SHUFFLED,
        (-2,), tuple(range(5)),
    ),
    Experiment(
        "cifar10-16-permuted-stable", "The same penalty on permuted labels, stable recipe", "resnet20",
        SMALL | PLAIN | SHUFFLED, (0.4,), tuple(range(5)), stable=True, revision=LATER_REVISION,
    ),
    Experiment(
        "cifar10-32", "The confirmation at 32 pixels", "resnet20", {"epochs": 20, "augment": "crop-flip"},
        (0, -2, -1), tuple(range(3)),
    ),
    Experiment(
        "cifar10-16-vgg", "Another network: a narrow VGG16 at 16 pixels", "vgg16-narrow", SMALL | PLAIN,
        (0, -2, 0.4), tuple(range(3)), stable=True, revision=LATER_REVISION,
    ),
    Experiment(
        "cifar10-16-superclasses", "Other labels: animal or vehicle", "resnet20", SMALL | PLAIN,
        (0, -2, 0.4), tuple(range(3)), stable=True, revision=LATER_REVISION, images="CIFAR-10 as animals and vehicles",
        classes=2,
    ),
)  # fmt: skip

# The first paper's claims on digits, with rules of their own (verdicts.py): docs/reproduction.md.
DIGITS = (
    Experiment(
        "mnist-5k", "5,000 MNIST images, `cnn`", "cnn", {}, (0, -1, 1, -2, 2, -5, 5), tuple(range(10)),
        images="5,000 MNIST images", revision=LATER_REVISION,
    ),
    Experiment(
        "mnist-5k-permuted", "5,000 MNIST images, `cnn`, the penalty on permuted labels", "cnn", SHUFFLED,
        (-1, 1, -5, 5), tuple(range(10)), images="5,000 MNIST images", revision=LATER_REVISION,
    ),
)  # fmt: skip


def experiment(key: str) -> Experiment:
    """Return the experiment of that key; SelvizError names the known ones."""
    for entry in (*EXPERIMENTS, *DIGITS):
        if entry.key == key:
            return entry
    raise unknown("experiment", key, [entry.key for entry in (*EXPERIMENTS, *DIGITS)])


def asked(dataset: str, key: str | None) -> list[Experiment]:
    """Return the experiments that networks on these images may belong to: the one named, else all on such images."""
    if key is not None:
        return [experiment(key)]
    if dataset == "mnist-5k":
        return list(DIGITS)
    return [planned for planned in EXPERIMENTS if planned.images == "CIFAR-10"]


def configs(planned: Experiment, dataset: str) -> list[RunConfig]:
    """Return the runs of an experiment on the images at `dataset`, in the order of training; [] without its recipe."""
    if planned.stable and STABLE is None:
        return []
    settings = {**planned.settings, **(STABLE or {} if planned.stable else {})}
    return [
        RunConfig(dataset, planned.model, alpha=alpha, seed=seed, **settings)
        for seed in planned.seeds
        for alpha in planned.alphas
    ]
