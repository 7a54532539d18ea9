"""Which networks shall there be?"""

import shlex

import streamlit as st

from app import common, links, training_views, work
from selviz import jobs

names = jobs.names(common.data())
job = links.choose("job", names, names[0], "job") if names else None
common.page(
    "Start a network of your own",
    "Choose what to vary: a network is trained for each combination of the values. It goes on when you close the page; "
    "stopped or cut off, it resumes where it was.",
    shell="selviz sweep --model cnn --dataset mnist-5k --alphas=-1,0,1 --seeds 0-2",
)
work.reading_only()
form, watched = st.columns([1, 2], gap="large")
with form:
    asked = training_views.settings()
    if asked is not None:
        configs, words = asked
        new = jobs.place(common.data(), training_views.sweep_name(configs)).name
        busy = training_views.another(new)
        count = f"{len(configs)} network" + ("" if len(configs) == 1 else "s")
        if work.allowed():
            st.button(
                f"Train {count}", type="primary", icon=":material/play_arrow:", key="train-start",
                on_click=training_views.start, args=(configs, words), width="stretch", **work.control(bool(busy)),
            )  # fmt: skip
            if busy:
                st.caption("Another sweep is training on this machine: stop it, or wait for its end.")
            st.caption("The same in a shell:")
        else:
            st.info("This dashboard does not train. In a shell:", icon=":material/lock:")
        st.code(shlex.join(["selviz", *words, "--data", common.data()]), language="bash", wrap_lines=True)
with watched:
    if job is None:
        st.info("No sweep was started in this store yet. Its progress will be here.", icon=":material/inbox:")
    else:
        links.widget(
            st.selectbox, "Job", names, name="job", value=job, default=names[0], format_func=training_views.title
        )
        with common.failures():
            training_views.watch(job)
