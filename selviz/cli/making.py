"""`selviz demo, train, capture`: what makes runs."""

import sys

from selviz.cli import listing
from selviz.cli.common import Commands, positive, run_option, show, store_and_run
from selviz.config import RunConfig
from selviz.printing import Progress, summary_line

TRAIN_SETTINGS = ("alpha", "seed", "epochs", "batch_size", "learning_rate", "momentum", "weight_decay", "precision")


def demo(args):
    """Train the five networks of the demo, or what is missing of them."""
    from selviz import demo as library

    if args.stop:
        library.stop(args.data)
        print("The demo is stopped; start it again with: selviz demo", file=sys.stderr)
        return
    with Progress() as progress:
        library.main(args.data, progress)
    listing.runs(args)


def _demo_options(sub):
    sub.add_argument("--stop", action="store_true", help="stop a running demo and keep the app from starting it again")


def train(args):
    """Train one network, capture its units and store both."""
    settings = {name: getattr(args, name) for name in TRAIN_SETTINGS}
    config = RunConfig(dataset=args.dataset, model=args.model, **settings)
    from selviz.pipeline import train_run
    from selviz.store import Store

    with Progress() as progress:
        summary = train_run(Store(args.data), config, progress, device=args.device, devices=args.devices)
    if summary is None:  # one of several processes that train together; the first one tells
        return
    show(args, summary, lambda: summary_line(summary))


def _train_options(sub):
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


def capture(args):
    """Capture a finished run's units again, when its stored activations were damaged or deleted."""
    from selviz.pipeline import capture_run

    store, run = store_and_run(args)
    with Progress() as progress:
        summary = capture_run(store, run, progress)
    show(args, summary, lambda: summary_line(summary))


COMMANDS: Commands = {
    "demo": (demo, "selviz demo", _demo_options),
    "train": (train, "selviz train --dataset mnist-5k --model cnn --alpha=-1 --epochs 8", _train_options),
    "capture": (capture, "selviz capture mnist-5k-cnn-a-1", run_option),
}
