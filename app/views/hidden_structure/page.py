"""Is the selectivity gone, or hidden?"""

import pandas as pd
import streamlit as st

from selviz.statistics import FEWEST_SEEDS
from selviz.store import Store
from selviz.text import numbers

from ...page import frame, job_panels, perturbed_runs, run_families, run_picker
from ...state import address, reads
from . import dimensionality, other_bases

PARTS = {"bases": "In other bases", "dimensionality": "Directions in use"}
WHY = "Compares every layer with the baselines' in any basis (PWCCA, CKA), and looks for its most selective linear map."


def show() -> None:
    """Draw the page."""
    run = run_picker.require_run()
    part = address.get("part") if address.get("part") in PARTS else "bases"
    python = {
        "bases": f"from selviz.studies.basis import *\nbaselines = baselines_of(store, {run['name']!r})\n"
        f"run_similarity(store, [{run['name']!r}], baselines)\nrun_linear_maps(store, {run['name']!r})",
        "dimensionality": f"store.dimensionality({run['name']!r})",
    }
    shell = {"bases": f"selviz basis {run['name']} --family", "dimensionality": f"selviz dimensionality {run['name']}"}
    frame.page(
        "Is the selectivity gone, or hidden?",
        "A network trained to be less selective may only have spread its selectivity over many units. Two ways to find "
        "out: compare its layers with a baseline's whatever the basis, and count the directions that a layer uses.",
        python[part],
        shell[part],
    )
    part = address.segmented("Look at", PARTS, "part")
    if part == "bases":
        in_other_bases(run["name"])
    else:
        directions_in_use(run["name"])


def in_other_bases(run: str) -> None:
    """Draw how far the layers are from a baseline's in any basis, and how selective their best linear map is."""
    _, runs = run_families.choose(run)
    names, baselines = runs["run"].tolist(), runs.loc[runs["alpha"] == 0, "run"].tolist()
    seeds = runs.loc[runs["alpha"] == 0, "seed"].nunique()
    order = reads.store().layers(run)["layer"].tolist()
    frame.unbounded(run, order)
    about = runs[["run", "alpha", "seed"]]

    similar = other_bases.stored(names, "similarity")
    searched = other_bases.stored(names, "linear_maps")
    whole = set(searched) == set(names) and (seeds < FEWEST_SEEDS or set(similar) == set(names))
    if not whole:
        if similar or searched:
            st.caption(
                f"Of {numbers.counted(len(names), 'run')}, {len(similar)} have distances and {len(searched)} linear "
                "maps."
            )
        job_panels.study(run, "basis", WHY, "--family")

    maps_first = seeds < FEWEST_SEEDS  # then there is a picture of them alone
    if maps_first and searched:
        best_basis(searched, about, order)
    st.header("Is it only turned?", anchor=False, divider=True)
    if maps_first:
        without_yardstick(seeds, runs)
    else:
        there = [name for name in baselines if name in similar]
        with frame.show_errors():
            if len(there) >= FEWEST_SEEDS:
                other_bases.distances(other_bases.similarities(similar, there), order)
                st.caption(
                    "Networks of one seed begin with the same weights and stay near each other, so each is compared "
                    "with baselines of other seeds only. PWCCA is blind to how large a direction is, and sees only as "
                    "many directions as the layer with fewer has (`directions` in the table); the baseline supplies "
                    "its weights. A distance like another seed's does not prove a rotation: it says that this measure "
                    "finds no more."
                )
    if searched and not maps_first:
        best_basis(searched, about, order)


def without_yardstick(seeds: int, runs: pd.DataFrame) -> None:
    """Say why the distance to baselines cannot be judged with so few seeds of them, and what trains more."""
    st.info(
        f"The yardstick is the distance between baselines of different seeds, and there "
        f"{'is' if seeds == 1 else 'are'} {seeds} with α 0 among these runs; {FEWEST_SEEDS} are needed, as two "
        "make one pair only.",
        icon=":material/straighten:",
    )
    row = runs.iloc[0]
    if numbers.missing(row["alpha"]) or pd.isna(row["epochs"]):
        st.markdown("A network that was trained elsewhere has no baselines of its settings in this store.")
    else:
        settings = f"--dataset {row['dataset']} --model {row['model']} --epochs {row['epochs']}"
        st.code(f"selviz sweep {settings} --alphas=-1,0,1 --seeds 0-2", language="bash", wrap_lines=True)


def best_basis(searched: list[str], about: pd.DataFrame, order: list[str]) -> None:
    """Draw how selective the best linear map of each layer is, of the runs that have it."""
    st.header("How selective is the best basis?", anchor=False, divider=True)
    found, troubles = other_bases.summaries(searched)
    for trouble in troubles[:3]:
        st.error("A run could not be read and is left out here; nothing was lost.", icon=":material/error:")
        st.code(trouble, language=None, wrap_lines=True)
    if len(found):
        other_bases.maps(found.merge(about, on="run"), order)
        st.caption(
            "If training only hid the selectivity, the best map brings a suppressed network back to the baseline's "
            "level; if it is gone, the best map stays below. But the search has all linear maps through a ReLU, "
            "and where classes can be told apart linearly it finds selective directions in any network: a high "
            "value says that the classes are there, not that the network uses such a direction. Its units fire on "
            "few images, so their null is high too."
        )


def directions_in_use(run: str) -> None:
    """Draw how many directions each layer uses, on clean images and in the change that a perturbation makes."""
    st.markdown(
        "A layer of many units may use few directions: then its units say much the same. First the activations on "
        "clean images, then the change that a perturbation makes: in how many ways it can push the layer."
    )
    runs, stored, without = perturbed_runs.gathered(
        run, "dimensionality", Store.dimensionality, Store.gradient_variability
    )
    if run not in stored:
        job_panels.study(
            run,
            "dimensionality",
            "Counts the directions of every layer on 500 images, clean and in the change under four corruptions and an "
            "attack, with intervals and a shuffled baseline; and how much the gradients of units by the input vary.",
            stage="dimensionality",
        )
        st.stop()

    study = dimensionality.StoredStudy(run, runs, stored)
    count, over, change = dimensionality.controls(study)
    left, right = st.columns(2, gap="large")
    with left:
        dimensionality.clean_profile(study, count, over)
    with right:
        dimensionality.change_profile(study, count, over, change)
    if over == "maps":
        st.caption(
            "Over whole maps there are more features than images, and no more directions than images less one can be "
            "seen: read these counts against each other, not by themselves."
        )
    perturbed_runs.missing_notice(without, "dimensionality")
    dimensionality.gradients(study)
