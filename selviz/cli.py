"""`selviz COMMAND`: arguments in, one library call, a table or one JSON document out.

Each command is one function here, named as the command. Only the commands that compute import torch, when they run.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from selviz import arguments
from selviz.config import RunConfig
from selviz.errors import SelvizError, unknown
from selviz.printing import (
    Progress,
    ablation_text,
    agreement_text,
    areas_text,
    as_json,
    attribution_text,
    summary_line,
    table,
)

RUN_COLUMNS = "run state alpha test_accuracy mean_si mean_si_live null_mean null_p95 dead units images".split()
LAYER_COLUMNS = "layer depth units dead mean_si mean_si_live null_mean null_p95".split()
UNIT_COLUMNS = "layer unit si null_mean null_p95 preferred_class mean_activation zero_share dead".split()
METRIC_COLUMNS = (
    "layer unit si ccmas precision localist auc average_precision informedness d_prime d_prime_class "
    "mutual_information sparseness superclass_si superclass dead"
).split()
SANITY_COLUMNS = "step module images rank_correlation rank_correlation_low rank_correlation_high ssim".split()
INTERRUPTED = 130  # what a shell expects of a command that Ctrl-C ended


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command. Returns 0, or 2 after one sentence on stderr, or 130 after Ctrl-C."""
    argv = sys.argv[1:] if argv is None else list(argv)
    try:
        if argv and not argv[0].startswith("-") and argv[0] not in COMMANDS:
            raise unknown("command", argv[0], list(COMMANDS), "See: selviz --help")
        args = parser().parse_args(argv)
        args.command(args)
        sys.stdout.flush()
        return 0
    except BrokenPipeError:  # the reader (head, less) has seen enough
        _discard_stdout()
        return 0
    except (SelvizError, OSError) as error:
        _discard_stdout(only_if_broken=True)
        print(f"selviz: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nselviz: stopped; what is finished is kept, and `selviz runs` says how to resume.", file=sys.stderr)
        return INTERRUPTED


# ---------------------------------------------------------------------------------------------------------- commands


def demo(args):
    """Train the five networks of the demo, or what is missing of them."""
    from selviz import demo as library

    if args.stop:
        library.stop(args.data)
        print("The demo is stopped; start it again with: selviz demo", file=sys.stderr)
        return
    with Progress() as progress:
        library.main(args.data, progress)
    runs(args)


def train(args):
    """Train one network, capture its units and store both."""
    settings = {name: getattr(args, name) for name in arguments.TRAIN_SETTINGS}
    config = RunConfig(dataset=args.dataset, model=args.model, **settings)
    from selviz.pipeline import train_run
    from selviz.store import Store

    with Progress() as progress:
        summary = train_run(Store(args.data), config, progress, device=args.device, devices=args.devices)
    if summary is None:  # one of several processes that train together; the first one tells
        return
    _show(args, summary, lambda: summary_line(summary))


def capture(args):
    """Capture a finished run's units again, when its stored activations were damaged or deleted."""
    from selviz.pipeline import capture_run

    store, run = _store_and_run(args)
    with Progress() as progress:
        summary = capture_run(store, run, progress)
    _show(args, summary, lambda: summary_line(summary))


def runs(args):
    """List every run of the store, finished or not."""
    from selviz.store import Store

    frame = Store(args.data).runs()

    def text():
        if frame.empty:
            return f"No runs in {args.data}. Five small networks in about a minute: selviz demo"
        notes = []
        for row in frame.to_dict("records"):
            words = [row[name] for name in ("reason", "resume") if isinstance(row.get(name), str) and row[name]]
            notes += [f"{row['run']}: {'; '.join(words)}"] if words and row["state"] != "finished" else []
        return "\n".join([table(frame, RUN_COLUMNS), *notes])

    _show(args, frame, text)


def layers(args):
    """List a run's unit layers in forward order, with the mean SI of each and its label-shuffle null."""
    store, run = _store_and_run(args)
    frame = store.layers(run)
    _show(args, frame, lambda: table(frame, LAYER_COLUMNS))


def units(args):
    """List a run's units with their class selectivity index and its label-shuffle null."""
    store, run = _store_and_run(args)
    frame = _sorted(store.units(run, args.layer), args)
    _show(args, frame, lambda: table(frame, UNIT_COLUMNS))


def unit(args):
    """Show one unit: its index, its mean activation for each class, its most and least activating images."""
    from selviz.statistics import mean_interval

    layer, number = arguments.one_unit(args.unit)
    store, run = _store_and_run(args)
    result = dict(store.unit(run, layer, number))
    classes = store.class_means(run, layer, number)
    classes["low"], classes["high"] = mean_interval(classes["mean"], classes["std"], classes["images"])
    images = store.activations(run, layer, number).sort_values("value", ascending=False, kind="stable")
    result["classes"] = classes
    result["most_activating"], result["least_activating"] = images.head(9), images.tail(9)[::-1]

    def text():
        null = f"null {result['null_mean']:.2f}, 95 % of shuffles under {result['null_p95']:.2f}"
        state = "dead: it never fires on these images" if result["dead"] else f"prefers {result['preferred_class']}"
        return (
            f"{layer} unit {number} of {run}: SI {result['si']:.2f} ({null}); {state} ({len(images):,} images)\n\n"
            f"{table(classes, ['class', 'mean', 'low', 'high', 'images'])}\n\nmost activating images\n"
            f"{table(result['most_activating'], ['image', 'label', 'prediction', 'value'])}"
        )

    _show(args, result, text)


def ablate(args):
    """Silence units and compare the accuracy, overall and by class, before and after."""
    chosen = arguments.parse_units(args.units)
    from selviz.ablation import BoundaryCache
    from selviz.pipeline import run_ablation

    cache = BoundaryCache(args.cache_gb)
    store, run = _store_and_run(args)
    settings = {name: getattr(args, name) for name in ("mode", "factor", "keep", "fold", "draws", "matched", "seed")}
    with Progress() as progress:
        result = run_ablation(
            store, run, chosen, **settings, cache=cache, report=lambda news: progress({"stage": "draws", **news})
        )
    if result["recomputed"]:
        print("selviz: cached values take more than --cache-gb allows; parts were computed anew", file=sys.stderr)
    _show(args, result, lambda: ablation_text(result))


def curves(args):
    """Silence more and more units in order of a metric and at random; store the curves, show the areas under them."""
    from selviz.ablation import BoundaryCache
    from selviz.interventions import run_curves

    cache = BoundaryCache(args.cache_gb)
    store, run = _store_and_run(args)
    with Progress() as progress:
        areas = run_curves(
            store, run, args.metric, args.layer, args.steps, args.draws, args.seed, cache, report=progress
        )
    _show(args, areas, lambda: areas_text(areas))


def atlas(args):
    """Silence every single unit, exactly, and store what each loses; started again, it resumes."""
    from selviz.ablation import BoundaryCache
    from selviz.interventions import run_atlas

    cache = BoundaryCache(args.cache_gb)
    store, run = _store_and_run(args)
    with Progress() as progress:
        frame = run_atlas(store, run, cache, progress, again=args.again)
    _show(args, frame, lambda: table(frame))


def metrics(args):
    """Compute every unit's measures of class selectivity beside SI, store and list them."""
    from selviz.studies import run_metrics
    from selviz.unit_metrics import agreement

    chosen = arguments.superclasses(args.superclass)
    store, run = _store_and_run(args)
    with Progress() as progress:
        frame = run_metrics(store, run, chosen, progress, again=args.again)
    if args.layer:
        frame = store.unit_metrics(run, args.layer)
    if args.agreement:
        found = agreement(frame)
        _show(args, {name: matrix.to_dict() for name, matrix in found.items()}, lambda: agreement_text(found))
        return
    frame = _sorted(frame, args)
    _show(args, frame, lambda: table(frame, METRIC_COLUMNS))


def unit_map(args):
    """Lay out each layer's units on a map by their tuning (PCA and t-SNE), and store it."""
    from selviz.studies import run_unit_map

    store, run = _store_and_run(args)
    with Progress() as progress:
        frame = run_unit_map(store, run, progress, again=args.again)
    _show(args, frame, lambda: table(frame))


def attribute(args):
    """Show which pixels of an image a unit, or a class's logit, comes from, and how far to trust the map."""
    from selviz.explanations import explain

    store, run = _store_and_run(args)
    result = explain(
        store, run, args.image, args.layer, args.unit, args.label, args.method, args.baseline, seed=args.seed,
        **arguments.attribution_settings(args),
    )  # fmt: skip
    _show(args, result, lambda: attribution_text(result))


def sanity(args):
    """Check whether a method's maps depend on the network's weights; store and show it."""
    from selviz.attribution import sanity_summary
    from selviz.explanations import run_sanity

    store, run = _store_and_run(args)
    settings = arguments.attribution_settings(args)
    with Progress() as progress:
        found = run_sanity(
            store, run, args.method, args.layer, args.images, args.baseline, args.seed, args.again, progress, **settings
        )
    frame = sanity_summary(found)
    _show(args, frame, lambda: table(frame, SANITY_COLUMNS))


def sql(args):
    """Ask the store in SQL: views runs, epochs, layers, units, class_means, images, activations."""
    from selviz.store import Store

    chosen = [name for name in args.runs.split(",") if name] if args.runs else None
    frame = Store(args.data).sql(args.query, runs=chosen, limit=args.limit, seconds=args.seconds)
    for run, reason in frame.attrs.get("left_out", {}).items():
        print(f"selviz: left out {run}: {reason}", file=sys.stderr)
    if frame.attrs.get("truncated"):
        print(f"selviz: there are more than {args.limit:,} rows; allow more with --limit", file=sys.stderr)
    _show(args, frame, lambda: f"{table(frame)}\n({len(frame):,} rows)")


def export(args):
    """Write one table of a run as CSV, Parquet or JSON, or the whole run as a zip for another store."""
    store, run = _store_and_run(args)
    if (args.table is None) == (args.to is None):
        raise SelvizError("Name a table of the run, such as units, or --to FILE.zip for the whole run.")
    if args.to is not None:
        if args.format or args.output:
            raise SelvizError("--format and --output are for a table; --to FILE.zip writes the whole run.")
        path = store.pack(run, args.to)
        size = path.stat().st_size
        told = f"Wrote {path} ({size / 1e6:.1f} MB). In another store: selviz import --zip {path.name}"
        _show(args, {"run": run, "file": str(path), "bytes": size}, lambda: told)
        return
    form = args.format or ("json" if args.json else "csv")
    if args.output is None and form == "parquet":
        raise SelvizError("Parquet is not text; name a file for it: --output units.parquet")
    written = store.export(run, args.table, args.output, form)
    if args.output is None:
        sys.stdout.write(written.decode() if isinstance(written, bytes) else written)
    else:
        print(f"Wrote {args.output}", file=sys.stderr)


def import_(args):
    """Bring in a run that `selviz export RUN --to FILE.zip` wrote in another store."""
    from selviz.store import Store

    store = Store(args.data)
    summary = store.run(store.unpack(args.zip, args.name))
    _show(args, summary, lambda: summary_line(summary))


# ---------------------------------------------------------------------------------------------------------- the parser


def parser() -> argparse.ArgumentParser:
    """The parser of `selviz`, one subparser a command."""
    top = arguments.Parser(
        prog="selviz",
        description="What single units of an image classifier respond to, and whether that matters.",
        epilog="selviz COMMAND --help explains a command and gives an example.",
    )
    from selviz import __version__

    top.add_argument("--version", action="version", version=f"selviz {__version__}")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    for name, (command, example, add) in COMMANDS.items():
        sub = commands.add_parser(
            name,
            help=command.__doc__,
            description=command.__doc__,
            epilog=f"Example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        add(sub)
        sub.add_argument("--data", metavar="DIR", default="data", help="the store (default: data)")
        sub.add_argument("--json", action="store_true", help="one JSON document on stdout, nothing else")
        sub.set_defaults(command=command)
    return top


COMMANDS: dict[str, tuple[Callable, str, Callable]] = {
    "demo": (demo, "selviz demo", arguments.demo),
    "train": (train, "selviz train --dataset mnist-5k --model cnn --alpha=-1 --epochs 8", arguments.train),
    "capture": (capture, "selviz capture mnist-5k-cnn-a-1", arguments.run),
    "runs": (runs, "selviz runs --json", lambda sub: None),
    "layers": (layers, "selviz layers mnist-5k-cnn-a0", arguments.run),
    "units": (units, "selviz units mnist-5k-cnn-a0 --layer relu2 --sort si --limit 10", arguments.units),
    "unit": (unit, "selviz unit mnist-5k-cnn-a0 relu2:5", arguments.unit),
    "ablate": (ablate, "selviz ablate mnist-5k-cnn-a0 --units relu1:3,5 --units relu2:0-7", arguments.ablate),
    "curves": (curves, "selviz curves mnist-5k-cnn-a0 --metric si --layer relu4", arguments.curves),
    "atlas": (atlas, "selviz atlas mnist-5k-cnn-a0", arguments.atlas),
    "metrics": (metrics, "selviz metrics mnist-5k-cnn-a0 --layer relu4 --sort auc --limit 10", arguments.metrics),
    "map": (unit_map, "selviz map mnist-5k-cnn-a0", arguments.unit_map),
    "attribute": (
        attribute,
        "selviz attribute mnist-5k-cnn-a0 --layer relu3 --unit 7 --image 12 --method occlusion",
        arguments.attribute,
    ),
    "sanity": (sanity, "selviz sanity mnist-5k-cnn-a0 --layer relu3 --method gradcam", arguments.sanity),
    "sql": (sql, 'selviz sql "select layer, avg(si) from units group by layer"', arguments.sql),
    "export": (export, "selviz export mnist-5k-cnn-a0 units --format csv --output units.csv", arguments.export),
    "import": (import_, "selviz import --zip run.zip", arguments.import_),
}


# ------------------------------------------------------------------------------------------------ reading and writing


def _store_and_run(args):
    """The store and the full name of the run that `args.run` names or begins."""
    from selviz.store import Store

    store = Store(args.data)
    names = store.names()
    if args.run in names:
        return store, args.run
    matches = [name for name in names if name.startswith(args.run)]
    if len(matches) > 1:
        raise SelvizError(f"{len(matches)} runs begin with '{args.run}', such as {', '.join(matches[:2])}; write more.")
    return store, matches[0] if matches else args.run


def _sorted(frame, args):
    """The rows in the order of --sort and --ascending, cut at --limit."""
    if args.sort:
        if args.sort not in frame.columns:
            raise unknown("column", args.sort, list(frame.columns))
        frame = frame.sort_values(args.sort, ascending=args.ascending, kind="stable")
    return frame if args.limit is None else frame.head(args.limit)


def _show(args, result, text: Callable[[], str]):
    print(as_json(result) if args.json else text())


def _discard_stdout(only_if_broken: bool = False):
    """Sends what is left in stdout's buffer nowhere, so that Python's exit does not fail over it a second time."""
    if only_if_broken:
        try:
            sys.stdout.flush()
            return
        except OSError:
            pass
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
