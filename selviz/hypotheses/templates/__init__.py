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

MODULES = (necessary, sufficient, selective, predicts, alpha, replicates, map, single, robust, own)
TEMPLATES: dict[str, Template] = {
    module.__name__.rpartition(".")[2]: Template(
        module.ABOUT, module.say, module.resolve, module.measure, module.judge, module.simulate, module.details
    )
    for module in MODULES
}
