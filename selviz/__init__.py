"""What single units of an image classifier respond to, and whether that matters: `selviz.open("data").runs()`."""

from selviz import moved

__version__ = "0.1.0"

moved.install()


def open(data="data"):
    """The store at the folder `data`: its runs, layers, units and activations as tables, and SQL over all of them."""
    from selviz.store import Store

    return Store(data)
