"""Is the selectivity gone, or hidden?"""

import streamlit as st

from selviz.statistics import FEWEST_SEEDS
from selviz.text import numbers

from ...page import frame, job_panels, run_families, run_picker
from ...state import reads
from . import panels

WHY = "Compares every layer with the baselines' in any basis (PWCCA, CKA), and looks for its most selective linear map."


def show() -> None:
    """Draw the page."""
    run = run_picker.require_run()
    frame.page(
        "Is the selectivity gone, or hidden?",
        "A network that was trained to be less selective may have spread the same selectivity over its units: a "
        "rotation of a layer changes every unit's SI and nothing else. Two measures look past the units: how far a "
        "layer is from a baseline's whatever the basis, and how selective it becomes in the best basis found.",
        f"from selviz.studies.basis import *\nbaselines = baselines_of(store, {run['name']!r})\n"
        f"run_similarity(store, [{run['name']!r}], baselines)\nrun_linear_maps(store, {run['name']!r})",
        f"selviz basis {run['name']} --family",
    )
    _, runs = run_families.choose(run["name"])
    names, baselines = runs["run"].tolist(), runs.loc[runs["alpha"] == 0, "run"].tolist()
    seeds = runs.loc[runs["alpha"] == 0, "seed"].nunique()
    order = reads.store().layers(run["name"])["layer"].tolist()
    frame.unbounded(run["name"], order)
    about = runs[["run", "alpha", "seed"]]

    similar = panels.stored(names, "similarity")
    searched = panels.stored(names, "linear_maps")
    whole = set(searched) == set(names) and (seeds < FEWEST_SEEDS or set(similar) == set(names))
    if not whole:
        if similar or searched:
            st.caption(
                f"Of {numbers.counted(len(names), 'run')}, {len(similar)} have distances and {len(searched)} linear "
                "maps."
            )
        job_panels.study(run["name"], "basis", WHY, "--family")

    st.header("Is it only turned?", anchor=False, divider=True)
    if seeds < FEWEST_SEEDS:
        st.info(
            f"The yardstick is the distance between baselines of different seeds, and there "
            f"{'is' if seeds == 1 else 'are'} {seeds} with α 0 among these runs; {FEWEST_SEEDS} are needed, as two "
            "make one pair only.",
            icon=":material/straighten:",
        )
        row = runs.iloc[0]
        st.code(
            f"selviz sweep --dataset {row['dataset']} --model {row['model']} --epochs {row['epochs']} --alphas=-1,0,1 "
            "--seeds 0-2",
            language="bash",
        )
    else:
        there = [name for name in baselines if name in similar]
        with frame.show_errors():
            if len(there) >= FEWEST_SEEDS:
                panels.distances(panels.similarities(similar, there), order)
                st.caption(
                    "Networks of one seed begin with the same weights and stay near each other, so each is compared "
                    "with baselines of other seeds only. PWCCA is blind to how large a direction is, and sees only as "
                    "many directions as the layer with fewer has (`directions` in the table); the baseline supplies "
                    "its weights. A distance like another seed's does not prove a rotation: it says that this measure "
                    "finds no more."
                )

    if searched:
        st.header("How selective is the best basis?", anchor=False, divider=True)
        summaries, troubles = panels.summaries(searched)
        for trouble in troubles[:3]:
            st.error("A run could not be read and is left out here; nothing was lost.", icon=":material/error:")
            st.code(trouble, language=None, wrap_lines=True)
        if len(summaries):
            panels.maps(summaries.merge(about, on="run"), order)
            st.caption(
                "If training only hid the selectivity, the best map brings a suppressed network back to the baseline's "
                "level; if it is gone, the best map stays below. But the search has all linear maps through a ReLU, "
                "and where classes can be told apart linearly it finds selective directions in any network: a high "
                "value says that the classes are there, not that the network uses such a direction. Its units fire on "
                "few images, so their null is high too."
            )
