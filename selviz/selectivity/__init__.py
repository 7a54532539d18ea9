"""How selective units are: the index, its penalty and its null, and other measures.

from selviz.selectivity import class_selectivity, penalty, shuffle_null

loss = cross_entropy - alpha * penalty([units], labels, classes)  # in a training loop of your own
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from selviz.selectivity.index import class_means, index_of_class, mean_over_layers, preferred_class, shuffle_null
    from selviz.selectivity.index import index as class_selectivity
    from selviz.selectivity.penalties import penalty

__all__ = [
    "class_means",
    "class_selectivity",
    "index_of_class",
    "mean_over_layers",
    "penalty",
    "preferred_class",
    "shuffle_null",
]


def __getattr__(name: str) -> object:
    """Load the formulas, which need torch, when one of them is asked for."""
    if name in __all__:
        from selviz.selectivity import index, penalties

        return {"penalty": penalties.penalty, "class_selectivity": index.index}.get(name) or getattr(index, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
