"""Which pixels an answer comes from: `attribution(run, layer, unit, image, activations)` draws the map of one image."""

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from selviz import figures
from selviz.statistics import mean_interval, smallest_p
from selviz.text import numbers, safe_text

from ...compute import scheduler
from ...look import theme, thumbnails
from ...page import job_panels, tables
from ...state import address, reads

BRIGHT = 0.995  # the quantile of a map that gets the brightest color; single larger values stay at it
TARGETS = {"unit": "this unit", "class": "a class", "through": "a class through this unit"}
METHODS = {
    "integrated_gradients": "Integrated Gradients",
    "gradient_x_input": "Gradient × Input",
    "guided_backprop": "Guided Backprop",
    "gradcam": "Grad-CAM",
    "conductance": "Conductance",
    "feature_ablation": "Feature Ablation",
    "occlusion": "Occlusion",
}
COPIES = 8  # of SmoothGrad
YES, PART = 0.2, 0.5  # resemblance to the maps of random weights


def attribution(run: str, layer: str, unit: int, image: int, activations: pd.DataFrame) -> None:
    """Show the controls of an attribution, the map, how exact and how faithful it is, and whether its method is
    sane.
    """
    st.subheader("Which pixels it comes from", anchor=False)
    row = activations[activations["image"] == image].iloc[0]
    names = reads.class_names(run)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        address.widget(
            st.number_input, "Image", min_value=0, max_value=int(activations["image"].max()), step=1, name="image",
            value=image, width=120,
        )  # fmt: skip
        method = address.choose("technique", list(METHODS), "integrated_gradients", "technique")
        address.widget(
            st.selectbox, "Technique", list(METHODS), name="technique", value=method, default="integrated_gradients",
            format_func=METHODS.get, width=210,
        )  # fmt: skip
        explained = address.segmented("What is explained", TARGETS, "explain")
        label = None
        if explained != "unit":
            predicted = row["prediction"]
            requested = address.choose("answer", names, predicted, "class")
            address.widget(st.selectbox, "Class", names, name="answer", value=requested, default=predicted, width=120)
            label = names.index(requested)
        smooth = False
        if method not in ("feature_ablation", "occlusion"):
            smooth = address.switch("SmoothGrad", "smooth", help=f"The mean over {COPIES} noisy copies of the image.")
    st.markdown(
        f"Image {image}: class {safe_text.plain(row['label'])}, taken for {safe_text.plain(row['prediction'])}, "
        f"activation {numbers.number(float(row['value']))}."
    )
    target = (None, None, label) if explained == "class" else (layer, unit, label)
    copies = COPIES if smooth else 0
    flat, delta, settings = _attribution(run, target, image, method, copies)
    from selviz.attribution import COMPUTED_BY

    pixels = thumbnails.decoded(reads.store().thumbnails(run, [image]))[image]
    top = float(np.quantile(np.abs(flat), BRIGHT))
    shown = (
        ("the image", thumbnails.plain(pixels)),
        ("raises it", thumbnails.overlay(pixels, np.maximum(flat, 0), top)),
        ("lowers it", thumbnails.overlay(pixels, np.maximum(-flat, 0), top)),
    )
    for column, (title, picture) in zip(st.columns(3), shown):
        with column:
            st.html(thumbnails.tag(picture, title))
            st.caption(title)
    what = {"unit": "this unit's activation", "class": f"the logit of class {safe_text.plain(names[label or 0])}"}
    what["through"] = f"{what['class']} by way of this unit alone"
    settings_text = ", ".join(f"{name} {value}" for name, value in settings.items() if value not in (None, 0, 0.0))
    st.caption(
        f"{METHODS[method]} ({COMPUTED_BY}) of {what[explained]}, against a black image, summed over color channels; "
        f"both maps share one scale. Settings: {settings_text or 'none'}. "
        + (
            f"The pixels account for a change of {numbers.number(float(flat.sum()))}; the true one differs by "
            f"{numbers.number(delta)} (completeness delta)."
            if delta is not None
            else "This method's values need not sum to anything."
        )
    )
    _faithful(run, target, image, method, copies)
    _sane(run, None if explained == "class" else layer, method)


def _parts(run: str, image: int) -> tuple[Any, Any, Any]:
    """Return the run's network, one image [1, C, H, W] and a black one."""
    import torch

    network, dataset = reads.network(run)
    inputs = dataset.normalise(dataset.eval_pixels[image : image + 1])
    return network, inputs, dataset.normalise(torch.zeros_like(dataset.eval_pixels[:1]))


def _attribution(run: str, *request: Any) -> tuple[np.ndarray, float | None, dict[str, Any]]:
    """Return (map [H, W], completeness delta or None, settings); `asked` is target, image, method, copies."""
    key = ("attribution", reads.data(), reads.run_version(run), run, *request)
    return scheduler.cached(key, partial(_compute, run, *request), "Computing the map ...")


def _compute(
    run: str, target: tuple, image: int, method: str, smooth: int
) -> tuple[np.ndarray, float | None, dict[str, Any]]:
    from selviz.attribution import Target, attribute

    network, inputs, black = _parts(run, image)
    result = attribute(network, Target(*target), inputs, method, baseline=black, smooth=smooth)
    delta = None if result.delta is None else float(result.delta[0])
    return result.maps[0].numpy(), delta, result.parameters


def _faithfulness(run: str, *request: Any) -> dict[str, Any]:
    flat, _, _ = _attribution(run, *request)
    key = ("faithfulness", reads.data(), reads.run_version(run), run, *request)
    return scheduler.cached(key, partial(_take_away, run, flat, *request), "Taking pixels away in the map's order ...")


def _take_away(run: str, flat: np.ndarray, target: tuple, image: int, method: str, smooth: int) -> dict[str, Any]:
    import torch

    from selviz.attribution import Target, faithfulness

    network, inputs, black = _parts(run, image)
    return faithfulness(network, Target(*target), inputs, torch.from_numpy(flat), baseline=black)


def _faithful(run: str, target: tuple, image: int, method: str, smooth: int) -> None:
    """Show deletion, insertion and infidelity of the map that is shown."""
    scores = _faithfulness(run, target, image, method, smooth)
    table = pd.DataFrame({"share": scores["share"], **{way: scores[way]["curve"] for way in ("deletion", "insertion")}})
    tables.chart(
        "How faithful is this map?",
        partial(figures.attribution.pixel_curves, table, theme.dark()),
        "Filled: the highest pixels of the map are blackened first (deletion); a faithful map falls at once. Hollow: "
        "they are put into a black image first (insertion); a faithful map rises at once.",
        table,
        "faithful",
    )
    told = []
    for way, better in (("deletion", "lower"), ("insertion", "higher")):
        areas, own = np.array(scores[way]["random_areas"]), scores[way]["area"]
        ahead = int((areas > own).sum() if better == "lower" else (areas < own).sum())
        told.append(
            f"{way}: area {numbers.number(own)}, {better} than {ahead} of {len(areas)} random orders "
            f"({numbers.p_value(scores[way]['p'])}, at least {smallest_p(len(areas)):.3f} with so few)"
        )
    told = "; ".join(told)
    share = scores["infidelity_share"]
    st.markdown(
        f"{told[0].upper()}{told[1:]}. Infidelity {numbers.number(scores['infidelity'])}"
        + ("." if numbers.missing(share) else f", {numbers.number(share)} of what an empty map has (0 is best).")
    )


def _sane(run: str, layer: str | None, method: str) -> None:
    """Show whether maps of this technique depend on what the network has learned (Adebayo et al. 2018)."""
    st.markdown("**Does this technique depend on the weights?**")
    table = _sanity(reads.data(), reads.run_version(run), run, layer, method)
    if table is None:
        job_panels.study(
            run,
            "sanity",
            "Makes the weights random, from the top layer down, and compares the maps of 24 images with the true ones "
            "(Adebayo et al. 2018).",
            *(("--layer", layer) if layer else ()),
            *("--method", method),
        )
        return
    at_end = table[table["step"] == table["step"].max()]
    sentences, worst = [], 0.0
    for name, title in (("rank_correlation", "rank correlation"), ("ssim", "SSIM")):
        values = at_end[name].dropna()
        low, high = mean_interval(values.mean(), values.std(), len(values))
        sentences.append(
            f"{title} {numbers.signed(values.mean(), 2)} (95 % interval {numbers.signed(low, 2)} to "
            f"{numbers.signed(high, 2)}, {numbers.counted(len(values), 'image')})"
        )
        worst = max(worst, values.mean())
    verdict = "yes" if worst < YES else "in part" if worst < PART else "hardly: it may not show what was learned"
    st.markdown(
        f"**{verdict[0].upper()}{verdict[1:]}.** With all weights before it random, its maps still resemble the true "
        f"ones by {sentences[0]} and {sentences[1]}. (Yes: both below {YES}; in part: below {PART}. These "
        "bounds are selviz's.)"
    )


@st.cache_data(max_entries=64, show_spinner=False)
def _sanity(folder: str, files: tuple, run: str, layer: str | None, method: str) -> pd.DataFrame | None:
    from selviz.studies.attribution import stored_sanity

    return stored_sanity(reads.store(), run, method, layer)
