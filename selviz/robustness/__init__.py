"""Corruptions, attacks, and what they do to units; a study of a run is `selviz.studies.robustness`."""

from selviz.moved import moved_names

__getattr__ = moved_names(__name__)  # what the module of this name held in version 0.1.0
