"""Programs of version 0.1.0, and what *Share* printed then, still run or say what to call instead."""

import subprocess
import sys
import warnings
from importlib import import_module

import pytest

from selviz.moved import MOVED, NAMES, TAKEN
from selviz.testing.dashboard import ROOT

# What *Share* printed on three pages, word for word.
ABLATION = """
from selviz.interventions import run_ablation

result = run_ablation(store, {run!r}, {{'relu2': [3, 5]}}, mode='mean', draws=2, seed=0)
print(result['accuracy_after'])
"""
COMPARISON = """
from selviz.comparison import changes, matches
one, other = store.images({run!r}), store.images({run!r})
names = store.run({run!r})['classes']
changes(one['label_index'], one['prediction_index'], other['prediction_index'], names)
layer = store.layers({run!r})['layer'].iloc[-1]
print(len(matches(store.matrix({run!r}, layer), store.matrix({run!r}, layer))))
"""
BASIS = """
from selviz.bases import *
print(callable(run_similarity), callable(run_linear_maps), baselines_of.__name__)
"""


@pytest.mark.parametrize("shared", [ABLATION, COMPARISON, BASIS])
def test_the_python_that_a_page_gave_before_still_runs_and_says_the_new_name(shared, tiny_store, tiny_run):
    start = f"import selviz\n\nstore = selviz.open({str(tiny_store.path)!r})\n"
    words = [sys.executable, "-W", "default::DeprecationWarning", "-c", start + shared.format(run=tiny_run)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0 and done.stdout.strip(), done.stderr
    assert "DeprecationWarning" in done.stderr and "now; import that" in done.stderr


def test_every_old_name_is_the_module_that_the_table_says():
    for old, new in MOVED.items():
        sys.modules.pop(f"selviz.{old}", None)
        with pytest.warns(DeprecationWarning, match=f"selviz.{old} is selviz.{new} now; import that"):
            module = import_module(f"selviz.{old}")
        public = {name: value for name, value in vars(import_module(f"selviz.{new}")).items() if name[0] != "_"}
        assert public and {name: getattr(module, name) for name in public} == public, old


@pytest.mark.parametrize(("package", "name"), [(package, name) for package, names in NAMES.items() for name in names])
def test_what_a_module_held_whose_name_is_a_package_now_is_found(package, name):
    found = {}
    with pytest.warns(DeprecationWarning, match=f"selviz.{package}.{name} is selviz.{NAMES[package][name]}.{name} now"):
        exec(f"from selviz.{package} import {name}", found)
    assert found[name] is getattr(import_module(f"selviz.{NAMES[package][name]}"), name)


def test_modules_and_formulas_are_imported_from_their_package_as_ever():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        exec("from selviz.selectivity import class_means, penalty", {})
        exec("from selviz import interventions, models", {})


@pytest.mark.parametrize("old", TAKEN)
def test_a_name_that_means_something_else_now_says_what_to_import(old):
    with pytest.raises(ImportError, match=f"What selviz.{old} held is in selviz.{TAKEN[old]} now"):
        import_module(f"selviz.{old}")


def test_a_name_that_never_was_is_unknown_as_ever():
    with pytest.raises(ModuleNotFoundError, match="No module named 'selviz.no_such_module'"):
        import_module("selviz.no_such_module")
    for package in NAMES:
        with pytest.raises(ImportError, match="cannot import name 'no_such_name'"):
            exec(f"from selviz.{package} import no_such_name", {})
