"""`selviz sql, export, import`: tables and runs out of the store and into it."""

import argparse
import contextlib
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from selviz.cli.common import Commands, dataset_options, device_option, positive, run_option, show, store_and_run
from selviz.config import image_settings
from selviz.errors import SelvizError
from selviz.text.tables import Progress, summary_line, table

if TYPE_CHECKING:
    from selviz.runs.importing import ReadNetwork
    from selviz.store import Store

LISTED = 20  # steps left out that are printed
SHOWN_ROWS = 10_000  # in a terminal


def sql(args: argparse.Namespace) -> None:
    """Ask the store in SQL: views runs, epochs, layers, units, class_means, images, activations."""
    from selviz.store import Store

    chosen = [name for name in args.runs.split(",") if name] if args.runs else None
    limit = args.limit if args.limit or args.json else SHOWN_ROWS  # a script that reads JSON gets all rows
    frame = Store(args.data).sql(args.query, runs=chosen, limit=limit, seconds=args.seconds)
    for run, reason in frame.attrs.get("left_out", {}).items():
        print(f"selviz: left out {run}: {reason}", file=sys.stderr)
    if frame.attrs.get("truncated"):
        print(f"selviz: there are more than {limit:,} rows; allow more with --limit", file=sys.stderr)
    show(args, frame, lambda: f"{table(frame)}\n({len(frame):,} rows)")


def _sql_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("query", metavar="QUERY", help="one SELECT, WITH or EXPLAIN")
    sub.add_argument("--runs", metavar="A,B", help="only these runs")
    sub.add_argument("--limit", type=positive, help=f"most rows (default: {SHOWN_ROWS:,}, and all with --json)")
    sub.add_argument("--seconds", type=float, default=30, help="longest time (default: %(default)s)")


def export(args: argparse.Namespace) -> None:
    """Write one table of a run as CSV, Parquet or JSON, or the whole run as a zip for another store."""
    store, run = store_and_run(args)
    if (args.table is None) == (args.to is None):
        raise SelvizError("Name a table of the run, such as units, or --to FILE.zip for the whole run.")
    if args.pixels and args.to is None:
        raise SelvizError("--pixels goes with --to FILE.zip, which writes the whole run.")
    if args.to is not None:
        if args.format or args.output:
            raise SelvizError("--format and --output are for a table; --to FILE.zip writes the whole run.")
        path = store.pack(run, args.to, args.pixels)
        size = path.stat().st_size
        message = f"Wrote {path} ({size / 1e6:.1f} MB). In another store: selviz import --zip {path.name}"
        show(args, {"run": run, "file": str(path), "bytes": size}, lambda: message)
        return
    form = args.format or ("json" if args.json else "csv")
    if args.output is None and form == "parquet":
        raise SelvizError("Parquet is not text; name a file for it: --output units.parquet")
    written = store.export(run, args.table, args.output, form)
    if args.output is None:
        sys.stdout.write(written.decode() if isinstance(written, bytes) else written)
    else:
        print(f"Wrote {args.output}", file=sys.stderr)


def _export_options(sub: argparse.ArgumentParser) -> None:
    run_option(sub)
    sub.add_argument(
        "table",
        metavar="TABLE",
        nargs="?",
        help="units, layers, class_means, images, activations, epochs, atlas, curves, ...",
    )
    sub.add_argument("--format", choices=("csv", "parquet", "json"), help="(default: csv)")
    sub.add_argument("--output", metavar="FILE", help="(default: stdout)")
    sub.add_argument("--to", metavar="FILE.zip", help="the whole run, with small copies of the images of its data set")
    sub.add_argument(
        "--pixels",
        action="store_true",
        help="with --to, of a run that was captured from memory: its images too, so that it can be silenced there",
    )


def import_(args: argparse.Namespace) -> None:
    """Bring in a network trained elsewhere and capture its units, or a run exported from another store."""
    from selviz.store import Store

    store = Store(args.data)
    summary: dict[str, Any] | None
    if args.zip is not None:
        summary = store.run(store.unpack(args.zip, args.name))
    else:
        summary = _import_network(store, args)
        if summary is None:
            return
    show(args, summary, lambda: "\n".join([summary_line(summary), *_files_left_out(summary)]))


def _files_left_out(summary: dict[str, Any]) -> list[str]:
    """Return a line on the files among the images that were not read, if there are any."""
    origin = summary.get("origin") or {}
    parts = [f"{count:,} {suffix}" for suffix, count in (origin.get("other_files") or {}).items()]
    if origin.get("skipped_images"):
        parts.append(f"{origin['skipped_images']:,} that cannot be read")
    return [f"files left out: {', '.join(parts)}"] if parts else []


def _import_network(store: "Store", args: argparse.Namespace) -> dict[str, Any] | None:
    """Import a network and return its summary; None after a dry run, which ends with the table of layers."""
    if args.dataset is None or (args.name is None and not args.dry_run):
        raise SelvizError("A network needs --name, what to call its run, and --dataset, the images to look at.")
    from selviz.config import RunConfig
    from selviz.networks.user_model_files import factory, is_factory
    from selviz.runs.importing import (
        ImportSource,
        ReadNetwork,
        check_class_order,
        hub_preparation,
        import_run,
        read_network,
    )  # fmt: skip
    from selviz.runs.load import load_dataset

    if args.evaluate_all:
        if args.train_folder or args.test_folder:
            raise SelvizError("--evaluate-all takes all images of the folder; leave out --train-folder, --test-folder.")
        args.test_folder = "."
    # The same checks and the same full path of the data set as in training.
    config = RunConfig(args.dataset, args.model, **image_settings(vars(args)))
    settings = {"dataset": config.dataset, **image_settings(vars(config))}
    command = shlex.join(["selviz", "import", *args.argv])
    options: dict[str, Any] = {
        "factory": factory(args.model) if is_factory(args.model) else None,
        "weights": args.weights,
        "checkpoint": None if args.checkpoint is None else Path(args.checkpoint),
        "checkpoint_key": args.checkpoint_key,
        "layers": args.layers,
        "watch": args.watch,
        "outputs": _numbers(args.outputs),
        "logits": args.logits,
    }

    def print_layers(read: ReadNetwork) -> None:
        print(layers_text(read), file=sys.stderr)

    # What somebody else's code prints is no part of the answer.
    with contextlib.redirect_stdout(sys.stderr), Progress() as progress:
        if args.dry_run:
            source = ImportSource(args.model, **options)
            source.check()
            prepared = hub_preparation(source)
            dataset = load_dataset({**settings, **prepared.missing_in(settings)}, progress)
            check_class_order(source, prepared, dataset)
            read = read_network(source, dataset)
        else:
            return import_run(
                store, args.name, args.model, settings,
                report=progress, on_read=print_layers, command=command, **options,
            )  # fmt: skip
    show(args, {"layers": layer_rows(read), "left_out": left_out_rows(read)}, lambda: layers_text(read))
    return None


def layer_rows(read: "ReadNetwork") -> list[dict[str, object]]:
    """Return one row per unit layer of a network that is brought."""
    return [
        {
            "layer": layer.name,
            "units": layer.units,
            "unit_axis": layer.axis,
            "positions": layer.positions,
            "activation": layer.activation,
            "signed": layer.signed,
        }
        for layer in read.network.layers
    ]


def left_out_rows(read: "ReadNetwork") -> list[dict[str, object]]:
    """Return what looked like a unit layer and is none, and why."""
    return [{"name": entry.name, "reason": entry.reason} for entry in read.left_out]


def layers_text(read: "ReadNetwork") -> str:
    """Return the table of unit layers, what was left out, and how the logits were read."""
    layers, left_out = layer_rows(read), left_out_rows(read)
    lines = [table(pd.DataFrame(layers)), ""]
    said = f"{len(layers)} unit layer{'s' if len(layers) != 1 else ''}; left out: {len(left_out) or 'none'}"
    lines.append(said)
    lines += [f"  {row['name']}: {row['reason']}" for row in left_out[:LISTED]]
    if len(left_out) > LISTED:
        lines.append(f"  and {len(left_out) - LISTED} more (all with --dry-run --json)")
    if read.head:
        lines.append(f"note: {read.head}")
    return "\n".join(lines)


def _numbers(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if wrong := [part for part in parts if not part.isdecimal()]:
        raise SelvizError(f"'{wrong[0]}' is no number of an output; write such as --outputs 3,17.")
    return [int(part) for part in parts]


def _import_options(sub: argparse.ArgumentParser) -> None:
    device_option(sub)
    source = sub.add_mutually_exclusive_group(required=True)
    source.add_argument("--zip", metavar="FILE.zip", help="a run that `selviz export RUN --to FILE.zip` wrote")
    source.add_argument(
        "--model",
        help="a network: resnet20, torchvision:resnet50, timm:NAME, hf:ORG/MODEL or timm:hf-hub:ORG/MODEL of the "
        "Hugging Face hub with weights and preparation, or FILE.py:FUNCTION, which runs that file and calls its "
        "function",
    )
    sub.add_argument("--name", help="what to call it here (of a zip, default: its name)")
    sub.add_argument("--checkpoint", metavar="FILE", help="its weights: safetensors, or torch.save of a state_dict")
    sub.add_argument(
        "--checkpoint-key",
        default="",
        metavar="KEY",
        help="which weights in a file that holds several, such as model_ema or student",
    )
    sub.add_argument(
        "--weights",
        default="",
        help="pretrained ones that the library downloads, such as DEFAULT; of the hub, a revision",
    )
    sub.add_argument(
        "--layers",
        action="append",
        default=[],
        metavar="LAYER",
        help="only these unit layers: a name, a glob such as 'layer3*', first:5 or last:5, or any other module or step "
        "of the network; repeat it for more",
    )
    sub.add_argument(
        "--watch",
        action="append",
        default=[],
        metavar="MODULE",
        help="of a network that cannot be traced: names or globs of modules whose outputs are its units; repeat it",
    )
    sub.add_argument(
        "--outputs", default="", metavar="3,17", help="of a network with more outputs: those of the data set's classes"
    )
    sub.add_argument(
        "--logits", default="", metavar="KEY", help="which part of what the network returns holds the logits"
    )
    sub.add_argument(
        "--evaluate-all",
        action="store_true",
        help="look at all images of a folder of class folders, none held out for training",
    )
    sub.add_argument(
        "--dry-run", action="store_true", help="show the unit layers, and what is left out and why; capture nothing"
    )
    dataset_options(sub, required=False)


COMMANDS: Commands = {
    "sql": (sql, 'selviz sql "select layer, avg(si) from units group by layer"', _sql_options),
    "export": (export, "selviz export mnist-5k-cnn-a0 units --format csv --output units.csv", _export_options),
    "import": (
        import_,
        "selviz import --name theirs --model resnet20 --checkpoint weights.th --dataset folder:images",
        _import_options,
    ),
}
