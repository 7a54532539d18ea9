"""`selviz demo, train, capture`: what makes runs."""

import argparse
import sys

from selviz.cli import browse
from selviz.cli.common import (
    Commands,
    dataset_options,
    device_option,
    positive,
    run_option,
    setting_options,
    show,
    store_and_run,
)
from selviz.config import SETTINGS, TRAINING_SETTINGS, RunConfig, image_settings
from selviz.text.tables import Progress, SweepProgress, summary_line


def demo(args: argparse.Namespace) -> None:
    """Train the five networks of the demo, or what is missing of them."""
    from selviz.runs import demo as library

    if args.stop:
        library.stop(args.data)
        print("The demo is stopped; start it again with: selviz demo", file=sys.stderr)
        return
    with SweepProgress() as progress:
        library.main(args.data, progress)
    browse.runs(args)


def _demo_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--stop", action="store_true", help="stop a running demo and keep the app from starting it again")


def train(args: argparse.Namespace) -> None:
    """Train one network, capture its units and store both."""
    settings = {name: getattr(args, name) for name in TRAINING_SETTINGS}
    config = RunConfig(dataset=args.dataset, model=args.model, **settings, **image_settings(vars(args)))
    from selviz.runs.train import train_run
    from selviz.store import Store

    with Progress() as progress:
        summary = train_run(Store(args.data), config, progress, device=args.device, devices=args.devices)
    if summary is None:  # one of several processes that train together; the first one tells
        return
    show(args, summary, lambda: summary_line(summary))


def _train_options(sub: argparse.ArgumentParser) -> None:
    dataset_options(sub)
    sub.add_argument("--model", required=True, help=SETTINGS["model"].help)
    setting_options(sub, TRAINING_SETTINGS)
    sub.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default: auto)")
    sub.add_argument("--devices", type=positive, default=1, help="so many GPUs, each a part of the batch (default: 1)")


def capture(args: argparse.Namespace) -> None:
    """Capture a finished run's units again, when its stored activations were damaged or deleted."""
    from selviz.runs.train import capture_run

    store, run = store_and_run(args)
    with Progress() as progress:
        summary = capture_run(store, run, progress)
    show(args, summary, lambda: summary_line(summary))


def _capture_options(sub: argparse.ArgumentParser) -> None:
    run_option(sub)
    device_option(sub)


COMMANDS: Commands = {
    "demo": (demo, "selviz demo", _demo_options),
    "train": (train, "selviz train --dataset mnist-5k --model cnn --alpha=-1 --epochs 8", _train_options),
    "capture": (capture, "selviz capture mnist-5k-cnn-a-1", _capture_options),
}
