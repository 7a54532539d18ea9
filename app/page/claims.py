"""Claims on pages: `ledger()`, `form(run)`, `one(key)`; `verdict(key)` for the lesson, `fill_link(...)` for units."""

import html
import re
from functools import partial
from urllib.parse import quote, unquote

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from selviz import figures
from selviz.errors import SelvizError
from selviz.hypotheses import registry, report
from selviz.hypotheses.claim_families import family_of, told_family
from selviz.hypotheses.decision import OPEN, OUTCOMES, REFUTED, RULES, SMALLER, SUPPORTED
from selviz.hypotheses.power import ENOUGH, power_sentence
from selviz.hypotheses.template import CONTROLS, About
from selviz.hypotheses.templates import TEMPLATES
from selviz.store import read_chain
from selviz.text import numbers, safe_text

from ..look import theme
from ..state import address, reads
from ..state.navigation import page_at
from . import frame, job_panels, tables

ICONS = {
    SUPPORTED: ":material/check_circle:",
    SMALLER: ":material/trending_up:",
    REFUTED: ":material/cancel:",
    OPEN: ":material/help:",
}
FIRST = "hypothesis statement verdict p level like_it verdict_holm holm bh kind study state power".split()
OWN = """claim: In the last layer, units with a high SI are less active.
table: units
runs: [{run}]
where: {{layer: {layer}, dead: false}}
independent: unit
measure: mean_activation
with: si
statistic: rank correlation
direction: negative
smallest: 0.2
"""
FILL = "fill"  # the address's parameter that fills the form: unit=relu4:3;class=8
CHOICES = {
    "claim": ["no cost", "equivalent", "cost"],
    "measure": ["loss", "drop"],
    "direction": ["positive", "negative"],
    "against": ["matched", "random"],
    "controls": list(CONTROLS),
}


# -------------------------------------------------------------------------------------------------------------- ledger


def ledger() -> None:
    """Show every registered hypothesis with its verdict; a click on a row opens it."""
    table = registry.ledger(reads.store())
    for problem in table.attrs["problems"]:
        st.error(f"The records do not hold together: {problem}.", icon=":material/broken_image:")
    if table.empty:
        st.info("No hypothesis is registered in this store yet.", icon=":material/inbox:")
        st.button("Register one", type="primary", on_click=address.update, kwargs={"do": "register"})
        st.caption("Or in a shell:")
        st.code("selviz hypothesis register selective --run RUN --k 5", language="bash", wrap_lines=True)
        return
    done = table["verdict"].value_counts()
    counts = {name: done.pop(name) if name in done else 0 for name in OUTCOMES} | {
        f"{v} (old rules)": n for v, n in done.items()
    }
    counts["without a verdict"] = int(table["verdict"].isna().sum())
    summary = ", ".join(f"{number} {name}" for name, number in counts.items() if number)
    st.markdown(f"{numbers.counted(len(table), 'registered claim')}: {summary}.")

    def opened() -> None:
        if rows := st.session_state["ledger"]["selection"]["rows"]:
            address.update(hypothesis=table["hypothesis"].iloc[rows[0]], do="one")

    tables.table(
        table,
        column_order=FIRST,
        column_config={
            "hypothesis": st.column_config.Column("key", width=90),
            "statement": st.column_config.Column("claim", width="large"),
            "verdict": st.column_config.Column("verdict", width=100),
            "like_it": st.column_config.NumberColumn("claims like it"),
            "verdict_holm": st.column_config.Column("verdict, Holm", width=100),
            "level": st.column_config.NumberColumn("level", format="%.3g"),
            "p": st.column_config.NumberColumn("p", format="%.3g"),
            "holm": st.column_config.NumberColumn("p, Holm", format="%.3g"),
            "bh": st.column_config.NumberColumn("p, BH", format="%.3g"),
            "power": st.column_config.NumberColumn("power", format="%.2f"),
        },
        on_select=opened,
        selection_mode="single-row",
        key="ledger",
    )
    st.caption(
        "How to read this: a row is a claim, in the order of registration; tick one to open it. The verdict is that of "
        "the claim alone, at the level of its study. *Claims like it* are about the same quantity of the same "
        "networks: "
        "*verdict, Holm* is what is left when all of those that were begun count; p, Holm and p, BH are adjusted over "
        "them. A test that was begun and has no p counts as 1. Verdicts of the old rules keep their words."
    )
    for row in table[table["missing"] != ""].to_dict("records"):
        st.warning(f"{safe_text.code(row['hypothesis'])}: {row['missing']}.", icon=":material/link_off:")
    tables.saving("hypotheses", table)
    st.caption(f"Head of the chain of {numbers.counted(len(table), 'claim')} and what came of them:")
    st.code(table.attrs["head"], language=None, wrap_lines=True)
    st.caption(sentence(report.HEAD))


# ------------------------------------------------------------------------------------------------------------- register


def form(run: str) -> None:
    """Show a claim put together, shown with its power, and registered."""
    job_panels.reading_only()
    names = {name: kind.about.title for name, kind in TEMPLATES.items()}
    template = address.choose("template", list(names), "selective", "kind of claim")
    address.widget(st.selectbox, "Kind of claim", list(names), name="template", value=template, format_func=names.get)
    kind = TEMPLATES[template]
    with st.form("claim-form", border=True):
        requested = _inputs(template, run)
        left, middle, right = st.columns(3)
        if template != "own":
            requested["smallest"] = _effect(left, kind.about)
        study = middle.text_input("Study", help="The family of this claim; empty for a claim by itself.")
        planned = right.number_input(
            "Claims planned in the study",
            0,
            registry.MAX_PLANNED,
            0,
            help="Fixed by the first one; the level of each is 0.05 divided by it.",
        )
        shown = st.form_submit_button("Show what would be registered", icon=":material/visibility:")
    if shown:
        st.session_state["claim"] = (template, requested, study, int(planned))
    if st.session_state.get("claim", ("",))[0] != template:
        return
    _, requested, study, planned = st.session_state["claim"]
    with frame.show_errors():
        with st.spinner("Simulating the power ..."):
            preview = _preview(reads.data(), _stamp(), template, _frozen(requested), study, planned)
        _registration(preview)
        st.button(
            "Register it",
            type="primary",
            icon=":material/lock:",
            on_click=_register,
            args=(template, requested, study, planned),
            **job_panels.writing_control(),
        )
        st.caption("A registered claim cannot be changed or removed. It is tested afterwards.")
    if failed := st.session_state.pop("not registered", None):
        st.error("It was not registered.", icon=":material/error:")
        st.code(failed, language=None, wrap_lines=True)


def _effect(box: DeltaGenerator, about: About) -> float:
    """Ask for the smallest effect that matters, in its unit; return it as a share."""
    scale = 100 if about.unit == "points" else 1
    what = {"points": "in points", "": "a number without unit"}[about.unit]
    value = box.number_input(
        f"Smallest effect that matters, {what}",
        min_value=0.0,
        value=scale * about.smallest,
        format="%.4g",
        help="The claim is supported only if the whole interval lies above it, and refuted if it lies wholly below.",
    )
    return value / scale


def fill_link(label: str, template: str, run: str, **options: object) -> None:
    """Draw the link that opens the form with these options filled in."""
    filled = ";".join(f"{name}={quote(str(value), safe=',:.- ')}" for name, value in options.items())
    query = {"run": run, "do": "register", "template": template, FILL: filled}
    st.page_link(page_at("claims"), label=label, icon=":material/gavel:", query_params=query)


def _filled() -> dict[str, str]:
    """Return the options that the address fills in."""
    pairs = (part.partition("=") for part in str(address.get(FILL) or "").split(";"))
    return {name: unquote(value) for name, _, value in pairs if name and value}


def _defaults(template: str, run: str, layers: list[str]) -> dict[str, str]:
    """Return what the form begins with: a unit with the class that it prefers, never another one."""
    filled = _filled()
    names = TEMPLATES[template].about.names
    if "class" not in names:
        return filled
    layer, _, number = filled.get("unit", f"{filled.get('layer', layers[-1])}:").rpartition(":")
    if layer not in layers or "class" in filled:
        return filled
    units = reads.store().units(run, layer)
    row = units[units["unit"].astype(str) == number] if number else units.nlargest(1, "si")
    if len(row) and "unit" in names:
        filled.setdefault("unit", f"{layer}:{int(row['unit'].iloc[0])}")
    return filled | ({"class": str(row["preferred_class"].iloc[0])} if len(row) else {})


def _inputs(template: str, run: str) -> dict[str, object]:
    from selviz.attribution.methods import METHODS
    from selviz.robustness.corruptions import STANDARD

    layers, classes = reads.store().layers(run)["layer"].tolist(), reads.class_names(run)
    values: dict[str, object] = {}
    boxes, begin = st.columns(3), _defaults(template, run, layers)
    listed = {**CHOICES, "layer": layers, "class": classes, "method": list(METHODS), "corruption": list(STANDARD)}
    if template == "necessary":
        del listed["controls"]  # a number there
    shown = [option for option in TEMPLATES[template].about.options if option[0] not in ("run", "file")]
    for number, (name, needed, meaning) in enumerate(shown):
        box, head, key = boxes[number % 3], name.capitalize(), f"claim-{template}-{name}-{begin.get(name, '')}"
        if name in listed:
            options = listed[name] if needed else [None, *listed[name]]
            first = len(options) - 1 if name == "layer" and needed else 0
            first = options.index(begin[name]) if name in begin and begin[name] in options else first
            words = (lambda option: "default" if option is None else option) if not needed else str
            values[name] = box.selectbox(head, options, index=first, format_func=words, help=meaning, key=key)
        else:
            value = begin.get(name, "")
            values[name] = box.text_input(head, value, placeholder="" if needed else "default", help=meaning, key=key)
    if template == "own":
        values["yaml"] = st.text_area("The claim as YAML", OWN.format(run=run, layer=layers[-1]), height=280)
    else:
        values["run"] = run
        st.caption(f"Network: {safe_text.code(run)}, the one chosen at the side.")
    return {name: value.strip() if isinstance(value, str) else value for name, value in values.items()}


@st.cache_data(max_entries=64, show_spinner=False)
def _preview(folder: str, stamp: tuple, template: str, requested: tuple, study: str, planned: int) -> registry.Record:
    return registry.preview(reads.Store(folder), template, dict(requested), study, planned)


def _stamp() -> tuple[object, ...]:
    """Return what changes when a run or a record is added."""
    store = reads.store()
    return (*((run, reads.run_version(run)) for run in store.names()), len(store.hypotheses()))


def _frozen(values: dict[str, object]) -> tuple[tuple[str, object], ...]:
    return tuple(sorted((name, value) for name, value in values.items() if value not in (None, "")))


def _register(template: str, requested: dict, study: str, planned: int) -> None:
    try:
        record = registry.register(reads.store(), template, requested, study, planned)
    except SelvizError as error:
        st.session_state["not registered"] = str(error)
        return
    st.session_state.pop("claim", None)
    address.update(hypothesis=record["hypothesis"], do="one", template=None)


# ------------------------------------------------------------------------------------------------------------------ one


def one(key: str) -> None:
    """Show a registered claim: its verdict with the null distribution, all that it rests on, its report."""
    registered, _ = registry.find(reads.store(), key)
    st.subheader(
        safe_text.plain(registered["statement"]) if len(registered["statement"]) < 60 else "The claim", anchor=False
    )
    st.markdown(f"> {sentence(registered['statement'])}")
    if not verdict(key):
        _registration(registered, statement=False)
        return
    _, result = registry.find(reads.store(), key)
    unit = TEMPLATES[registered["template"]].about.unit
    parts = pd.DataFrame(result["parts"])
    tables.chart(
        "The effect",
        partial(figures.hypotheses.effects, parts, unit, theme.dark()),
        f"A dot is the effect in the claim's direction with its {100 * registered['confidence']:.4g} % interval. "
        "Dashed: the smallest effect that matters; an interval wholly above it supports the claim, one wholly below it "
        "refutes it.",
        parts.drop(columns=["null"]),
        "claim-effects",
    )
    for number, part in enumerate(result["parts"]):
        null = pd.DataFrame({"value": part["null"]})
        smallest = f", at least {part['smallest_p']:.3g} with this test" if part["smallest_p"] else ""
        tables.chart(
            f"If it were false: {part['name']}",
            partial(figures.hypotheses.null_distribution, null, part["observed"], unit, theme.dark()),
            f"Gray: the {numbers.whole(len(null))} values that the statistic takes if the claim is false; the line is "
            f"what was observed. {part['test'].capitalize()}: {numbers.p_value(part['p'])}{smallest} "
            f"(n = {numbers.whole(part['n'])} {part['of']}).",
            null,
            f"claim-null-{number}",
        )
    _details(result["details"])
    st.subheader("What was done, and what was not", anchor=False)
    marks = {True: "yes", False: "no", None: "does not apply"}
    st.html(facts_table([(f"{e['item']}: {marks[e['done']]}", e["how"]) for e in result["checklist"]]))
    _registration(registered, statement=False)
    _leave(registered)


def verdict(key: str) -> bool:
    """Return the verdict of a hypothesis in words, or the way to it; whether there is one."""
    store = reads.store()
    registered, result = registry.find(store, key)
    for problem in registry.changed_runs(store, registered):
        st.warning(f"{problem.capitalize()}.", icon=":material/link_off:")
    if result is None:
        job_panels.study(
            "test",
            "hypothesis",
            f"Registered on {registered['written'][:16].replace('T', ' at ')} (UTC), not tested yet.",
            registered["hypothesis"],
            label="Test it now",
        )
        return False
    if result["kind"] == "abandoned":
        st.info(f"Given up: {sentence(result['reason'])}", icon=":material/block:")
        return False
    first, unit = result["parts"][0], TEMPLATES[registered["template"]].about.unit
    shown = {name: report.amount(first[name], unit).replace("-", numbers.MINUS) for name in ("effect", "low", "high")}
    kind = "confirmatory" if registered["confirmatory"] else "exploratory"
    show = {SUPPORTED: st.success, REFUTED: st.error}.get(result["verdict"], st.info)
    smallest = report.amount(first["margin"], unit).replace("-", numbers.MINUS)
    show(
        f"**{result['verdict'].capitalize()}**: {report.meaning(registered, result['verdict'])}. Effect "
        f"{shown['effect']}, "
        f"{100 * registered['confidence']:.4g} % interval {shown['low']} to {shown['high']}, smallest that matters "
        f"{smallest}; {report.p_text(result)}, level {registered['level']:.3g}, n = {numbers.whole(first['n'])} "
        f"{first['of']}. {kind.capitalize()}.",
        icon=ICONS.get(result["verdict"], ":material/history:"),
    )
    records = read_chain(store.path).records
    st.markdown(sentence(told_family(family_of(records, registered))))
    if registered.get("rules", 1) != RULES:
        st.caption(f"Decided by the old rules of selviz {sentence(registered.get('selviz', ''))}.")
    return True


def _registration(registration: dict, statement: bool = True) -> None:
    """Show what is registered, or would be."""
    if statement:
        st.markdown(f"> {sentence(registration['statement'])}")
    names = {"quantity": "measured", "direction": "direction", "refuted": "would refute it", "controls": "controls",
             "statistic": "statistic", "sample": "sample", "rule": "verdict"}  # fmt: skip
    rows = [(title, registration[name]) for name, title in names.items()]
    rows.append(("study", registry.level_sentence(registration)))
    kind = "confirmatory" if registration["confirmatory"] else "exploratory"
    rows.append((kind, registration["why"]))
    st.subheader("What is registered", anchor=False)
    st.html(facts_table(rows))
    title = sentence(power_sentence(registration["power"], TEMPLATES[registration["template"]].about.unit))
    if registration["power"]["power"] < ENOUGH:
        st.warning(title, icon=":material/speed:")
    else:
        st.markdown(title)


def facts_table(rows: list[tuple[str, object]]) -> str:
    """Return a table of two columns that breaks its lines, the first one between words alone, as HTML."""
    cells = (f"<th>{html.escape(name)}</th><td>{html.escape(str(text))}</td>" for name, text in rows)
    return f"<table class='selviz-facts'><tr>{'</tr><tr>'.join(cells)}</tr></table>"


def _details(details: dict) -> None:
    for name, value in details.items():
        if value == []:
            continue
        if isinstance(value, list) and isinstance(value[0], dict):
            st.subheader(f"Every one of the {name}", anchor=False)
            table = pd.DataFrame(value)
            tables.table(table.assign(**{c: table[c].astype(str) for c in table if table[c].dtype == object}))
        else:
            values = value if isinstance(value, list) else [value]
            st.markdown(f"{name}: {', '.join(numbers.number(v) if v is not None else '–' for v in values)}")


def _leave(registered: dict) -> None:
    store, key = reads.store(), registered["hypothesis"]
    st.subheader("For a reader who wants to check this", anchor=False)
    with st.container(horizontal=True):
        for kind, suffix, make in (("HTML", ".html", report.html_report), ("Markdown", ".md", report.markdown_report)):
            st.download_button(
                f"Report as {kind}",
                lambda make=make: make(store, key).encode(),
                f"selviz-hypothesis-{key}{suffix}",
                icon=":material/download:",
                on_click="ignore",
                key=f"report{suffix}",
            )
    st.caption("Computes everything again and says whether it is the same, bit for bit:")
    st.code(report.commands(store, registered)[1], language="bash", wrap_lines=True)
    st.caption(f"Registered as record {registered['number']}, SHA-256:")
    st.code(registered["hash"], language=None, wrap_lines=True)


def sentence(text: str) -> str:
    """Return a sentence with names of others in it, so that Markdown leaves it as it is."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~$:])", r"\\\1", str(text))
