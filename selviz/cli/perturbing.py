"""`selviz corruptions`: what bad images do."""

from selviz.cli.common import Commands, positive, show, whole
from selviz.printing import Progress, table


def corruptions(args):
    """List the corruptions, how much each changes a data set's images at each severity, and which do not fit them."""
    from selviz.corruptions import changes
    from selviz.datasets import load

    pixels = load(args.dataset).eval_pixels[: args.images].numpy()
    with Progress() as progress:
        frame = changes(pixels, args.seed, progress)
    show(args, frame, lambda: table(frame))


def _corruptions_options(sub):
    sub.add_argument("--dataset", default="mnist-5k", help="(default: %(default)s)")
    sub.add_argument("--images", type=positive, default=100, help="so many evaluation images (default: %(default)s)")
    sub.add_argument("--seed", type=whole, default=0, help="of what is random (default: 0)")


COMMANDS: Commands = {
    "corruptions": (corruptions, "selviz corruptions --dataset mnist-5k --images 50", _corruptions_options),
}
