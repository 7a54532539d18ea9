"""The kinds of claim that can be put to a test, a file each: `TEMPLATES["necessary"].words(settings)`.

A template's file has all of it: `say` the claim in words, `resolve` what is asked to what is registered, `measure` it
on the store, `judge` what was measured, and `simulate` samples for the power that is shown beforehand.
"""

from selviz.hypotheses.template import Template
from selviz.hypotheses.templates import (
    alpha,
    map,
    necessary,
    own,
    predicts,
    replicates,
    robust,
    selective,
    single,
    sufficient,
)

TEMPLATES: dict[str, Template] = {
    "necessary": necessary.TEMPLATE,
    "sufficient": sufficient.TEMPLATE,
    "selective": selective.TEMPLATE,
    "predicts": predicts.TEMPLATE,
    "alpha": alpha.TEMPLATE,
    "replicates": replicates.TEMPLATE,
    "map": map.TEMPLATE,
    "single": single.TEMPLATE,
    "robust": robust.TEMPLATE,
    "own": own.TEMPLATE,
}
