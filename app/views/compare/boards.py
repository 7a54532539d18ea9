"""Two networks next to each other: `side_by_side(rows, labels, base, other_network(rows, labels, base))`."""

from functools import partial

import streamlit as st

from selviz.text import numbers, safe_text, unit_lists

from ...board import component as board
from ...state import address, reads
from ...state.navigation import page_at
from . import differences

HEIGHT = 290  # pixels of a board


def other_network(rows: dict[str, dict], labels: dict[str, str], base: str) -> str:
    """Draw the choice of the network that is shown next to the baseline; return it."""
    others = [name for name in rows if name != base]
    first = next((name for name in others if differences.same_images(rows, base, name)), others[0])
    other = address.choose("with", others, first, "run")
    if len(others) > 1:
        address.widget(
            st.segmented_control,
            "Next to the baseline",
            others,
            name="with",
            value=other,
            default=first,
            format_func=lambda name: differences.plain(labels[name]),
            required=True,
            wrap=True,
        )
    return other


def side_by_side(rows: dict[str, dict], labels: dict[str, str], base: str, other: str) -> None:
    """Draw both networks; where they saw the same images, what is pointed at on one is ringed on the other."""
    same = differences.same_images(rows, base, other)
    shown: tuple[str, int] | None = None
    if same and address.has("pair"):
        shown = _unit(base, address.get("pair"))
    ends = ((base, other, "compare-base"), (other, base, "compare-other"))
    selected = {base: "", other: ""}
    if shown:
        selected[base] = unit_lists.format_units({shown[0]: [shown[1]]})
        if partner := _partner(base, other, *shown):
            selected[other] = unit_lists.format_units({partner[0]: [partner[1]]})

    def choose(run: str, layer: str, unit: int) -> None:
        chosen = (layer, unit) if run == base else _partner(other, base, layer, unit)
        address.update(pair=f"{chosen[0]}:{chosen[1]}" if chosen else None)

    for column, (run, peer, key) in zip(st.columns(2, gap="medium"), ends):
        with column:
            st.markdown(
                f"**{differences.plain(labels[run])}**, accuracy "
                f"{numbers.share(rows[run]['test_accuracy'], rows[run]['images'])}, mean SI of live units "
                f"{numbers.si(rows[run]['mean_si_live'])}"
            )
            links = differences.links(run, peer) if same else None
            view = board.View(
                {},
                None,
                None,
                mode="select",
                silencing=False,
                selected=selected[run],
                peer=next(name for end, _, name in ends if end == peer) if same else "",
                peer_label=labels[peer],
                links=links.match if links else None,
                likeness=links.correlation if links else None,
            )
            board.show(
                run,
                view,
                key=key,
                height=HEIGHT,
                on_select=partial(choose, run) if same else None,
                on_open=partial(_open_later, run),
            )
    st.caption(_caption(rows, base, other, same))
    if shown and (partner := _partner(base, other, *shown)):
        _pair(labels, (base, *shown), (other, *partner))
    if query := st.session_state.pop("compare-open", None):
        st.switch_page(page_at("unit"), query_params=query)


def _caption(rows: dict[str, dict], base: str, other: str, same: bool) -> str:
    tile = "A tile is a unit in the color of the class that it prefers, the brighter the more selective."
    if not same:
        return (
            f"{tile} These networks saw different images, so their units cannot be matched. Double-click opens a unit."
        )
    images = min(rows[base]["images"], rows[other]["images"], differences.LINK_IMAGES)
    return (
        f"{tile} Point at a unit: ringed in the other network is the unit of the same layer, or the one nearest in "
        f"depth, whose activations correlate most with it over {numbers.counted(int(images), 'image')}. Click to keep "
        "the pair, double-click to open a unit. The best of many correlates by chance too; the nulls are below."
    )


def _unit(run: str, name: str) -> tuple[str, int] | None:
    """Return the layer and unit of `layer:unit`, None with a notice where the run has none of that name."""
    sizes = dict(zip(*(reads.store().layers(run)[column] for column in ("layer", "units"))))
    named, wrong = unit_lists.parse_existing_units(name, sizes)
    for part in wrong[:1]:
        address.not_found("unit", part, "no pair")
    return next(((layer, units[0]) for layer, units in named.items()), None)


def _partner(run: str, other: str, layer: str, unit: int) -> tuple[str, int] | None:
    """Return the match of a unit of `run` in `other`."""
    match = int(differences.links(run, other).match[board.read(run).position(layer, unit)])
    return board.read(other).unit_at(match) if match >= 0 else None


def _pair(labels: dict[str, str], *ends: tuple[str, str, int]) -> None:
    """Say what both units of a pair are, and draw the ways to their pages."""
    correlation = differences.links(ends[0][0], ends[1][0]).correlation[board.read(ends[0][0]).position(*ends[0][1:])]
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="compare-pair"):
        for run, layer, unit in ends:
            about = reads.store().unit(run, layer, unit)
            likes = "dead" if about["dead"] else f"prefers {safe_text.plain(about['preferred_class'])}"
            st.page_link(
                page_at("unit"),
                label=f"{safe_text.code(f'{layer}:{unit}')} of {differences.plain(labels[run])}: {likes}, "
                f"SI {numbers.si(about['si'])}",
                icon=":material/adjust:",
                query_params={"run": run, "layer": layer, "unit": str(unit)},
            )
        st.markdown(f"correlation r = {numbers.signed(float(correlation), 2)}", width="content")
        st.button("Let the pair go", type="tertiary", on_click=address.update, kwargs={"pair": None})


def _open_later(run: str, layer: str, unit: int) -> None:
    """Remember that a unit is to be opened: a page can be left only while it is drawn."""
    st.session_state["compare-open"] = {"run": run, "layer": layer, "unit": str(unit)}
