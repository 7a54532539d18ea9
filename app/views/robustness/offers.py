"""Offer to measure what the page lacks: `missing(run, tables, ...)`, `without_gradients(run, tables)`.

A stage is about one set of images. What is added to it is measured on the images it has, and the attacks by gradients
as those that it has were made, so that nothing that is stored goes.
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from selviz.text.perturbations import TRANSFERRED

from ...compute import jobs
from ...page import job_panels, perturbed_runs, run_picker
from ...state import address, reads

Found = dict[str, dict[str, pd.DataFrame]]
STAGE, BY_GRADIENTS, RAYS = "robustness", ("pgd", "fgsm", "transfer"), "rays"


def missing(run: str, by_run: Found, kind: str, name: str | None, about: str) -> None:
    """Show that a corruption, an attack or all of its kind (`name` None) are not stored, and how they get there."""
    if kind == "corruption":
        options = [*(["--corruption", name] if name else []), "--attack", "none", *perturbed_runs.options()]
    else:
        options = ["--corruption", "none", "--attack", name or "pgd"]
    kinds = () if kind == "corruption" else (name or "pgd",)
    if set(kinds) & {*BY_GRADIENTS} and _stored(run)["attack"].get("target") is not None:
        st.info(f"{about} The stored attacks aim at a class, and attacks that do not would replace them.")
        return
    own = _as_stored(run, kinds)
    alike = [
        other
        for other, tables in by_run.items()
        if not _has(tables["robustness"], kind, name) and _as_stored(other, kinds) == own
    ]
    job_panels.study(run, STAGE, about, *options, *own, alike=alike, label="Measure it", key=f"{kind}-{name}")


def without_gradients(run: str, by_run: Found) -> None:
    """Draw the choice of an attack that uses no gradient of this network and is not stored, and its button."""
    own = by_run[run]["robustness"]
    stored = set(own.loc[own["kind"] == "attack", "name"])
    levels = own.loc[(own["kind"] == "attack") & (own["name"] == "pgd") & (own["level"] > 0), "level"]
    others = _others(run) if _stored(run)["attack"].get("target") is None else {}
    choices = {RAYS: perturbed_runs.ATTACKS[RAYS], **{name: f"PGD made on {label}" for name, label in others.items()}}
    choices = {name: told for name, told in choices.items() if name != RAYS or RAYS not in stored}
    choices = {name: told for name, told in choices.items() if f"{TRANSFERRED}{name}" not in stored}
    if not choices or levels.empty:
        return
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        first = next(iter(choices))
        name = address.choose("other", list(choices), first, "attack")
        address.widget(
            st.selectbox, "An attack without its gradients", list(choices), name="other", value=name, default=first,
            width=260, format_func=choices.get,
        )  # fmt: skip
        kind = [RAYS] if name == RAYS else ["transfer", "--from", name]
        options = ["--corruption", "none", "--attack", *kind]
        options += [part for level in sorted(set(levels)) for part in ("--epsilon", f"{level:g}")]
        study = jobs.Study(reads.data(), run, STAGE, (*options, *_as_stored(run, (kind[0],))))
        job_panels.begin_button("Measure it", study, "without-gradients")


def _others(run: str) -> dict[str, str]:
    """Return the other finished runs of the same images, by name, as they are called."""
    table = reads.runs()
    table = table[table["state"] == "finished"]
    same = table[(table["fingerprint"] == table.set_index("run").loc[run, "fingerprint"]) & (table["run"] != run)]
    return run_picker.labels({str(row["run"]): row for row in same.to_dict("records")}) if len(same) else {}


def _has(table: pd.DataFrame, kind: str, name: str | None) -> bool:
    found = table[(table["kind"] == kind) & (table["level"] > 0)]
    return bool(len(found) if name is None else (found["name"] == name).any())


def _stored(run: str) -> dict[str, Any]:
    """Return how the stored stage was measured: images, seed, and `attack`, the settings of attacks by gradients."""
    from selviz.studies.stage_writing import stored_settings

    settings = stored_settings(reads.store().run_path(run), STAGE) or {}
    return {**settings, "attack": settings.get("attack") or {}}


def _as_stored(run: str, kinds: Sequence[str]) -> list[str]:
    """Return the options that measure as the stored stage was measured; `kinds` of attack are among what is added."""
    from selviz.studies.robustness import ATTACK_SETTINGS, IMAGES

    settings = _stored(run)
    attack = settings["attack"]
    options: list[str] = []
    for name, value, default in (("images", settings.get("images"), IMAGES), ("seed", settings.get("seed"), 0)):
        options += [f"--{name}", str(value)] if value not in (None, default) else []
    if any(kind in BY_GRADIENTS for kind in kinds):
        for name in ("steps", "restarts"):
            value = attack.get(name, getattr(ATTACK_SETTINGS, name))
            options += [f"--{name}", str(value)] if value != getattr(ATTACK_SETTINGS, name) else []
        options += [] if attack.get("random_start", True) else ["--no-random-start"]
    return options
