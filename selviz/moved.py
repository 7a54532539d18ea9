"""Old names of modules, which programs of version 0.1.0 still say: `from selviz.interventions import run_ablation`.

`install()` puts a finder at the end of `sys.meta_path`: an old name gives the contents of the new module and a
DeprecationWarning that says what to import. It is asked only for names that no file has. A name that the package now
uses for something else (`TAKEN`) is an ImportError with the new place. Names that left a module whose name stayed are
found by that package's `__getattr__ = moved_names(__name__)`.
"""

import sys
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {  # below selviz
    "access": "system.write_access",
    "activation_functions": "networks.activation_functions",
    "attacks": "robustness.attacks",
    "bases": "studies.basis",
    "checkpoints": "networks.checkpoints",
    "claims": "system.locks",
    "comparison": "geometry.matching",
    "corrupted_sets": "robustness.corrupted_sets",
    "corruptions": "robustness.corruptions",
    "demo": "runs.demo",
    "dimension_study": "studies.dimensionality",
    "dimensionality": "geometry.dimensionality",
    "directions": "studies.published_directions",
    "doctor": "maintenance.doctor",
    "early": "studies.early_training",
    "explanations": "studies.attribution",
    "factories": "networks.user_model_files",
    "families": "runs.families",
    "graph_steps": "networks.graph_nodes",
    "graphs": "networks.graph_format",
    "hypotheses.records": "hypotheses.registry",
    "importing": "runs.importing",
    "interventions": "studies.ablation",
    "jobs": "runs.background_jobs",
    "linear_maps": "geometry.linear_maps",
    "metrics": "selectivity.unit_tables",
    "migration": "maintenance.migration",
    "models": "networks.models",
    "network": "networks.unit_network",
    "opening": "runs.load",
    "perturbation": "robustness.unit_shifts",
    "pipeline": "runs.train",
    "places": "runs.dataset_locations",
    "printing": "text.tables",
    "processes": "system.processes",
    "published": "studies.published_values",
    "recording": "runs.capture",
    "run_stages": "runs.stages",
    "similarity": "geometry.similarity",
    "snapshots": "runs.snapshots",
    "store.transfer": "store.run_archive",
    "subgraphs": "networks.graph_surgery",
    "tracing": "networks.tracing",
    "unit_layers": "networks.unit_layers",
    "unit_map": "selectivity.embedding",
    "unit_metrics": "selectivity.other_measures",
    "variants": "training.variants",
    "visualisation": "attribution.feature_visualization",
    "watching": "networks.hooked_network",
    "weights": "runs.weights",
    "wording": "text.numbers",
    "zoo": "networks.model_hub",
}
TAKEN = {"capture": "networks.activations", "sweep": "runs.sweep"}  # now functions: selviz.capture, selviz.sweep
NAMES = {  # modules that are packages now -> what they held -> the module that holds it
    "robustness": {
        "run_robustness": "studies.robustness",
        "ATTACKS": "studies.robustness",
        "AttackSettings": "robustness.bench",
        "adversarial": "robustness.bench",
    },
    "studies": {
        "run_metrics": "studies.unit_measures",
        "run_visualisation": "studies.feature_visualization",
        "run_unit_map": "studies.unit_measures",
    },
    "training": {
        "build_network": "training.loop",
        "fabric_for": "training.loop",
        "train": "training.loop",
        "train_step": "training.loop",
    },
}


class _Alias(Loader):
    """Fills a module of the old name with what the module of the new name holds."""

    def __init__(self, new: str):
        self.new = new

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        new = import_module(self.new)
        kept = {name: value for name, value in vars(module).items() if name.startswith("__")}
        vars(module).update({**vars(new), **kept})
        module.__doc__ = new.__doc__


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, name = fullname.partition(".")
        if package != "selviz":
            return None
        if name in TAKEN:
            raise ImportError(f"What selviz.{name} held is in selviz.{TAKEN[name]} now", name=fullname)
        if name not in MOVED:
            return None
        new = f"selviz.{MOVED[name]}"
        warnings.warn(f"selviz.{name} is {new} now; import that", DeprecationWarning, stacklevel=_depth())
        return ModuleSpec(fullname, _Alias(new))


def _depth() -> int:
    """Return the stack level of the import statement, above the frames of Python's import system."""
    depth = 2
    frame = sys._getframe(depth)
    while frame.f_back and "importlib" in frame.f_code.co_filename:
        depth, frame = depth + 1, frame.f_back
    return depth


def install() -> None:
    """Let the old names be found, after all other names."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())


def moved_names(package: str) -> Callable[[str], object]:
    """Return the `__getattr__` of a package that finds what the module of that name held before."""

    held = NAMES[package.removeprefix("selviz.")]

    def find(name: str) -> object:
        # Asked for every name that is no attribute yet, modules of the package among them: only the listed ones count.
        if name not in held:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        new = f"selviz.{held[name]}"
        warnings.warn(f"{package}.{name} is {new}.{name} now", DeprecationWarning, stacklevel=2)
        return getattr(import_module(new), name)

    return find
