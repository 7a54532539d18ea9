"""What each command may be given: `arguments.train(parser)` adds the options of `selviz train`; `parse_units(specs)`.

One function a command, named as the command; what several share stands beside them.
"""

import argparse
from collections.abc import Sequence

from selviz.config import RunConfig
from selviz.errors import SelvizError

TRAIN_SETTINGS = ("alpha", "seed", "epochs", "batch_size", "learning_rate", "momentum", "weight_decay", "precision")
MOST_UNITS = 1_000_000  # in a range: a typing error is refused before it fills the memory


class Parser(argparse.ArgumentParser):
    """argparse whose complaints are one sentence with the command that helps."""

    def error(self, message):
        raise SelvizError(f"{message}. See: {self.prog} --help")


def parse_units(specs: Sequence[str]) -> dict[str, list[int]]:
    """`["relu1:0,4-6", "relu2:1"]` -> `{"relu1": [0, 4, 5, 6], "relu2": [1]}`; sorted, without duplicates.

    Raises SelvizError for what is not LAYER:NUMBERS. Whether the layer and its units exist, the network knows.
    """
    chosen: dict[str, set[int]] = {}
    for spec in specs:
        layer, colon, numbers = spec.rpartition(":")
        if not (layer.strip() and colon and numbers.strip()):
            raise SelvizError(f"'{spec}' names no unit; write LAYER:3,5 or LAYER:3-7, such as relu1:3,5.")
        for part in numbers.split(","):
            first, dash, last = (piece.strip() for piece in part.partition("-"))
            if not (first.isdecimal() and (last.isdecimal() or not dash)):
                raise SelvizError(f"'{part.strip()}' in '{spec}' is no unit number; write LAYER:3,5 or LAYER:3-7.")
            low, high = int(first), int(last or first)
            if low > high:
                raise SelvizError(f"The range '{part.strip()}' in '{spec}' runs backwards; write {high}-{low}.")
            if high - low >= MOST_UNITS:
                raise SelvizError(f"The range '{part.strip()}' in '{spec}' has more units than any layer.")
            chosen.setdefault(layer.strip(), set()).update(range(low, high + 1))
    return {layer: sorted(units) for layer, units in chosen.items()}


def one_unit(spec: str) -> tuple[str, int]:
    chosen = [(layer, number) for layer, numbers in parse_units([spec]).items() for number in numbers]
    if len(chosen) != 1:
        raise SelvizError(f"'{spec}' names {len(chosen)} units; give one, such as relu1:3.")
    return chosen[0]


def whole(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number, 0 or above")
    return int(text)


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number above 0")
    return int(text)


def demo(sub):
    sub.add_argument("--stop", action="store_true", help="stop a running demo and keep the app from starting it again")


def train(sub):
    sub.add_argument("--dataset", required=True, help="data set, such as mnist-5k or digits")
    sub.add_argument("--model", required=True, help="network, such as cnn or resnet20")
    sub.add_argument(
        "--alpha",
        type=float,
        default=RunConfig.alpha,
        help="strength of the selectivity term; below 0 suppresses it, write --alpha=-1 (default: %(default)s)",
    )
    sub.add_argument("--seed", type=int, default=RunConfig.seed, help="(default: %(default)s)")
    sub.add_argument("--epochs", type=int, default=RunConfig.epochs, help="0: untrained control (default: %(default)s)")
    sub.add_argument("--batch-size", type=int, default=RunConfig.batch_size, help="(default: %(default)s)")
    sub.add_argument("--learning-rate", type=float, default=RunConfig.learning_rate, help="peak (default: %(default)s)")
    sub.add_argument("--momentum", type=float, default=RunConfig.momentum, help="(default: %(default)s)")
    sub.add_argument("--weight-decay", type=float, default=RunConfig.weight_decay, help="(default: %(default)s)")
    sub.add_argument("--precision", default=RunConfig.precision, help="or bf16-mixed, ... (default: %(default)s)")
    sub.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default: auto)")
    sub.add_argument("--devices", type=positive, default=1, help="so many GPUs, each a part of the batch (default: 1)")


def run(sub):
    sub.add_argument("run", metavar="RUN", help="a run's name, or a beginning that only one run has")


def units(sub):
    run(sub)
    sub.add_argument("--layer", help="only this layer")
    sub.add_argument("--sort", metavar="COLUMN", help="such as si, largest first")
    sub.add_argument("--ascending", action="store_true", help="smallest first")
    sub.add_argument("--limit", type=positive, help="only so many rows")


def unit(sub):
    run(sub)
    sub.add_argument("unit", metavar="LAYER:UNIT", help="such as relu2:5")


def ablate(sub):
    run(sub)
    sub.add_argument(
        "--units",
        metavar="LAYER:3,5",
        action="append",
        required=True,
        help="units of one layer: numbers and ranges (relu1:0,4-7); repeat it for more layers",
    )
    sub.add_argument("--mode", default="zero", help="zero, mean, shuffle, noise or scale (default: zero)")
    sub.add_argument(
        "--factor", type=float, help="of scale, or of noise in standard deviations; 0 to 3 (default: 1 for noise)"
    )
    sub.add_argument("--keep", action="store_true", help="silence all units of these layers but the named ones")
    sub.add_argument("--fold", type=int, choices=(0, 1), help="only the evaluation images of this fold (default: all)")
    sub.add_argument("--draws", type=whole, default=20, help="random sets of the same size beside it (default: 20)")
    sub.add_argument(
        "--matched", type=whole, help="sets of units with nearly the same mean activation (default: as many)"
    )
    sub.add_argument("--seed", type=whole, default=0, help="of the draws, of shuffle and of noise (default: 0)")
    cache(sub)


def cache(sub):
    sub.add_argument(
        "--cache-gb", type=float, default=2.0, help="memory for values that are computed once (default: %(default)s)"
    )


def curves(sub):
    run(sub)
    sub.add_argument("--metric", default="si", help="unit metric that orders the units (default: si)")
    sub.add_argument(
        "--layer", action="append", help="only this layer, or `network` for all together; repeat it for more"
    )
    sub.add_argument("--steps", type=positive, default=10, help="points of a curve (default: %(default)s)")
    sub.add_argument("--draws", type=positive, default=10, help="random orders, at least 10 (default: %(default)s)")
    sub.add_argument("--seed", type=whole, default=0, help="of the random orders (default: 0)")
    cache(sub)


def atlas(sub):
    run(sub)
    sub.add_argument("--again", action="store_true", help="compute it anew even if it is there")
    cache(sub)


def metrics(sub):
    units(sub)
    sub.add_argument(
        "--superclass",
        metavar="NAME=A,B",
        action="append",
        default=[],
        help="classes that count as one, for the SI of superclasses; repeat it for each superclass",
    )
    sub.add_argument("--agreement", action="store_true", help="rank correlations of the metrics within each layer")
    sub.add_argument("--again", action="store_true", help="compute them anew even if they are there")


def unit_map(sub):
    run(sub)
    sub.add_argument("--again", action="store_true", help="compute it anew even if it is there")


def superclasses(specs: Sequence[str]) -> dict[str, list[str]] | None:
    """`["even=0,2", "odd=1,3"]` -> `{"even": ["0", "2"], "odd": ["1", "3"]}`; None for no specs."""
    found: dict[str, list[str]] = {}
    for spec in specs:
        name, equals, members = spec.partition("=")
        if not (name.strip() and equals and members.strip()) or name.strip() in found:
            raise SelvizError(f"'{spec}' is no superclass, or its name stands twice; write NAME=CLASS,CLASS.")
        found[name.strip()] = [member.strip() for member in members.split(",")]
    return found or None


def attribution(sub):
    run(sub)
    sub.add_argument("--layer", help="layer of the unit")
    sub.add_argument(
        "--method",
        default="integrated_gradients",
        help="integrated_gradients, gradient_x_input, guided_backprop, gradcam, conductance, feature_ablation or "
        "occlusion (default: %(default)s)",
    )
    sub.add_argument("--baseline", default="black", help="what an absent pixel is: black or mean (default: black)")
    sub.add_argument("--at", metavar="LAYER", help="of gradcam and conductance: the layer to look at")
    sub.add_argument("--steps", type=positive, help="of integrated_gradients and conductance")
    sub.add_argument("--patch", type=positive, help="of feature_ablation: side of a square, in pixels")
    sub.add_argument("--window", type=positive, help="of occlusion: side of the window, in pixels")
    sub.add_argument("--stride", type=positive, help="of occlusion: how far the window moves, in pixels")
    sub.add_argument("--smooth", type=whole, help="average over so many noisy copies (SmoothGrad; default: 0)")
    sub.add_argument("--noise", type=float, help="their noise, as a share of the image's range (default: 0.15)")
    sub.add_argument("--seed", type=whole, default=0, help="of what is random (default: 0)")


def attribution_settings(args) -> dict:
    """The settings of `attribution` that were given."""
    names = ("at", "steps", "patch", "window", "stride", "smooth", "noise")
    return {name: getattr(args, name) for name in names if getattr(args, name) is not None}


def attribute(sub):
    attribution(sub)
    sub.add_argument("--unit", type=whole, help="number of the unit in its layer")
    sub.add_argument("--class", dest="label", metavar="NAME", help="a class's logit; with a unit, by way of that unit")
    sub.add_argument("--image", type=whole, required=True, help="number of the evaluation image")


def sanity(sub):
    attribution(sub)
    sub.add_argument("--images", type=positive, default=24, help="at least 20 (default: %(default)s)")
    sub.add_argument("--again", action="store_true", help="compute it anew even if it is there")


def sql(sub):
    sub.add_argument("query", metavar="QUERY", help="one SELECT, WITH or EXPLAIN")
    sub.add_argument("--runs", metavar="A,B", help="only these runs")
    sub.add_argument("--limit", type=positive, default=10_000, help="most rows (default: %(default)s)")
    sub.add_argument("--seconds", type=float, default=30, help="longest time (default: %(default)s)")


def export(sub):
    run(sub)
    sub.add_argument(
        "table",
        metavar="TABLE",
        nargs="?",
        help="units, layers, class_means, images, activations, epochs, atlas, curves, ...",
    )
    sub.add_argument("--format", choices=("csv", "parquet", "json"), help="(default: csv)")
    sub.add_argument("--output", metavar="FILE", help="(default: stdout)")
    sub.add_argument("--to", metavar="FILE.zip", help="the whole run, with the images of its data set")


def import_(sub):
    source = sub.add_mutually_exclusive_group(required=True)
    source.add_argument("--zip", metavar="FILE.zip", help="a run that `selviz export RUN --to FILE.zip` wrote")
    sub.add_argument("--name", help="what to call it here (default: its name)")
