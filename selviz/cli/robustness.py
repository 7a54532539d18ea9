"""`selviz corruptions, robustness, dimensionality`: what bad images and attackers do."""

import argparse
import sys
from typing import TYPE_CHECKING

from selviz.cli.common import Commands, device_option, positive, run_option, show, store_and_run, whole
from selviz.errors import SelvizError
from selviz.text.tables import Progress, robustness_text, table

if TYPE_CHECKING:
    from selviz.system.progress import ProgressEvent

DIMENSION_COLUMNS = (
    "layer over kind name level features components components_low components_high components_shuffled participation "
    "participation_low participation_high participation_shuffled"
).split()
GRADIENT_COLUMNS = "layer units images over_images over_images_low over_images_high over_units".split()


def corruptions(args: argparse.Namespace) -> None:
    """List the corruptions, how much each changes a data set's images at each severity, and which do not fit them."""
    from selviz.datasets import load
    from selviz.robustness.corruptions import changes

    pixels = load(args.dataset).eval_pixels[: args.images].numpy()
    with Progress() as progress:
        frame = changes(pixels, args.seed, progress, args.constants)
    show(args, frame, lambda: table(frame))


def _constants_option(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--constants",
        choices=("imagenet", "cifar"),
        default="imagenet",
        help="of the corruptions: of 224-pixel photographs, or of CIFAR-10-C for small pictures (default: %(default)s)",
    )


def _corruptions_options(sub: argparse.ArgumentParser) -> None:
    _constants_option(sub)
    sub.add_argument("--dataset", default="mnist-5k", help="(default: %(default)s)")
    sub.add_argument("--images", type=positive, default=100, help="so many evaluation images (default: %(default)s)")
    sub.add_argument("--seed", type=whole, default=0, help="of what is random (default: 0)")


def robustness(args: argparse.Namespace) -> None:
    """Measure accuracy and units under corruptions and attacks, and store them; started again, it resumes."""
    from selviz.robustness.attacks import STEPS
    from selviz.robustness.bench import KIND_OF_CONSTANTS, STORED
    from selviz.robustness.corruptions import FAMILIES, SEVERITIES, STANDARD
    from selviz.robustness.decision_attack import QUERIES
    from selviz.studies.corruption_error import corruption_errors, over_seeds
    from selviz.studies.gradient_masking import gradient_masking
    from selviz.studies.robustness import ATTACKS, AttackSettings, run_robustness

    store, run = store_and_run(args)
    baseline = args.baseline and store.run(args.baseline)["run"]
    if args.corruption is None:
        names = None if args.folder else [*STANDARD, *(FAMILIES["extra"] if args.extra else ())]
    else:
        names = [name for name in args.corruption if name != "none"]
    kinds = ATTACKS if args.attack is None else [kind for kind in args.attack if kind != "none"]
    if names == [] and not kinds:
        raise SelvizError("Nothing is left to measure: name a corruption, or an attack, beside none.")
    queries = args.queries or QUERIES
    attack = AttackSettings(args.steps or STEPS, args.restarts, not args.no_random_start, args.target, queries)
    skipped = []

    def tell(event: "ProgressEvent") -> None:
        if "skipped" in event:
            skipped.append(event["skipped"])
            print(f"selviz: skipped: {event['skipped']}", file=sys.stderr)
        else:
            progress(event)

    with Progress() as progress:
        frame = run_robustness(
            store, run, names, args.severity or SEVERITIES, kinds, args.epsilon, attack, args.folder,
            args.images, args.seed, tell, args.again, args.source or (), args.constants,
        )  # fmt: skip
    masked = gradient_masking(store, run)
    errors = corruption_errors(store, run, baseline, STORED if args.folder else KIND_OF_CONSTANTS[args.constants])
    result = {
        "run": run,
        "gradient_masking": masked.table,
        "masking": masked.sentence,
        "corruption_error": errors,
        "corruption_error_over_seeds": over_seeds(errors),
        "summary": store.robustness_summary(run),
        "settings": frame,
        "layers": store.robustness_layers(run),
        "skipped": skipped,
    }
    show(args, result, lambda: robustness_text(result))


def _robustness_options(sub: argparse.ArgumentParser) -> None:
    device_option(sub)
    run_option(sub)
    sub.add_argument(
        "--corruption",
        metavar="NAME",
        action="append",
        help="only this one, or none; repeat it (default: the 15 of ImageNet-C)",
    )
    sub.add_argument("--extra", action="store_true", help="the four extra corruptions as well")
    _constants_option(sub)
    sub.add_argument("--severity", type=int, action="append", help="1 to 5; repeat it (default: all five)")
    sub.add_argument(
        "--folder",
        metavar="DIR",
        help="corrupted images made by others instead: CIFAR-10-C's .npy files or Tiny-ImageNet-C's folders",
    )
    sub.add_argument(
        "--baseline",
        metavar="RUN",
        help="whose errors under corruptions these are relative to (default: alpha 0 of the same seed)",
    )
    sub.add_argument(
        "--attack",
        choices=("fgsm", "pgd", "transfer", "rays", "none"),
        action="append",
        help="repeat it (default: fgsm and pgd); rays needs the predicted class alone, transfer another network",
    )
    sub.add_argument(
        "--from", dest="source", metavar="RUN", action="append", help="of transfer: PGD on this run; repeat it"
    )
    sub.add_argument("--queries", type=positive, help="of rays: predictions of each image (default: 500)")
    sub.add_argument(
        "--epsilon",
        type=float,
        action="append",
        help="largest change of a pixel out of 255; repeat it (default: 0.5, 1, 2, 4 and 8; grey images 16 and 32 too)",
    )
    sub.add_argument("--steps", type=positive, help="of pgd (default: 20)")
    sub.add_argument("--restarts", type=positive, default=1, help="of pgd: each image keeps its worst (default: 1)")
    sub.add_argument("--no-random-start", action="store_true", help="pgd starts from the image itself")
    sub.add_argument("--target", metavar="CLASS", help="the attacks aim at this class (default: any wrong one)")
    sub.add_argument("--images", type=positive, default=1000, help="so many evaluation images (default: %(default)s)")
    sub.add_argument("--seed", type=whole, default=0, help="of what is random (default: 0)")
    sub.add_argument("--again", action="store_true", help="compute it again even if it is there")


def dimensionality(args: argparse.Namespace) -> None:
    """Count the directions that each layer uses, clean and in its change under perturbation, and store them."""
    from selviz.studies.dimensionality import NAMES, run_dimensionality

    store, run = store_and_run(args)
    kinds = ("pgd",) if args.attack is None else [kind for kind in args.attack if kind != "none"]

    def tell(event: "ProgressEvent") -> None:
        if "skipped" in event:
            print(f"selviz: skipped: {event['skipped']}", file=sys.stderr)
        else:
            progress(event)

    with Progress() as progress:
        frame = run_dimensionality(
            store, run, args.corruption or NAMES, args.severity, kinds, args.epsilon, args.images, args.draws,
            not args.no_maps, args.seed, tell, args.again,
        )  # fmt: skip
    gradients = store.gradient_variability(run)
    result = {"run": run, "dimensionality": frame, "gradient_variability": gradients}
    text = f"{table(frame, DIMENSION_COLUMNS)}\n\ngradient variability\n{table(gradients, GRADIENT_COLUMNS)}"
    show(args, result, lambda: text)


def _dimensionality_options(sub: argparse.ArgumentParser) -> None:
    device_option(sub)
    run_option(sub)
    sub.add_argument(
        "--corruption", metavar="NAME", action="append", help="repeat it (default: one of each of four families)"
    )
    sub.add_argument("--severity", type=int, default=3, help="1 to 5 (default: %(default)s)")
    sub.add_argument("--attack", choices=("fgsm", "pgd", "none"), action="append", help="repeat it (default: pgd)")
    sub.add_argument(
        "--epsilon", type=float, default=2.0, help="largest change of a pixel out of 255 (default: %(default)s)"
    )
    sub.add_argument("--images", type=positive, default=500, help="so many evaluation images (default: %(default)s)")
    sub.add_argument("--draws", type=positive, default=100, help="of the bootstrap (default: %(default)s)")
    sub.add_argument("--no-maps", action="store_true", help="only units averaged over positions, which is faster")
    sub.add_argument("--seed", type=whole, default=0, help="of what is random (default: 0)")
    sub.add_argument("--again", action="store_true", help="compute it again even if it is there")


COMMANDS: Commands = {
    "dimensionality": (
        dimensionality,
        "selviz dimensionality mnist-5k-cnn-a0 --corruption fog --attack pgd --no-maps",
        _dimensionality_options,
    ),
    "robustness": (
        robustness,
        "selviz robustness mnist-5k-cnn-a0 --corruption fog --severity 3 --attack pgd --epsilon 2",
        _robustness_options,
    ),
    "corruptions": (corruptions, "selviz corruptions --dataset mnist-5k --images 50", _corruptions_options),
}
