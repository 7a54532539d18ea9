"""`selviz ablate, curves, atlas`: what silencing units does."""

import argparse
import sys

from selviz.cli.common import Commands, cache_option, device_option, positive, run_option, show, store_and_run, whole
from selviz.text.tables import Progress, ablation_text, areas_text, table
from selviz.text.unit_lists import parse_units


def ablate(args: argparse.Namespace) -> None:
    """Silence units and compare the accuracy, overall and by class, before and after."""
    chosen = parse_units(args.units)
    from selviz.ablation import BoundaryCache
    from selviz.studies.ablation import run_ablation

    cache = BoundaryCache(args.cache_gb)
    store, run = store_and_run(args)
    settings = {name: getattr(args, name) for name in ("mode", "factor", "keep", "fold", "draws", "matched", "seed")}
    with Progress() as progress:
        result = run_ablation(
            store, run, chosen, **settings, cache=cache, report=lambda event: progress({"stage": "draws", **event})
        )
    if result["recomputed"]:
        print("selviz: cached values take more than --cache-gb allows; parts were computed again", file=sys.stderr)
    show(args, result, lambda: ablation_text(result))


def _ablate_options(sub: argparse.ArgumentParser) -> None:
    device_option(sub)
    run_option(sub)
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
    sub.add_argument(
        "--fold",
        type=int,
        choices=(0, 1),
        help="only the evaluation images of this fold (default: both; fold 2 is sealed)",
    )
    sub.add_argument("--draws", type=whole, default=100, help="random sets of the same size beside it (default: 100)")
    sub.add_argument("--matched", type=whole, help="sets of matched units, as far as there are any (default: as many)")
    sub.add_argument("--seed", type=whole, default=0, help="of the draws, of shuffle and of noise (default: 0)")
    cache_option(sub)


def curves(args: argparse.Namespace) -> None:
    """Silence more and more units in order of a metric and at random; store the curves, show the areas under them."""
    from selviz.ablation import BoundaryCache
    from selviz.studies.ablation import run_curves

    cache = BoundaryCache(args.cache_gb)
    store, run = store_and_run(args)
    with Progress() as progress:
        areas = run_curves(
            store, run, args.metric, args.layer, args.steps, args.draws, args.seed, cache, report=progress
        )
    show(args, areas, lambda: areas_text(areas))


def _curves_options(sub: argparse.ArgumentParser) -> None:
    device_option(sub)
    run_option(sub)
    sub.add_argument("--metric", default="si", help="unit metric that orders the units (default: si)")
    sub.add_argument(
        "--layer", action="append", help="only this layer, or `network` for all together; repeat it for more"
    )
    sub.add_argument("--steps", type=positive, default=10, help="points of a curve (default: %(default)s)")
    sub.add_argument("--draws", type=positive, default=10, help="random orders, at least 10 (default: %(default)s)")
    sub.add_argument("--seed", type=whole, default=0, help="of the random orders (default: 0)")
    cache_option(sub)


def atlas(args: argparse.Namespace) -> None:
    """Silence every single unit, exactly, and store what each loses; started again, it resumes."""
    from selviz.ablation import BoundaryCache
    from selviz.studies.ablation import run_atlas

    cache = BoundaryCache(args.cache_gb)
    store, run = store_and_run(args)
    with Progress() as progress:
        frame = run_atlas(store, run, cache, progress, again=args.again)
    show(args, frame, lambda: table(frame))


def _atlas_options(sub: argparse.ArgumentParser) -> None:
    device_option(sub)
    run_option(sub)
    sub.add_argument("--again", action="store_true", help="compute it again even if it is there")
    cache_option(sub)


COMMANDS: Commands = {
    "ablate": (ablate, "selviz ablate mnist-5k-cnn-a0 --units relu1:3,5 --units relu2:0-7", _ablate_options),
    "curves": (curves, "selviz curves mnist-5k-cnn-a0 --metric si --layer relu4", _curves_options),
    "atlas": (atlas, "selviz atlas mnist-5k-cnn-a0", _atlas_options),
}
