"""`selviz attribute, sanity`: which pixels something comes from, and whether to trust the map."""

import argparse
from typing import Any

from selviz.cli.common import Commands, device_option, positive, run_option, show, store_and_run, whole
from selviz.text.tables import Progress, attribution_text, table

SANITY_COLUMNS = "step module images rank_correlation rank_correlation_low rank_correlation_high ssim".split()


def attribute(args: argparse.Namespace) -> None:
    """Show which pixels of an image a unit, or a class's logit, comes from, and how far to trust the map."""
    from selviz.studies.attribution import explain

    store, run = store_and_run(args)
    result = explain(
        store, run, args.image, args.layer, args.unit, args.label, args.method, args.baseline, seed=args.seed,
        **_attribution_settings(args),
    )  # fmt: skip
    show(args, result, lambda: attribution_text(result))


def _attribute_options(sub: argparse.ArgumentParser) -> None:
    _attribution_options(sub)
    sub.add_argument("--unit", type=whole, help="number of the unit in its layer")
    sub.add_argument("--class", dest="label", metavar="NAME", help="a class's logit; with a unit, by way of that unit")
    sub.add_argument("--image", type=whole, required=True, help="number of the evaluation image")


def sanity(args: argparse.Namespace) -> None:
    """Check whether a method's maps depend on the network's weights; store and show it."""
    from selviz.attribution import sanity_summary
    from selviz.studies.attribution import run_sanity

    store, run = store_and_run(args)
    settings = _attribution_settings(args)
    with Progress() as progress:
        rows = run_sanity(
            store, run, args.method, args.layer, args.images, args.baseline, args.seed, args.again, progress, **settings
        )
    frame = sanity_summary(rows)
    show(args, frame, lambda: table(frame, SANITY_COLUMNS))


def _sanity_options(sub: argparse.ArgumentParser) -> None:
    _attribution_options(sub)
    sub.add_argument("--images", type=positive, default=24, help="at least 20 (default: %(default)s)")
    sub.add_argument("--again", action="store_true", help="compute it again even if it is there")


def _attribution_options(sub: argparse.ArgumentParser) -> None:
    device_option(sub)
    run_option(sub)
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


def _attribution_settings(args: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of `attribution` that were given."""
    names = ("at", "steps", "patch", "window", "stride", "smooth", "noise")
    return {name: getattr(args, name) for name in names if getattr(args, name) is not None}


COMMANDS: Commands = {
    "attribute": (
        attribute,
        "selviz attribute mnist-5k-cnn-a0 --layer relu3 --unit 7 --image 12 --method occlusion",
        _attribute_options,
    ),
    "sanity": (sanity, "selviz sanity mnist-5k-cnn-a0 --layer relu3 --method gradcam", _sanity_options),
}
