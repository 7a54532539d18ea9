"""Studies of stored runs: each opens a run, calls one instrument and writes one stage."""

from selviz.moved import moved_names

__getattr__ = moved_names(__name__)  # what the module of this name held in version 0.1.0
