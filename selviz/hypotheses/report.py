"""One hypothesis as a page that a reader can check: `html_report(store, key)`, `markdown_report(store, key)`.

Self-contained: figures are drawn here as SVG, so that a report needs neither the dashboard nor a network.
"""

import base64
import html
import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from selviz.hypotheses.claim_families import family_of, told_family
from selviz.hypotheses.decision import OPEN, REFUTED, RULES, SMALLER, SUPPORTED
from selviz.hypotheses.power import power_sentence
from selviz.hypotheses.registry import changed_runs, find, level_sentence
from selviz.hypotheses.templates import TEMPLATES
from selviz.store import Store, read_chain
from selviz.store.run_list import data_option
from selviz.text.numbers import p_value
from selviz.text.tables import cell

Block = tuple[Any, ...]  # what it is, and its content
WIDTH, HEIGHT, BINS = 640, 220, 48
MARK = {True: "✓", False: "✗", None: "–"}
MEANING = {
    SUPPORTED: "the whole interval lies above the smallest effect that matters",
    SMALLER: "the whole interval lies above no effect, and not above the smallest effect that matters",
    REFUTED: "the whole interval lies below the smallest effect that matters",
    OPEN: "the data fit both the claim and its opposite",
}
OLD_MEANING = {  # of the first rules, which tested against no effect
    "supported": "the effect was told from none, which does not mean that it is as large as the claim says",
    "refuted": "the data exclude an effect as large as the claim needs",
    "inconclusive": "the data fit both the claim and its opposite",
}
HEAD = (
    "What the head proves: a chain with this head is this very sequence of records, so whoever noted the head "
    "elsewhere "
    "(a commit, a mail, a notebook) sees later whether any of them was changed, cut off or slipped in: selviz "
    "hypothesis "
    "head --check HEAD. What it cannot prove: that nothing was looked at outside of selviz, that no other copy of the "
    "store was tried first, or anything about records that nobody noted."
)
_STYLE = """
:root {color-scheme: light dark} body {font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto;
padding: 0 1rem} table {border-collapse: collapse; width: 100%; margin: .6rem 0} th, td {text-align: left;
vertical-align: top; padding: .25rem .8rem .25rem 0; border-bottom: 1px solid #8884; font-size: .94rem}
td {overflow-wrap: anywhere} td:first-child {overflow-wrap: break-word}
pre {white-space: pre-wrap; overflow-wrap: anywhere; background: #8882; padding: .6rem;
border-radius: .4rem; font-size: .88rem} svg {width: 100%; height: auto} h1 {font-size: 1.5rem; line-height: 1.3}
.verdict {font-size: 1.15rem; border-left: .4rem solid #0072B2; padding-left: .8rem}
"""
_SVG_STYLE = (
    "<style>text{font:13px system-ui,sans-serif;fill:#31333f}.a{stroke:#31333f}"
    "@media(prefers-color-scheme:dark){text{fill:#fafafa}.a{stroke:#fafafa}}</style>"
)


def html_report(store: Store, key: str) -> str:
    """Return the report as an HTML page."""
    return html_page(*_blocks(store, key))


def html_page(title: str, blocks: Sequence[Block]) -> str:
    """Return blocks, such as ("table", head, rows), as an HTML page."""
    body = "\n".join(_html(*block) for block in blocks)
    head = f"<meta charset='utf-8'><title>{html.escape(title)}</title><style>{_STYLE}</style>"
    return f"<!doctype html><html lang='en'><head>{head}</head><body>\n{body}\n</body></html>\n"


def markdown_report(store: Store, key: str) -> str:
    """Return the report as Markdown, its figures inside."""
    _, blocks = _blocks(store, key)
    return "\n\n".join(_markdown(*block) for block in blocks) + "\n"


def amount(value: float, unit: str) -> str:
    """Return an effect in the template's unit: `+3.2 points`, `+0.41`."""
    return f"{100 * value:+.1f} points" if unit == "points" else f"{value:+.3g}"


def p_text(result: Mapping[str, Any]) -> str:
    """Return a verdict's p, with what it was tested against."""
    margin = all(part["boundary"] == part["margin"] for part in result["parts"])
    return f"{p_value(result['p'])} against {'the margin' if margin else 'no effect'}"


def meaning(registered: Mapping[str, Any], verdict: str) -> str:
    """Return what a verdict says, by the rules that it was decided by."""
    words = MEANING if registered.get("rules", 1) == RULES else OLD_MEANING
    return words.get(verdict, verdict)


def _blocks(store: Store, key: str) -> tuple[str, list[Block]]:
    registered, result = find(store, key)
    key, unit = registered["hypothesis"], TEMPLATES[registered["template"]].about.unit
    chain = read_chain(store.path)
    done = result or {}
    verdict = done.get("verdict")
    family = family_of(chain.records, registered)
    kind = "confirmatory" if registered["confirmatory"] else "exploratory"
    blocks: list[Block] = [("h1", registered["statement"])]
    if verdict:
        first = done["parts"][0]
        blocks.append(
            ("verdict", verdict.capitalize(), f"{meaning(registered, verdict).capitalize()}. Effect "
             f"{_with_interval(first, registered['confidence'], unit)}; smallest that matters "
             f"{amount(first['margin'], unit)}; {p_text(done)}, level {registered['level']:.3g}.")
        )  # fmt: skip
    elif result:
        blocks.append(("verdict", "Given up", f"{result['reason']} ({result['written']})"))
    else:
        blocks.append(("verdict", "No verdict yet", f"Test it with: selviz hypothesis test {key}"))
    blocks.append(("p", f"{kind.capitalize()}: {registered['why']}."))
    blocks.append(("p", told_family(family)))
    if registered.get("rules", 1) != RULES:
        when = "Decided by" if verdict else "Registered under"
        blocks.append(("p", f"{when} the old rules of selviz {registered.get('selviz')}: {registered['rule']}."))
    if registered.get("repeats"):
        blocks.append(("p", f"The same quantity was tested before, in hypothesis {registered['repeats']}."))
    for problem in [*chain.problems, *changed_runs(store, registered)]:
        blocks.append(("p", f"Attention: {problem}."))
    blocks += [("h2", "What was registered"), ("table", ("", ""), _registered_rows(registered, kind))]
    blocks.append(("p", power_sentence(registered["power"], unit)))
    if verdict:
        blocks.append(("h2", "What was found"))
        for part in done["parts"]:
            blocks += _part_blocks(part, registered, unit)
        blocks += _detail_blocks(done["details"])
        rows = [(MARK[entry["done"]], entry["item"], entry["how"]) for entry in done["checklist"]]
        blocks += [
            ("h2", "What was done, and what was not"),
            ("table", ("", "asked of a falsifiable claim", "here"), rows),
        ]
    blocks += [("h2", "How to check this"), ("code", _commands(store, registered, bool(verdict)))]
    networks = [(entry["run"], entry["state"], entry["fingerprint"] or "", (entry["weights"] or "")[:16])
            for entry in registered["runs"]]  # fmt: skip
    blocks.append(("table", ("network", "at registration", "images", "weights (SHA-256)"), networks))
    facts = [("registered", f"{registered['written']}, record {registered['number']}, {registered['hash']}")]
    if result:
        facts.append(("result", f"{result['written']}, record {result['number']}, {result['hash']}"))
    if done.get("compared"):
        facts.append(("compared with the network before the test", "; ".join(done["compared"])))
    facts.append(("head of the chain", f"record {len(chain.records)}, {chain.head}"))
    facts.append(("", HEAD))
    versions = (done if verdict else registered)["versions"]
    facts.append(
        ("made with", ", ".join([f"selviz {registered['selviz']}", *(f"{k} {v}" for k, v in versions.items())]))
    )
    blocks.append(("table", ("", ""), facts))
    return registered["statement"], blocks


def _registered_rows(registered: Mapping[str, Any], kind: str) -> list[Block]:
    rows = [(name, registered[key]) for name, key in (
        ("measured", "quantity"), ("direction", "direction"), ("would refute it", "refuted"), ("controls", "controls"),
        ("statistic", "statistic"), ("sample", "sample"), ("rule", "rule"),
    )]  # fmt: skip
    rows.append(("study", level_sentence(registered)))
    return [*rows, ("kind", kind), ("seed", str(registered["settings"]["seed"]))]


def _part_blocks(part: Mapping[str, Any], registered: Mapping[str, Any], unit: str) -> list[Block]:
    smallest = f", at least {part['smallest_p']:.3g} with this test" if part["smallest_p"] else ""
    sentences = (
        f"{part['name'].capitalize()}: effect {_with_interval(part, registered['confidence'], unit)}; {part['test']}: "
        f"{p_value(part['p'])}{smallest} (n = {part['n']:,} {part['of']})."
    )
    how = (
        f"Gray: the {len(part['null']):,} values that the statistic takes if the claim is false. Line: what was "
        f"observed, {amount(part['observed'], unit)}."
    )
    below = (
        "Bar: the effect with its interval. Dashed: the smallest effect that matters. An interval wholly right of it "
        "supports, one wholly left of it refutes."
    )
    return [
        ("h3", sentences),
        ("svg", null_svg(part["null"], part["observed"], unit), how),
        ("svg", interval_svg(part, unit), below),
    ]


def _with_interval(part: Mapping[str, Any], confidence: float, unit: str) -> str:
    low, high = amount(part["low"], unit), amount(part["high"], unit)
    return f"{amount(part['effect'], unit)} ({100 * confidence:.4g} % interval {low} to {high})"


def _detail_blocks(details: Mapping[str, Any]) -> list[Block]:
    blocks = []
    for name, value in details.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            rows = [tuple(cell(entry) for entry in row.values()) for row in value]
            blocks += [("h3", f"Every one of the {name}"), ("table", tuple(value[0]), rows)]
        else:
            blocks.append(
                ("p", f"{name}: {cell(value) if not isinstance(value, list) else ', '.join(map(cell, value))}")
            )
    return blocks


def commands(store: Store, registered: Mapping[str, Any]) -> list[str]:
    """Return the commands that register the same claim in another copy of the store, test it, and compute it again."""
    where = "".join(f" {part}" for part in data_option(store.path))
    options = []
    for name, value in registered["asked"].items():
        if name == "yaml":
            options.append("--file claim.yaml")
            continue
        text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        options.append(f"--{name}={shlex.quote(text)}" if text.startswith("-") else f"--{name} {shlex.quote(text)}")
    family = registered["family"]
    if family["name"]:
        options.append(f"--study {shlex.quote(family['name'])} --planned {family['planned']}")
    if registered["settings"]["seed"]:
        options.append(f"--seed {registered['settings']['seed']}")
    register = f"selviz hypothesis register {registered['template']} {' '.join(options)}{where}"
    return [register, f"selviz hypothesis test {registered['hypothesis']} --again{where}"]


def _commands(store: Store, registered: Mapping[str, Any], tested: bool) -> str:
    register, again = commands(store, registered)
    lines = ["# in a copy of this store, to be compared with this page:", register]
    if "yaml" in registered["asked"]:
        lines += ["# claim.yaml:", *(f"#   {line}" for line in registered["asked"]["yaml"].splitlines())]
    if tested:
        lines += ["# in this store: computes everything again and says whether it is the same, bit for bit:", again]
    return "\n".join(lines)


# -------------------------------------------------------------------------------------------------------------- figures


def null_svg(null: Sequence[float], observed: float, unit: str) -> str:
    """Return a histogram of the null distribution with the observed value in it."""
    low, high = min(*null, observed), max(*null, observed)
    pad = (high - low) * 0.04 or 0.5
    low, high = low - pad, high + pad
    counts = [0] * BINS
    for value in null:
        counts[min(BINS - 1, int((value - low) / (high - low) * BINS))] += 1
    top, floor, step = 26, HEIGHT - 34, (WIDTH - 20) / BINS
    bars = [
        f"<rect x='{10 + i * step:.1f}' y='{floor - (floor - top) * n / max(counts):.1f}' width='{step - 1:.1f}' "
        f"height='{(floor - top) * n / max(counts):.1f}' fill='#9aa0aa'/>"
        for i, n in enumerate(counts)
        if n
    ]
    x = 10 + (observed - low) / (high - low) * (WIDTH - 20)
    anchor = "end" if x > WIDTH / 2 else "start"
    line = (
        f"<line x1='{x:.1f}' x2='{x:.1f}' y1='{top - 6}' y2='{floor}' stroke='#d55e00' stroke-width='3'/>"
        f"<text x='{x + (-8 if anchor == 'end' else 8):.1f}' y='{top - 10}' text-anchor='{anchor}'>observed "
        f"{amount(observed, unit)}</text>"
    )
    return _svg(HEIGHT, [*bars, line, _axis(low, high, floor, unit)], f"null distribution, observed {observed:.3g}")


def interval_svg(part: Mapping[str, Any], unit: str) -> str:
    """Return the effect with its interval, beside the test's boundary and the smallest effect that matters."""
    values = [part[name] for name in ("low", "high", "effect", "boundary", "margin")]
    low, high = min(values), max(values)
    pad = (high - low) * 0.08 or 0.5
    low, high, height, floor = low - pad, high + pad, 96, 62

    def at(value: float) -> float:
        return float(10 + (value - low) / (high - low) * (WIDTH - 20))

    shapes = [
        f"<line class='a' x1='{at(part['margin']):.1f}' x2='{at(part['margin']):.1f}' y1='8' y2='{floor}' "
        "stroke-dasharray='5 4' stroke-width='1.5'/>",
        f"<line class='a' x1='{at(part['boundary']):.1f}' x2='{at(part['boundary']):.1f}' y1='8' y2='{floor}' "
        "stroke-width='1' opacity='.5'/>",
        f"<line x1='{at(part['low']):.1f}' x2='{at(part['high']):.1f}' y1='34' y2='34' stroke='#0072b2' "
        "stroke-width='6' stroke-linecap='round'/>",
        f"<circle cx='{at(part['effect']):.1f}' cy='34' r='7' fill='#0072b2'/>",
    ]
    return _svg(height, [*shapes, _axis(low, high, floor, unit)], f"effect {part['effect']:.3g}")


def _axis(low: float, high: float, floor: float, unit: str) -> str:
    step = 10 ** math.floor(math.log10((high - low) / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= 7)
    ticks = [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]
    texts = []
    for tick in ticks:
        x = 10 + (tick - low) / (high - low) * (WIDTH - 20)
        shown = f"{100 * tick:.4g}" if unit == "points" else f"{tick:.4g}"
        texts.append(f"<text x='{x:.1f}' y='{floor + 18}' text-anchor='middle'>{shown}</text>")
    line = f"<line class='a' x1='10' x2='{WIDTH - 10}' y1='{floor}' y2='{floor}' stroke-width='1'/>"
    name = f"<text x='{WIDTH - 10}' y='{floor + 32}' text-anchor='end'>{unit}</text>" if unit else ""
    return line + "".join(texts) + name


def _svg(height: int, shapes: list[str], title: str) -> str:
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' role='img'><title>{html.escape(title)}"
        f"</title>{_SVG_STYLE}{''.join(shapes)}</svg>"
    )


# ------------------------------------------------------------------------------------------------------------ rendering


def _html(kind: str, *content: Any) -> str:
    if kind == "table":
        head, rows = content
        top = "".join(f"<th>{html.escape(str(name))}</th>" for name in head) if any(head) else ""
        lines = "".join("<tr>" + "".join(f"<td>{html.escape(str(c))}</td>" for c in row) + "</tr>" for row in rows)
        return f"<table>{f'<tr>{top}</tr>' if top else ''}{lines}</table>"
    if kind == "svg":
        return f"<figure style='margin:.6rem 0'>{content[0]}<figcaption>{html.escape(content[1])}</figcaption></figure>"
    if kind == "verdict":
        return f"<p class='verdict'><b>{html.escape(content[0])}.</b> {html.escape(content[1])}</p>"
    tag = {"code": "pre"}.get(kind, kind)
    return f"<{tag}>{html.escape(content[0])}</{tag}>"


def _markdown(kind: str, *content: Any) -> str:
    if kind == "table":
        head, rows = content
        lines = ["| " + " | ".join(map(_escaped, head)) + " |", "|" + " --- |" * len(head)]
        return "\n".join(lines + ["| " + " | ".join(map(_escaped, row)) + " |" for row in rows])
    if kind == "svg":
        picture = base64.b64encode(content[0].encode()).decode()
        return f"![{_escaped(content[1])}](data:image/svg+xml;base64,{picture})\n\n{_escaped(content[1])}"
    if kind == "verdict":
        return f"**{_escaped(content[0])}.** {_escaped(content[1])}"
    if kind == "code":
        return f"```sh\n{content[0].replace('```', '')}\n```"
    return {"h1": "# ", "h2": "## ", "h3": "### "}.get(kind, "") + _escaped(content[0])


def _escaped(text: Any) -> str:
    escaped = html.escape(" ".join(str(text).split()), quote=False)
    for sign in "\\`*_[]|#":
        escaped = escaped.replace(sign, f"\\{sign}")
    return escaped
