"""The kinds of claim that can be put to a test, a file each: `TEMPLATES["necessary"].words(settings)`.

A template's file has all of it: `say` the claim in words, `resolve` what is asked to what is registered, `measure` it
on the store, `judge` what was measured, and `simulate` samples for the power that is shown beforehand. A new file in
this folder is a new kind of claim; nothing else names it.
"""

import importlib
import pkgutil

from selviz.hypotheses.template import Template

ORDER = ("necessary", "necessary_units", "sufficient", "selective", "predicts", "alpha")  # others follow by name


def _discover() -> dict[str, Template]:
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    ordered = [name for name in ORDER if name in names] + [name for name in names if name not in ORDER]
    modules = {name: importlib.import_module(f"{__name__}.{name}") for name in ordered}
    return {
        name: Template(m.ABOUT, m.say, m.resolve, m.measure, m.judge, m.simulate, m.details)
        for name, m in modules.items()
    }


TEMPLATES: dict[str, Template] = _discover()
