"""Tests of selviz. The shapes that the instruments' array functions declare are checked on every call of a test."""

from jaxtyping import install_import_hook

SHAPED = (
    "selviz.ablation.linear_sets",
    "selviz.ablation.many_sets",
    "selviz.geometry",
    "selviz.robustness.unit_shifts",
    "selviz.selectivity.index",
    "selviz.selectivity.other_measures",
)
install_import_hook(SHAPED, "beartype.beartype")
