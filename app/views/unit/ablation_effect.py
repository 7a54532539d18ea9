"""What silencing one unit changes: `effect(run, layer, unit)`."""

import pandas as pd
import streamlit as st

from app.compute import ablation
from app.compute.ablation import AblationRequest
from app.state.navigation import page_at
from selviz.text import numbers, safe_text, unit_lists


def effect(run: str, layer: str, unit: int) -> None:
    """Draw what breaks without this one unit, and the way to the page that tells more."""
    st.subheader("What breaks without it", anchor=False)
    units = unit_lists.format_units({layer: [unit]})
    max_images, which_images = ablation.image_limit(run)
    result = ablation.ablate(AblationRequest(run, units, max_images=max_images))
    classes = pd.DataFrame(result["per_class"]).dropna(subset="change")
    largest = classes.loc[classes["change"].abs().idxmax()]
    changed = (
        f"Most changed class: {safe_text.plain(largest['class'])}, {numbers.points(largest['change'])} "
        f"({numbers.counted(largest['images'], 'image')})."
        if largest["change"]
        else "No class changes."
    )
    st.markdown(
        f"Accuracy goes from {numbers.percent(result['accuracy_before'])} to "
        f"{numbers.share(result['accuracy_after'], result['images'])}: {numbers.points(result['change'])}, "
        f"McNemar's exact test {numbers.p_value(result['mcnemar_p'])}. {changed}{which_images}"
    )
    st.page_link(
        page_at("ablation"),
        label="Silence it on the Ablation page, beside random units",
        icon=":material/content_cut:",
        query_params={"run": run, "layer": layer, "silence": units},
    )
