"""How do these networks differ?"""

import streamlit as st

from app import charts, common, compare_views, comparing, links

COLUMN = {"live": charts.runs.LIVE_UNITS, "all": charts.runs.ALL_UNITS}

run = common.require_run()["name"]
table = common.runs()
finished = {row["run"]: row for row in table[table["state"] == "finished"].to_dict("records")}
names = comparing.chosen(finished, run)
rows = {name: finished[name] for name in names}
base = comparing.baseline(rows)
comparing.remember(names, base)
common.page(
    "How do these networks differ?",
    "Choose up to six networks and pin one as the baseline: the others are shown beside it, and as differences from it "
    "wherever they saw the same images.",
    comparing.python(base, names),
)
with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
    links.widget(
        st.multiselect,
        f"Networks, two to {comparing.MOST}",
        list(finished),
        name="runs",
        value=names,
        text=",".join,
        format_func=comparing.told(finished).get,
        max_selections=comparing.MOST,
    )
    links.widget(
        st.selectbox, "Baseline", names, name="baseline", value=base, format_func=comparing.told(rows).get, width=260
    )
if len(rows) < 2:
    few = "There is one network in this store" if len(finished) < 2 else "One network is chosen"
    st.info(f"{few}, and a comparison needs two.", icon=":material/compare_arrows:")
    if len(finished) < 2:
        st.code("selviz train --dataset mnist-5k --model cnn --alpha=-1", language="bash")
    st.stop()

read = comparing.read({base: rows[base], **rows})
if base not in read or len(read) < 2:
    st.info("Without these files there is nothing to compare; choose other networks.", icon=":material/compare_arrows:")
    st.stop()
rows = {name: rows[name] for name in read}
compare_views.strangers(rows, base)
runs, by_class = comparing.accuracies(rows, base)
told = runs.set_index("run")["told"].to_dict()
compare_views.settings(rows, told)
left, right = st.columns(2, gap="large")
with left:
    compare_views.accuracy(runs)
with right:
    compare_views.classes(by_class)
compare_views.tests(runs)

layers = read[base]["layers"]["layer"].tolist()
layer = comparing.layer(read, base)
with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
    links.widget(st.selectbox, "Layer", layers, name="layer", value=layer, default=layers[-1], width=260)
    which = links.segmented("Mean SI over", {"live": "Live units", "all": "All units"}, "units")
left, right = st.columns(2, gap="large")
with left:
    compare_views.depth(
        comparing.joined({name: tables["layers"] for name, tables in read.items()}, runs), COLUMN[which]
    )
with right:
    compare_views.units(comparing.joined(comparing.of_layer(read, base, layer), runs), layer)
compare_views.matches(rows, read, told, base, layer)
