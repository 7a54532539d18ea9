"""`selviz sql, export, import`: tables and runs out of the store and into it."""

import sys

from selviz.cli.common import Commands, positive, run_option, show, store_and_run
from selviz.errors import SelvizError
from selviz.printing import summary_line, table


def sql(args):
    """Ask the store in SQL: views runs, epochs, layers, units, class_means, images, activations."""
    from selviz.store import Store

    chosen = [name for name in args.runs.split(",") if name] if args.runs else None
    frame = Store(args.data).sql(args.query, runs=chosen, limit=args.limit, seconds=args.seconds)
    for run, reason in frame.attrs.get("left_out", {}).items():
        print(f"selviz: left out {run}: {reason}", file=sys.stderr)
    if frame.attrs.get("truncated"):
        print(f"selviz: there are more than {args.limit:,} rows; allow more with --limit", file=sys.stderr)
    show(args, frame, lambda: f"{table(frame)}\n({len(frame):,} rows)")


def _sql_options(sub):
    sub.add_argument("query", metavar="QUERY", help="one SELECT, WITH or EXPLAIN")
    sub.add_argument("--runs", metavar="A,B", help="only these runs")
    sub.add_argument("--limit", type=positive, default=10_000, help="most rows (default: %(default)s)")
    sub.add_argument("--seconds", type=float, default=30, help="longest time (default: %(default)s)")


def export(args):
    """Write one table of a run as CSV, Parquet or JSON, or the whole run as a zip for another store."""
    store, run = store_and_run(args)
    if (args.table is None) == (args.to is None):
        raise SelvizError("Name a table of the run, such as units, or --to FILE.zip for the whole run.")
    if args.to is not None:
        if args.format or args.output:
            raise SelvizError("--format and --output are for a table; --to FILE.zip writes the whole run.")
        path = store.pack(run, args.to)
        size = path.stat().st_size
        told = f"Wrote {path} ({size / 1e6:.1f} MB). In another store: selviz import --zip {path.name}"
        show(args, {"run": run, "file": str(path), "bytes": size}, lambda: told)
        return
    form = args.format or ("json" if args.json else "csv")
    if args.output is None and form == "parquet":
        raise SelvizError("Parquet is not text; name a file for it: --output units.parquet")
    written = store.export(run, args.table, args.output, form)
    if args.output is None:
        sys.stdout.write(written.decode() if isinstance(written, bytes) else written)
    else:
        print(f"Wrote {args.output}", file=sys.stderr)


def _export_options(sub):
    run_option(sub)
    sub.add_argument(
        "table",
        metavar="TABLE",
        nargs="?",
        help="units, layers, class_means, images, activations, epochs, atlas, curves, ...",
    )
    sub.add_argument("--format", choices=("csv", "parquet", "json"), help="(default: csv)")
    sub.add_argument("--output", metavar="FILE", help="(default: stdout)")
    sub.add_argument("--to", metavar="FILE.zip", help="the whole run, with the images of its data set")


def import_(args):
    """Bring in a run that `selviz export RUN --to FILE.zip` wrote in another store."""
    from selviz.store import Store

    store = Store(args.data)
    summary = store.run(store.unpack(args.zip, args.name))
    show(args, summary, lambda: summary_line(summary))


def _import_options(sub):
    source = sub.add_mutually_exclusive_group(required=True)
    source.add_argument("--zip", metavar="FILE.zip", help="a run that `selviz export RUN --to FILE.zip` wrote")
    sub.add_argument("--name", help="what to call it here (default: its name)")


COMMANDS: Commands = {
    "sql": (sql, 'selviz sql "select layer, avg(si) from units group by layer"', _sql_options),
    "export": (export, "selviz export mnist-5k-cnn-a0 units --format csv --output units.csv", _export_options),
    "import": (import_, "selviz import --zip run.zip", _import_options),
}
