"""`selviz runs, layers, units, unit`: what the store holds."""

import argparse

from selviz.cli.common import Commands, in_order, listing_options, one_unit, run_option, show, store_and_run
from selviz.text.tables import table

RUN_COLUMNS = "run state alpha test_accuracy mean_si mean_si_live null_mean null_p95 dead units images".split()

LAYER_COLUMNS = "layer depth units dead mean_si null_mean null_p95 mean_si_live null_live_mean null_live_p95".split()

UNIT_COLUMNS = "layer unit si null_mean null_p95 p preferred_class mean_activation zero_share dead".split()


def runs(args: argparse.Namespace) -> None:
    """List every run of the store, finished or not."""
    from selviz.store import Store

    frame = Store(args.data).runs()

    def text() -> str:
        if frame.empty:
            return f"No runs in {args.data}. Five small networks in about a minute: selviz demo"
        notes = []
        for row in frame.to_dict("records"):
            words = [row[name] for name in ("reason", "resume") if isinstance(row.get(name), str) and row[name]]
            notes += [f"{row['run']}: {'; '.join(words)}"] if words and row["state"] != "finished" else []
        return "\n".join([table(frame, RUN_COLUMNS), *notes])

    show(args, frame, text)


def layers(args: argparse.Namespace) -> None:
    """List a run's unit layers in forward order, with the mean SI of each and its label-shuffle null."""
    store, run = store_and_run(args)
    frame = store.layers(run)
    show(args, frame, lambda: table(frame, LAYER_COLUMNS))


def units(args: argparse.Namespace) -> None:
    """List a run's units with their class selectivity index and its label-shuffle null."""
    store, run = store_and_run(args)
    frame = in_order(store.units(run, args.layer), args)
    show(args, frame, lambda: table(frame, UNIT_COLUMNS))


def unit(args: argparse.Namespace) -> None:
    """Show one unit: its index, its mean activation for each class, its most and least activating images."""
    from selviz.statistics import mean_interval

    layer, number = one_unit(args.unit)
    store, run = store_and_run(args)
    result = dict(store.unit(run, layer, number))
    classes = store.class_means(run, layer, number)
    classes["low"], classes["high"] = mean_interval(classes["mean"], classes["std"], classes["images"])
    images = store.activations(run, layer, number).sort_values("value", ascending=False, kind="stable")
    result["classes"] = classes
    result["most_activating"], result["least_activating"] = images.head(9), images.tail(9)[::-1]

    def text() -> str:
        null = f"null {result['null_mean']:.2f}, 95 % of shuffles under {result['null_p95']:.2f}"
        state = "dead: it never fires on these images" if result["dead"] else f"prefers {result['preferred_class']}"
        return (
            f"{layer} unit {number} of {run}: SI {result['si']:.2f} ({null}); {state} ({len(images):,} images)\n\n"
            f"{table(classes, ['class', 'mean', 'low', 'high', 'images'])}\n\nmost activating images\n"
            f"{table(result['most_activating'], ['image', 'label', 'prediction', 'value'])}"
        )

    show(args, result, text)


def _unit_options(sub: argparse.ArgumentParser) -> None:
    run_option(sub)
    sub.add_argument("unit", metavar="LAYER:UNIT", help="such as relu2:5")


COMMANDS: Commands = {
    "runs": (runs, "selviz runs --json", lambda sub: None),
    "layers": (layers, "selviz layers mnist-5k-cnn-a0", run_option),
    "units": (units, "selviz units mnist-5k-cnn-a0 --layer relu2 --sort si --limit 10", listing_options),
    "unit": (unit, "selviz unit mnist-5k-cnn-a0 relu2:5", _unit_options),
}
