"""Perturbed images and runs that were tested on them: `samples(run)`, `gathered(run, "robustness", ...)`."""

import html
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from selviz.runs.families import siblings
from selviz.statistics import over_seeds, wilson
from selviz.store import Store
from selviz.system.image_pixels import as_bytes
from selviz.text import numbers, safe_text
from selviz.text.perturbations import called

from ..compute import jobs
from ..look import thumbnails
from ..state import address, reads
from . import frame, job_panels

SHOWN = 8
EPSILONS = ("0.5", "1", "2", "4", "8", "16", "32", "64")
CONSTANTS = {"imagenet": "Photographs", "cifar": "Small pictures"}
CIFAR = "corruption_cifar"
KINDS = {"corruption": "A corruption", "attack": "An attack"}
ATTACKS = {"pgd": "PGD, 20 steps", "fgsm": "FGSM, one step", "rays": "RayS, predicted class only"}
STRIP = """<style>
.selviz-strip {display: grid; grid-template-columns: 6.4rem repeat(var(--n), minmax(4.6rem, 1fr)); gap: .5rem .6rem;
  align-items: center; overflow-x: auto}
.selviz-strip img {width: 100%; max-width: 9rem; aspect-ratio: 1; image-rendering: pixelated; border-radius: .4rem;
  display: block}
.selviz-strip div {font-size: .88rem; line-height: 1.25; overflow-wrap: anywhere}
.selviz-wrong {font-weight: 700; text-decoration: underline; text-decoration-thickness: 2px; text-underline-offset: 3px}
</style>"""


def samples(run: str) -> tuple[str, str, float]:
    """Return a few images, what the perturbation does to them and what the network takes them for; (kind, name,
    level).
    """
    from selviz.robustness import corruptions

    _, dataset = reads.network(run)
    side = dataset.eval_pixels.shape[2:]
    names, skipped = corruptions.usable(*side, tuple(corruptions.CORRUPTIONS), constants())
    last = max(0, len(dataset.eval_labels) - SHOWN)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium", key="perturbed-choice"):
        kind = address.segmented("What happens to the images", KINDS, "kind")
        if kind == "corruption":
            name = address.choose("corruption", names, "gaussian_noise", "corruption")
            address.widget(
                st.selectbox, "Corruption", names, name="corruption", value=name, default="gaussian_noise", width=180,
                format_func=called,
            )  # fmt: skip
            level = address.integer("severity", 1, 5, 3)
            with st.container(width=130):
                address.widget(st.slider, "Severity", 1, 5, name="severity", value=level, default=3)
        else:
            name = address.choose("attack", list(ATTACKS), "pgd", "attack")
            address.widget(
                st.selectbox, "Attack", list(ATTACKS), name="attack", value=name, default="pgd", width=220,
                format_func=ATTACKS.get,
            )  # fmt: skip
            level = address.choose("epsilon", EPSILONS, "8", "epsilon")
            with st.container(width=220):
                address.widget(
                    st.select_slider, "Largest change of a pixel, of 255", EPSILONS, name="epsilon", value=level,
                    default="8",
                )  # fmt: skip
        first = address.integer("first", 0, last, 0)
        address.widget(
            st.number_input, "First image", min_value=0, max_value=last, step=SHOWN, name="first", value=first,
            default=0, width=90,
        )  # fmt: skip
        if kind == "corruption":
            chosen = address.choose("constants", list(CONSTANTS), "imagenet", "constants")
            address.widget(
                st.selectbox, "Constants for", list(CONSTANTS), name="constants", value=chosen, default="imagenet",
                width=145, format_func=CONSTANTS.get,
            )  # fmt: skip
    _strip(run, kind, name, float(level), first)
    if skipped:
        few = "These images are too small for some corruptions" if constants() == "imagenet" else "Left out"
        st.caption(f"{few}: " + "; ".join(skipped.values()) + ".")
    return kind, name, float(level)


def constants() -> str:
    """Return the set of constants of the corruptions that the address names: `imagenet` or `cifar`."""
    requested = str(address.get("constants") or "imagenet")
    return requested if requested in CONSTANTS else (address.near(requested, list(CONSTANTS)) or ["imagenet"])[0]


def with_constants(by_run: dict[str, dict[str, pd.DataFrame]]) -> dict[str, dict[str, pd.DataFrame]]:
    """Return the tables with the chosen constants' corruptions as `corruption`, and without those of the others."""
    if constants() == "imagenet":
        return by_run
    return {
        run: {
            name: table[table["kind"] != "corruption"].assign(
                kind=lambda rows: rows["kind"].replace(CIFAR, "corruption")
            )
            for name, table in tables.items()
        }
        for run, tables in by_run.items()
    }


def stored_kind(kind: str) -> str:
    """Return the stored name of a kind of perturbation, with the chosen constants."""
    return CIFAR if (kind, constants()) == ("corruption", "cifar") else kind


def options() -> list[str]:
    """Return the command's options for the chosen constants, none for the default ones."""
    return [] if constants() == "imagenet" else ["--constants", constants()]


@st.cache_data(max_entries=64, show_spinner="Making the images ...")
def _made(folder: str, files: tuple, run: str, kind: str, name: str, level: float, first: int, constants: str) -> Any:
    """Return pixels of the images, clean and perturbed, their labels, and ((prediction, probability)) of both."""
    import torch

    from selviz.robustness.bench import adversarial
    from selviz.robustness.corruptions import corrupt

    network, dataset = reads.network(run)
    image_numbers = range(first, first + SHOWN)
    clean, labels = dataset.eval_pixels[first : first + SHOWN], dataset.eval_labels[first : first + SHOWN]
    if kind == "corruption":
        perturbed = torch.from_numpy(corrupt(clean.numpy(), name, int(level), 0, image_numbers, constants=constants))
    else:
        perturbed = adversarial(network, dataset, clean, labels, name, level)
    answers = []
    with torch.no_grad():
        for pixels in (clean, perturbed):
            chance = network.logits(dataset.normalise(pixels)).softmax(dim=1)
            answers.append([(int(p.argmax()), float(p.max())) for p in chance])
    return clean.numpy(), perturbed.float().numpy(), labels.tolist(), answers


def _strip(run: str, kind: str, name: str, level: float, first: int) -> None:
    made_with = constants() if kind == "corruption" else ""
    made = _made(reads.data(), reads.run_version(run), run, kind, name, level, first, made_with)
    clean, perturbed, labels, answers = made
    names = reads.class_names(run)
    change = perturbed - clean
    top = level if kind == "attack" else float(np.abs(change).max()) or 1.0
    rows: list[list[str]] = [["clean"], ["the change"], ["perturbed"]]
    for number in range(len(labels)):
        shown = (
            (clean[number], answers[0][number], "clean"),
            (np.clip(127.5 + 127.5 * change[number] / max(top, 1e-9), 0, 255), None, "change"),
            (np.clip(perturbed[number], 0, 255), answers[1][number], "perturbed"),
        )
        for row, (pixels, answer, what) in zip(rows, shown):
            picture = thumbnails.uri(thumbnails.plain(as_bytes(pixels)))
            words = ""
            if answer is not None:
                right = answer[0] == labels[number]
                caption = f"{html.escape(safe_text.plain(names[answer[0]]))}, {100 * answer[1]:.0f} %"
                words = f"{'✓' if right else '✗'} <span class='{'' if right else 'selviz-wrong'}'>{caption}</span>"
            alt = html.escape(f"image {first + number}, {what}, class {names[labels[number]]}", quote=True)
            row.append(f"<div><img alt='{alt}' src='{picture}'>{words}</div>")
    cells = "".join(f"<div>{row[0]}</div>{''.join(row[1:])}" for row in rows)
    with st.container(key="perturbed-strip"):
        st.html(f"{STRIP}<div class='selviz-strip' tabindex='0' style='--n: {len(labels)}'>{cells}</div>")
    scale = (
        f"scaled so that {level:g} of 255 is black or white"
        if kind == "attack"
        else f"scaled so that {top:.0f} of 255 is black or white"
    )
    st.caption(
        f"Images {first} to {first + len(labels) - 1}; under each what the network takes it for and how sure it is, "
        f"✗ where that is wrong. The change is perturbed minus clean, {scale}; gray is no change."
        + (
            ""
            if kind != "attack"
            else " The attack is made again for these images; it asks for predicted classes alone, up to 500 an image, "
            "and an image that it did not beat within that is left as it is."
            if name == "rays"
            else " The attack is made again for these images, with all of the network's weights at hand."
        )
    )


def gathered(
    run: str, stage: str, *tables: Callable[[Store, str], pd.DataFrame]
) -> tuple[pd.DataFrame, dict[str, dict[str, pd.DataFrame]], list[str]]:
    """Return the runs like this one that have the stage, their tables (run -> method -> table), and the others."""
    alike = siblings(reads.runs(), run)
    store, by_run, without = reads.store(), {}, []
    for name in alike["run"]:
        if not (store.run_path(name) / f"{stage}.duckdb").exists():
            without.append(name)
            continue
        with frame.show_errors():
            by_run[name] = {read.__name__: read(store, name) for read in tables}
    return alike[alike["run"].isin(by_run)], by_run, without


def missing_notice(without: list[str], command: str) -> None:
    """Say how many runs like this one were not tested yet, and draw the button that computes them."""
    if not without:
        return
    study = jobs.Study(reads.data(), without[0], command, (), tuple(without[1:]))
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(
            f"{numbers.counted(len(without), 'network')} like this one not tested yet, such as "
            f"{safe_text.code(without[0])}: `selviz {command} RUN` tests one."
        )
        job_panels.begin_button("Compute these too", study, f"missing-{command}")


@st.cache_data(max_entries=64, show_spinner=False)
def over_alpha(table: pd.DataFrame, value: str, keys: tuple[str, ...] = ()) -> pd.DataFrame:
    """Return mean of `value` over the seeds of each alpha (and of each of `keys`), low and high by selviz's rule, n."""
    rows = []
    for group, part in table.groupby(["alpha", *keys], sort=False, dropna=False):
        estimate = over_seeds(part[value])
        rows.append(
            {**dict(zip(("alpha", *keys), group)), "mean": estimate.mean, "low": estimate.low, "high": estimate.high}
        )
        rows[-1]["n"] = estimate.n
    return pd.DataFrame(rows, columns=["alpha", *keys, "mean", "low", "high", "n"])


def by_level(runs: pd.DataFrame, tables: dict, kind: str, name: str | None) -> pd.DataFrame:
    """Return accuracy of each alpha at each level of one corruption or attack, or of the mean over corruptions (None).

    Where an alpha has one network the interval is Wilson's for new images, with more it is over seeds.
    """
    parts = []
    for row in runs.to_dict("records"):
        table = tables[row["run"]]["robustness"]
        clean = table[table["kind"] == "clean"]
        part = table[(table["kind"] == kind) & ((table["name"] == name) if name else True)]
        if not name and kind == "corruption":
            part = part.groupby("level", as_index=False).agg({"accuracy": "mean", "images": "first"})
        both = pd.concat([clean, part])[["level", "accuracy", "images"]]
        parts.append(both.assign(alpha=row["alpha"], run=row["run"]))
    table = pd.concat(parts)
    if table.groupby(["alpha", "level"]).size().max() == 1:
        low, high = wilson((table["accuracy"] * table["images"]).round(), table["images"])
        table = table.assign(low=low, high=high, n=1)
    else:
        table = over_alpha(table, "accuracy", ("level",)).rename(columns={"mean": "accuracy"})
    return table.assign(told=[f"α {numbers.alpha(alpha)}" for alpha in table["alpha"]])
