"""Which networks shall there be?"""

import shlex

import streamlit as st

from selviz.runs import background_jobs

from ...compute import quotas, scheduler
from ...page import frame, job_panels
from ...state import address, reads
from . import imports, panels

WAYS = {"train": "Train", "import": "Import"}


def show() -> None:
    """Draw the page."""
    names = background_jobs.names(reads.data())
    job = address.choose("job", names, names[0], "job") if names else None
    frame.page(
        "Start a network of your own",
        "Train a network for each combination of the values you choose, or import one that was trained elsewhere. Work "
        "goes on when you close the page; cut off, it resumes where it was.",
        shell="selviz sweep --model cnn --dataset mnist-5k --alphas=-1,0,1 --seeds 0-2",
    )
    job_panels.reading_only()
    if address.segmented("What to make", WAYS, "way", label_visibility="collapsed") == "import":
        imports.show()
        return
    form, watched = st.columns([1, 2], gap="large")
    with form:
        requested = panels.settings()
        if requested is not None:
            configs, words = requested
            new = background_jobs.place(reads.data(), panels.sweep_name(configs)).name
            busy = panels.another(new)
            wait = quotas.STUDIES.wait(scheduler.visitor())
            count = f"{len(configs)} network" + ("" if len(configs) == 1 else "s")
            pressed = st.button(
                f"Train {count}", type="primary", icon=":material/play_arrow:", key="train-start", width="stretch",
                **job_panels.writing_control(bool(busy or wait)),
            )  # fmt: skip
            if pressed:  # no callback: that would train what was on screen before a field that was changed just now
                panels.start(configs, words)
                address.rerun()
            if wait:
                st.caption(quotas.STUDIES.message(wait))
            if busy:
                st.caption("Another sweep is training on this machine: stop it, or wait for its end.")
            st.caption("The same in a shell:")
            st.code(shlex.join(["selviz", *words, "--data", reads.data()]), language="bash", wrap_lines=True)
    with watched:
        if job is None:
            st.info("No sweep was started in this store yet. Its progress will be here.", icon=":material/inbox:")
        else:
            address.widget(
                st.selectbox, "Job", names, name="job", value=job, default=names[0], format_func=panels.title
            )
            with frame.show_errors():
                panels.watch(job)
