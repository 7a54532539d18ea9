"""`selviz sweep, early`: many runs from one grid of settings; one run while it was learning."""

import argparse
import sys

from selviz.cli.common import Commands, dataset_options, device_option, positive, run_option, show, store_and_run
from selviz.config import IMAGE_SETTINGS, SETTINGS, TRAINING_SETTINGS, absolute_spec, image_settings, parse_values
from selviz.errors import SelvizError
from selviz.text.tables import Progress, SweepProgress, early_text, sweep_text

# Options beside the settings of runs -> what they are where they are left out.
DEFAULTS = {
    "backend": "loky", "address": None, "workers": None, "threads": None, "gpus": 0, "device": "auto", "stack": 1,
}  # fmt: skip


def sweep(args: argparse.Namespace) -> None:
    """Train a run for each combination of the settings given; typed again, it goes on."""
    values = {
        name: parse_values(name, getattr(args, name)) for name in TRAINING_SETTINGS if getattr(args, name) is not None
    }
    from selviz.runs.sweep import grid, run_sweep
    from selviz.store import Store

    configs = grid({"model": args.model, **values}, dataset=args.dataset, **image_settings(vars(args)))
    with SweepProgress() as progress:
        frame = run_sweep(
            Store(args.data), configs, args.backend, args.workers, args.threads, args.address, args.gpus, args.device,
            report=progress, arguments=arguments(args), stack=args.stack,
        )  # fmt: skip
    show(args, frame, lambda: sweep_text(frame.to_dict("records")))
    if diverged := sum(value is True for value in frame["diverged"].tolist()):
        print(f"selviz: {diverged} of {len(frame)} networks diverged: they end worse than guessing", file=sys.stderr)
    missing = frame[frame["state"] != "finished"]
    if len(missing):
        first = missing.iloc[0]
        raise SelvizError(
            f"{len(missing)} of {len(frame)} runs are not finished, such as {first['run']} ({first['state']}"
            f"{': ' + first['reason'] if first['reason'] else ''}); the others are kept. Type it again."
        )


def arguments(args: argparse.Namespace) -> list[str]:
    """Return the command that starts the same sweep again, but for --data."""
    words = ["sweep", *(f"--model={model}" for model in args.model), f"--dataset={absolute_spec(args.dataset)}"]
    words += [
        f"{SETTINGS[name].sweep_option}={getattr(args, name)}"
        for name in TRAINING_SETTINGS
        if getattr(args, name) is not None
    ]
    left_out = {name: SETTINGS[name].default for name in IMAGE_SETTINGS} | DEFAULTS
    words += [
        f"--{name.replace('_', '-')}={getattr(args, name)}"
        for name, default in left_out.items()
        if getattr(args, name) != default
    ]
    return words


def _sweep_options(sub: argparse.ArgumentParser) -> None:
    dataset_options(sub)
    sub.add_argument("--model", action="append", required=True, help="network, such as cnn; repeat it for more")
    for name in TRAINING_SETTINGS:
        setting = SETTINGS[name]
        options = dict.fromkeys([setting.sweep_option, setting.option])
        sub.add_argument(
            *options, dest=name, metavar="A,B", help=f"{setting.help}, one or more (default: {setting.default})"
        )
    sub.add_argument(
        "--backend",
        default=DEFAULTS["backend"],
        help="loky: processes on this machine; ray or dask: a cluster (default: loky)",
    )
    sub.add_argument("--address", help="of the cluster: auto for Ray's own machine, else host:port")
    sub.add_argument("--workers", type=positive, help="runs at the same time (default: one a core, or the cluster's)")
    sub.add_argument(
        "--stack",
        type=positive,
        default=DEFAULTS["stack"],
        help="so many networks that differ by seed and alpha are trained at once, for GPUs (default: 1)",
    )
    sub.add_argument("--threads", type=positive, help="of each run (default: the cores shared out; 1 on a cluster)")
    sub.add_argument(
        "--gpus", type=float, default=DEFAULTS["gpus"], help="of each run; 0.5: two share one (default: 0)"
    )
    sub.add_argument(
        "--device", default=DEFAULTS["device"], help="auto, cpu, cuda or mps, where --gpus is 0 (default: auto)"
    )


def early(args: argparse.Namespace) -> None:
    """Silence the most selective units of a run at its weights after some epochs, beside random units; store it."""
    epochs = parse_values("epochs", args.epochs) if args.epochs else None
    from selviz.studies.early_training import run_early

    store, run = store_and_run(args)
    with Progress() as progress:
        areas = run_early(store, run, epochs, args.steps, args.draws, report=progress)
    show(args, areas, lambda: early_text(areas))


def _early_options(sub: argparse.ArgumentParser) -> None:
    device_option(sub)
    run_option(sub)
    sub.add_argument("--epochs", metavar="A,B", help="after which (default: the first two, the middle and the last)")
    sub.add_argument("--steps", type=positive, default=10, help="points of a curve (default: %(default)s)")
    sub.add_argument("--draws", type=positive, default=10, help="random orders, at least 10 (default: %(default)s)")


COMMANDS: Commands = {
    "sweep": (sweep, "selviz sweep --model cnn --dataset mnist-5k --alphas=-1,0,1 --seeds 0-2", _sweep_options),
    "early": (early, "selviz early mnist-5k-cnn-a0 --epochs 1,2,8", _early_options),
}
