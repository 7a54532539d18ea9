"""`selviz hypothesis register|test|list|report|head`: claims that are registered before they are tested."""

import argparse
from pathlib import Path
from typing import Any

from selviz.cli.common import Commands, device_option, positive, show, whole
from selviz.errors import SelvizError
from selviz.hypotheses.templates import TEMPLATES
from selviz.text.numbers import p_value
from selviz.text.tables import Progress, as_json, table

LEDGER_COLUMNS = "hypothesis template kind study level state verdict p like_it holm bh power statement".split()
# Every option of every template, once.
OPTIONS = {name: text for kind in TEMPLATES.values() for name, _, text in kind.about.options if name != "file"}


def hypothesis(args: argparse.Namespace) -> None:
    """Register a claim, test it, list the ledger, write the report of one, or show and check the head of the chain."""
    from selviz.hypotheses import claim_families, registry
    from selviz.store import Store, read_chain

    store = Store(args.data)
    if args.action == "list":
        _list(args, registry.ledger(store))
        return
    if args.action == "head":
        _head(args, store)
        return
    if not args.what:
        what = f"a template: {', '.join(TEMPLATES)}" if args.action == "register" else "a hypothesis"
        raise SelvizError(f"Name {what}. See: selviz hypothesis --help")
    if args.action == "register":
        _register(args, store)
    elif args.action == "report":
        _report(args, store)
    elif args.abandon:
        record = registry.abandon(store, args.what, args.abandon)
        show(args, record, lambda: f"Hypothesis {record['hypothesis']} is given up; it stays in the ledger.")
    elif args.again:
        with Progress() as progress:
            again = registry.repeat(store, args.what, lambda done: progress({"stage": "hypothesis", **done}))
        message = "the same, bit for bit"
        if not again["same"]:
            message = f"not the same: {', '.join(again['differences'])} differ"
        show(args, again, lambda: f"Computed again: {message}.")
    else:
        with Progress() as progress:
            record = registry.run_test(store, args.what, lambda done: progress({"stage": "hypothesis", **done}))
        registered, _ = registry.find(store, record["hypothesis"])
        family = claim_families.told_family(claim_families.family_of(read_chain(store.path).records, registered))
        show(args, record, lambda: _verdict_text(registered, record, family))


def _head(args: argparse.Namespace, store: Any) -> None:
    from selviz.hypotheses import registry
    from selviz.hypotheses.report import HEAD
    from selviz.store import read_chain

    if not args.check:
        chain = read_chain(store.path)
        head = {"head": chain.head, "records": len(chain.records), "problems": chain.problems}
        lines = [chain.head or "The ledger is empty.", *(f"Attention: {problem}" for problem in chain.problems), HEAD]
        show(args, head, lambda: "\n".join(lines))
        return
    checked = registry.check_head(store, args.check)
    later = checked["records"] - checked["record"]
    show(
        args,
        checked,
        lambda: (
            f"The chain is whole, and its first {checked['record']} records are those whose head this was; "
            f"{later} came later."
        ),
    )


def _register(args: argparse.Namespace, store: Any) -> None:
    from selviz.hypotheses import registry
    from selviz.hypotheses.power import power_sentence

    requested: dict[str, Any] = {name: getattr(args, name.replace("-", "_")) for name in OPTIONS}
    requested |= {"smallest": args.smallest, "expected": args.expected}
    if args.file:
        try:
            requested["yaml"] = Path(args.file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SelvizError(f"Cannot read {args.file} ({error}); give a YAML file (docs/hypotheses.md).") from None
    make = registry.preview if args.dry_run else registry.register
    record = make(store, args.what, requested, args.study or "", args.planned or 0, args.seed)

    def text() -> str:
        names = ("statement", "quantity", "direction", "refuted", "controls", "statistic", "sample")
        lines = [f"{name + ':':<11} {record[name]}" for name in names]
        kind = "confirmatory" if record["confirmatory"] else "exploratory"
        lines += [f"kind:       {kind}: {record['why']}", f"level:      {record['level']:.3g}"]
        lines += [f"power:      {power_sentence(record['power'], TEMPLATES[record['template']].about.unit)}"]
        end = "Not registered (--dry-run)." if args.dry_run else (
            f"Registered as {record['hypothesis']}. Test it with: selviz hypothesis test {record['hypothesis']}"
        )  # fmt: skip
        return "\n".join([*lines, end])

    show(args, record, text)


def _report(args: argparse.Namespace, store: Any) -> None:
    from selviz.hypotheses import registry
    from selviz.hypotheses.report import html_report, markdown_report

    if args.json:
        registered, result = registry.find(store, args.what)
        print(as_json({"registered": registered, "result": result}))
        return
    path = Path(args.output) if args.output else None
    make = html_report if path is not None and path.suffix.lower() in (".html", ".htm") else markdown_report
    text = make(store, args.what)
    if path is None:
        print(text)
        return
    from selviz.store.files import writing

    with writing(path):
        path.write_text(text, encoding="utf-8")
    print(f"Wrote {path}")


def _list(args: argparse.Namespace, frame: Any) -> None:
    def text() -> str:
        if frame.empty:
            return "No hypothesis is registered yet: selviz hypothesis register --help"
        lines = [table(frame, LEDGER_COLUMNS)]
        lines += [f"{row.hypothesis}: {row.missing}" for row in frame.itertuples() if row.missing]
        lines += [f"Attention: {problem}" for problem in frame.attrs["problems"]]
        lines.append(
            "like_it: claims about the same quantity of the same networks; holm and bh: p adjusted over those "
            "that were "
            "begun; verdicts use level"
        )
        return "\n".join([*lines, f"head of the chain: {frame.attrs['head']}"])

    rows = {"head": frame.attrs["head"], "problems": frame.attrs["problems"], "hypotheses": frame}
    show(args, rows, text)


def _verdict_text(registered: dict[str, Any], record: dict[str, Any], family: str) -> str:
    from selviz.hypotheses.report import amount, meaning, p_text

    unit = TEMPLATES[registered["template"]].about.unit
    lines = [
        registered["statement"],
        f"{record['verdict'].upper()}: {meaning(registered, record['verdict'])}; {p_text(record)}, level "
        f"{registered['level']:.3g}",
    ]
    for part in record["parts"]:
        low, high, margin = (amount(part[name], unit) for name in ("low", "high", "margin"))
        lines.append(f"  {part['name']}: {amount(part['effect'], unit)} ({low} to {high}), smallest that matters "
                     f"{margin}; {p_value(part['p'])}, {part['test']} (n = {part['n']:,} {part['of']})")  # fmt: skip
    key = record["hypothesis"]
    return "\n".join([*lines, family, f"The report: selviz hypothesis report {key} --output {key}.html"])


def _options(sub: argparse.ArgumentParser) -> None:
    device_option(sub)
    sub.add_argument("action", choices=("register", "test", "list", "report", "head"))
    sub.add_argument("what", nargs="?", metavar="WHAT",
                     help=f"to register a template: {', '.join(TEMPLATES)}; else a hypothesis")  # fmt: skip
    for name, text in OPTIONS.items():
        sub.add_argument(f"--{name}", help=text)
    sub.add_argument("--file", metavar="FILE.yaml", help="of template own: the claim")
    sub.add_argument("--smallest", type=float, help="smallest effect that matters; shares are 0..1 (0.01 is a point)")
    sub.add_argument(
        "--expected", type=float, help="effect that you expect, for the power (default: twice the smallest)"
    )
    sub.add_argument("--check", metavar="HEAD", help="to head: whether the chain still holds the record with this hash")
    sub.add_argument("--study", help="the family of hypotheses that this one belongs to")
    sub.add_argument("--planned", type=positive, help="of a new study: how many hypotheses it will have")
    sub.add_argument("--seed", type=whole, default=0, help="of draws and permutations (default: %(default)s)")
    sub.add_argument("--dry-run", action="store_true", help="to register: only show what would be written, with power")
    sub.add_argument("--again", action="store_true", help="to test: compute it again and compare, bit for bit")
    sub.add_argument("--abandon", metavar="REASON", help="to test: give the hypothesis up; it stays in the ledger")
    sub.add_argument("--output", metavar="FILE", help="to report: .html or .md (default: Markdown on stdout)")


COMMANDS: Commands = {
    "hypothesis": (
        hypothesis,
        "selviz hypothesis register selective --run mnist-5k-cnn-a0 --k 5 --study demo --planned 3",
        _options,
    ),
}
