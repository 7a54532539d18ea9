"""The parts of the start page: `actions`, `alpha`, `network`, `what_is_seen`, `ten_images`, `doors`."""

import base64
import html

import streamlit as st

from selviz.figures import colors
from selviz.publishing.board import MAX_PICTURED
from selviz.text import numbers, safe_text

from ...board import answers
from ...board import component as board
from ...compute.ablation import AblationRequest
from ...look import theme
from ...page import run_families, silencing
from ...state import address, reads
from ...state.navigation import page_at
from . import choice as choices
from .choice import Choice

PICTURED = 300  # units up to which a tile is large enough to be a picture
DOORS = (
    ("lesson", "Learn", "Eight steps: guess, see, and find out whether networks need selective units."),
    ("network", "Explore", "Every unit of this network: what it responds to, and what breaks without it."),
    ("claims", "Test a claim", "Say beforehand what would prove you wrong, then let the network decide."),
)


def actions(run: str, choice: Choice) -> None:
    """Draw the three buttons that silence units and put them back."""
    count, name = len(choice.lovers), safe_text.plain(choice.class_name)
    able = silencing.can_silence(run) and count > 0
    units = numbers.counted(count, "unit")
    seed = address.integer("seed", 0, 10**6, 0)
    with st.container(horizontal=True, gap="small", key="start-actions"):
        st.button(
            f"Silence the {units} that love{'s' if count == 1 else ''} {name}",
            type="primary",
            icon=":material/volume_off:",
            key="start-class",
            disabled=not able,
            on_click=silence,
            args=(run,),
            kwargs={"do": "class", "class": choice.class_name, "silence": None},
        )
        st.button(
            f"Silence {count} at random" if count else "Silence some at random",
            icon=":material/casino:",
            key="start-random",
            disabled=not able,
            on_click=silence,
            args=(run,),
            kwargs={
                "do": "random",
                "class": choice.class_name,
                "seed": seed + 1 if choice.action == "random" else seed,
                "silence": None,
            },
        )
        st.button(
            "Put them back",
            icon=":material/undo:",
            key="start-back",
            disabled=not choice.silent,
            on_click=choices.put_back,
        )


def silence(run: str, **changes: str | int | None) -> None:
    """Write a choice to the address, and let the board answer it ahead of the page."""
    address.update(**changes)
    answers.expect(board.name_of("start"), AblationRequest(run, silencing.text(choices.choice(run).silent)))


def alpha(run: str) -> None:
    """Draw a slider over the networks that differ from this one by alpha alone, where there are several."""
    _, family = run_families.family_of(run)
    by_alpha = family.sort_values(["alpha", "seed"]).drop_duplicates("alpha")
    own = family.loc[family["run"] == run].iloc[0]
    by_alpha = by_alpha[by_alpha["alpha"] != own["alpha"]]
    runs = [*by_alpha[by_alpha["alpha"] < own["alpha"]]["run"], run, *by_alpha[by_alpha["alpha"] > own["alpha"]]["run"]]
    if len(runs) < 2:
        return
    labels = {row["run"]: f"α {numbers.alpha(row['alpha'])}" for row in family.to_dict("records")}
    address.bound_widget(
        st.select_slider,
        "Selectivity in training, α",
        runs,
        key="start-alpha",
        value=run,
        on_change=lambda name: address.update(run=name),
        format_func=labels.get,
    )


def network(run: str, choice: Choice) -> silencing.Outcome:
    """Draw the board, after what is silent was measured; return what came of it."""
    slot = st.container(key="start-board")
    outcome = silencing.untouched(run)
    if choice.silent and silencing.can_silence(run):
        outcome = silencing.outcome(AblationRequest(run, silencing.text(choice.silent)))

    def open_unit(layer: str, unit: int) -> None:
        st.session_state["start-open"] = (layer, unit)

    with slot:
        view = board.View(
            choice.silent,
            outcome.before,
            outcome.accuracy_before,
            outcome.after,
            outcome.accuracy_after,
            silencing=silencing.can_silence(run),
            focus_class=choice.class_name,
            class_action="Click to silence the units that love it",
        )
        board.show(
            run,
            view,
            key="start",
            height=336,
            on_silent=choices.by_hand,
            request=lambda units: AblationRequest(run, silencing.text(units)),
            on_open=open_unit,
            on_class=lambda name: silence(run, **{"class": name}, do="class", silence=None),
        )
    if opened := st.session_state.pop("start-open", None):
        query = {"run": run, "layer": opened[0], "unit": str(opened[1])}
        st.switch_page(page_at("unit"), query_params=query)
    return outcome


def what_is_seen(run: str, choice: Choice, outcome: silencing.Outcome) -> None:
    """Say in one sentence what the board shows."""
    if not silencing.can_silence(run):
        st.markdown("The weights of this network are not here, so it can be looked at, and its units not be silenced.")
    elif outcome.after is None:
        if choice.action == "class":
            name = safe_text.plain(choice.class_name)
            st.markdown(f"No unit of the last layer prefers {name} in this network, so there is nothing to silence.")
        else:
            whole = numbers.percent(outcome.accuracy_before)
            st.markdown(f"The whole network gets {whole} of the images right. **Silence some of its units.**")
    else:
        st.markdown(consequence(run, choice, outcome))


def consequence(run: str, choice: Choice, outcome: silencing.Outcome) -> str:
    """Return what silencing did to all images and to the class that it did most to."""
    names, after = reads.class_names(run), outcome.after or []
    changes = [(now or 0.0) - (was or 0.0) for now, was in zip(after, outcome.before)]
    worst = names.index(choice.class_name) if choice.action == "class" else changes.index(min(changes))
    count = sum(map(len, choice.silent.values()))
    kinds = {"class": f"the {numbers.counted(count, 'unit')} that prefer {safe_text.plain(choice.class_name)}"}
    silent = kinds.get(choice.action, f"these {numbers.counted(count, 'unit')}")
    return (
        f"Without {silent}: all images {numbers.percent(outcome.accuracy_before)} → "
        f"**{numbers.percent(outcome.accuracy_after or 0.0)}**, class {safe_text.plain(names[worst])} "
        f"{numbers.percent(outcome.before[worst] or 0.0)} → **{numbers.percent(after[worst] or 0.0)}**."
    )


def ten_images(run: str, outcome: silencing.Outcome) -> None:
    """Draw an image of each class, up to ten, with what the network takes it for now."""
    images, names = reads.store().images(run), reads.class_names(run)
    right = images[images["label_index"] == images["prediction_index"]]
    first = right.drop_duplicates("label_index").sort_values("label_index").head(10)
    pictures = reads.store().thumbnails(run, first["image"].astype(int).tolist())
    flips = {row["image"]: row["after"] for row in (outcome.result or {}).get("flips", [])}
    hues = colors.classes(len(names), theme.dark())
    tiles = []
    for row in first.to_dict("records"):
        label = int(row["label_index"])
        now = flips.get(row["image"], label)
        wrong = now != label
        words = html.escape(f"image {row['image']}, class {names[label]}, taken for {names[now]}")
        picture = base64.b64encode(pictures[int(row["image"])]).decode()
        tiles.append(
            f'<figure class="{"wrong" if wrong else ""}" style="--hue:{hues[now]}" title="{words}">'
            f'<img alt="{words}" src="data:image/png;base64,{picture}">'
            f"<figcaption>{'✗ ' if wrong else ''}{html.escape(safe_text.short(names[now], 12))}</figcaption></figure>"
        )
    st.html(f'<div class="selviz-ten">{"".join(tiles)}</div>')


def how_to_read(run: str) -> None:
    """Say what a tile is, and that one network is no evidence."""
    count = len(reads.store().units(run))
    small = count <= PICTURED
    room = "" if small else "where there is room, "
    picture = f"A tile is a unit: {room}the mean of the nine images that drive it most, framed"
    tile = picture if count <= MAX_PICTURED else "A tile is a unit,"
    network = "One small network, a" if small else "One network, a"
    st.caption(
        f"{tile} in the color of the class it prefers, the brighter the more selective. Click one to silence it, click "
        f"a class to silence the units that love it, double-click to open. {network} chosen illustration: what it "
        "shows is a question, not evidence."
    )


def doors() -> None:
    """Draw the ways on."""
    for column, (page, title, about) in zip(st.columns(3, gap="medium"), DOORS):
        with column.container(border=True):
            st.page_link(page_at(page), label=f"**{title}**", icon=":material/arrow_forward:")
            st.caption(about)
