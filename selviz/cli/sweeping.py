"""`selviz sweep`: many runs from one grid of settings."""

from selviz.cli.common import Commands, positive, show
from selviz.cli.making import SETTINGS
from selviz.config import RunConfig
from selviz.errors import SelvizError
from selviz.printing import SweepProgress, sweep_text

PLURALS = {"alpha": "alphas", "seed": "seeds"}


def sweep(args):
    """Train a run for each combination of the settings given; typed again, it goes on."""
    values = {name: parse_values(name, getattr(args, name)) for name in SETTINGS if getattr(args, name) is not None}
    from selviz.store import Store
    from selviz.sweep import grid, run_sweep

    configs = grid({"model": args.model, "dataset": args.dataset, **values})
    with SweepProgress() as progress:
        frame = run_sweep(
            Store(args.data), configs, args.backend, args.workers, args.threads, args.address, args.gpus, args.device,
            report=progress,
        )  # fmt: skip
    show(args, frame, lambda: sweep_text(frame.to_dict("records")))
    missing = frame[frame["state"] != "finished"]
    if len(missing):
        first = missing.iloc[0]
        raise SelvizError(
            f"{len(missing)} of {len(frame)} runs are not finished, such as {first['run']} ({first['state']}"
            f"{': ' + first['reason'] if first['reason'] else ''}); the others are kept. Type it again."
        )


def parse_values(name: str, text: str) -> list:
    """`"-1,0.5"` -> [-1.0, 0.5]; of whole numbers also ranges: `"0-2,5"` -> [0, 1, 2, 5].

    `name` is a setting of RunConfig and decides the kind of value. Raises SelvizError for what is not one.
    """
    kind = type(getattr(RunConfig, name))
    option = f"--{PLURALS.get(name, name).replace('_', '-')}"
    values: list = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        first, dash, last = part.partition("-")
        try:
            if kind is int and dash and first:
                if not 0 <= int(last) - int(first) < 10_000:
                    raise ValueError
                values += range(int(first), int(last) + 1)
            else:
                values.append(kind(part))
        except ValueError:
            like = {int: "0-4 or 0,2,5", float: "-1,0,0.5"}[kind]
            raise SelvizError(f"'{part}' in {option} is not a number; write {option}={like}.") from None
    if not values:
        raise SelvizError(f"The sweep has no run: {option} is empty; give one value or more, separated by commas.")
    return values


def _sweep_options(sub):
    for name in ("model", "dataset"):
        sub.add_argument(f"--{name}", action="append", required=True, help="repeat it for more")
    for name, told in SETTINGS.items():
        options = [f"--{word.replace('_', '-')}" for word in dict.fromkeys([PLURALS.get(name, name), name])]
        sub.add_argument(
            *options, dest=name, metavar="A,B", help=f"{told}, one or more (default: {getattr(RunConfig, name)})"
        )
    sub.add_argument(
        "--backend", default="loky", help="loky: processes on this machine; ray or dask: a cluster (default: loky)"
    )
    sub.add_argument("--address", help="of the cluster: auto for Ray's own machine, else host:port")
    sub.add_argument("--workers", type=positive, help="runs at the same time (default: one a core, or the cluster's)")
    sub.add_argument("--threads", type=positive, help="of each run (default: the cores shared out; 1 on a cluster)")
    sub.add_argument("--gpus", type=float, default=0, help="of each run; 0.5: two share one (default: 0)")
    sub.add_argument("--device", default="auto", help="auto, cpu, cuda or mps, where --gpus is 0 (default: auto)")


COMMANDS: Commands = {
    "sweep": (sweep, "selviz sweep --model cnn --dataset mnist-5k --alphas=-1,0,1 --seeds 0-2", _sweep_options),
}
