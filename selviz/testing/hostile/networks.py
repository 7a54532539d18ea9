"""Documents of networks that ask for more than computing: `HOSTILE`, steps by what they try; `bent(dice, document, place)`,
and `extreme(dice, document)`: steps that are allowed, on extreme values."""

import copy
import inspect
import json
import random
from pathlib import Path

from selviz.testing.hostile.texts import word
from selviz.testing.hostile.watch import MARK


def step(op, target, args=(), kwargs=None, name="extra"):
    return {"name": name, "op": op, "target": target, "args": list(args), "kwargs": kwargs or {}}


X = {"node": "x"}
HOSTILE = {
    "a function of the system": step("call_function", "os.system", ["touch {trace}"]),
    "a function that reads files": step("call_function", "torch.load", ["{trace}"]),
    "a file as a tensor": step("call_function", "torch.from_file", ["{trace}", True, 8]),
    "the same in aten": step("call_function", "aten.from_file.default", ["{trace}", True, 8]),
    "a builtin": step("call_function", "builtins.eval", ["open('{trace}', 'w')"]),
    "a class by way of an attribute": step("call_function", "getattr", [X, "__class__"]),
    "an attribute that is a method": step("call_function", "getattr", [X, "register_hook"]),
    "an operator that calls": step("call_function", "operator.call", [X]),
    "a private method": step("call_method", "__reduce_ex__", [X, 2]),
    "a method that leaves torch": step("call_method", "numpy", [X]),
    "a method that takes a function": step("call_method", "apply_", [X, X]),
    "code as a method": step("call_method", "relu(); open('{trace}', 'w'); x.relu", [X]),
    "code as a name": step("call_method", "relu", [X], name="y = open('{trace}', 'w'); y"),
    "code as a keyword": step("call_method", "relu", [X], {"a=open('{trace}', 'w'), b": 1}),
    "code as a placeholder": step("placeholder", "x=open('{trace}', 'w')"),
    "a module that is not there": step("call_module", "conv.register_forward_hook", [X]),
    "a value that is a method": step("get_attr", "conv.load_state_dict"),
    "a step of no kind": step("exec", "open('{trace}', 'w')"),
    "an argument of no kind": step("call_method", "relu", [{"pickle": "gASV"}]),
    "an argument that is a list of words to run": step("call_method", "relu", [{"device": "cpu", "node": "x"}]),
    "another type of torch": step("call_method", "to", [X, {"dtype": "load"}]),
    "no step": "open('{trace}', 'w')",
}


EXTREME_NUMBERS = (0, 1, -1, 2, 3, -2, 7, 2**31 - 1, 2**31, -(2**31), 2**62, 2**63 - 1, -(2**63))
EXTREME_REALS = (0.0, -0.0, 1.0, 0.5, -1.0, 1e-320, 1e30, 1e308, "nan", "inf", "-inf")


def extreme(dice: random.Random, document: dict) -> dict:
    """Return the document with a step that a stored network may have, on arguments of extreme values and other types."""
    from selviz.networks import graph_format, graph_operators

    document = copy.deepcopy(document)
    names = [X, X, X, *({"node": node["name"]} for node in STEPS_BEFORE)]
    kind = dice.randrange(4)
    if kind == 0:
        packets = [name for name in sorted({*graph_operators.TRACED, *graph_operators.REVIEWED}) if _overloads(name)]
        packet = dice.choice(packets)
        overload = dice.choice(_overloads(packet))
        args = [_like(dice, str(argument.type), names) for argument in _schema(packet, overload).arguments
                if not argument.kwarg_only and (not argument.has_default_value() or dice.random() < 0.6)]  # fmt: skip
        node = step("call_function", f"aten.{packet}.{overload}", args)
    elif kind == 1:
        node = step("call_function", dice.choice(sorted(graph_format.functions())), _some(dice, names))
    elif kind == 2:
        node = step("call_method", dice.choice(sorted(graph_format.methods())), _some(dice, names))
    else:
        modules = sorted(graph_format.MODULES)
        settings = {}
        name = dice.choice(modules)
        for parameter in list(inspect.signature(graph_format.MODULES[name].__init__).parameters.values())[1:]:
            if parameter.name not in ("device", "dtype", "kwargs", "args") and dice.random() < 0.6:
                settings[parameter.name] = _value_of(dice, names, tensors=False)
        document["modules"]["extreme"] = {"class": name, "settings": settings}
        node = step("call_module", "extreme", _some(dice, names)[:2])
    document["nodes"][1:1] = [*STEPS_BEFORE, {**node, "name": "extreme"}]
    return document


# Tensors of other types and shapes, made of the image: what a step may be given.
STEPS_BEFORE = (
    step("call_method", "to", [X, {"dtype": "int64"}], name="whole"),
    step("call_method", "flatten", [X], name="flat"),
    step("call_function", "operator.mul", [{"node": "whole"}, 2**62], name="large"),
    step("call_function", "operator.mul", [X, {"float": "nan"}], name="undefined"),
    step("call_method", "size", [X], name="shape"),
    step("call_function", "torch.arange", [-5, 60], name="numbers"),
    step("call_function", "operator.mul", [{"node": "numbers"}, 2**58], name="far"),
    step("call_function", "torch.zeros", [0, 3], name="nothing"),
)


def _schema(packet: str, overload: str):
    import torch

    return getattr(getattr(torch.ops.aten, packet), overload)._schema


def _overloads(packet: str) -> list[str]:
    import torch

    packet_object = getattr(torch.ops.aten, packet, None)
    return (
        []
        if packet_object is None
        else [name for name in packet_object.overloads() if not getattr(packet_object, name)._schema.is_mutable]
    )


def _like(dice: random.Random, kind: str, names: list[dict]):
    """Return a value for an argument of a type as aten's schemas name it."""
    if dice.random() < 0.1:
        return _value_of(dice, names)
    if kind.startswith("Optional") and dice.random() < 0.3:
        return None
    if "List[Tensor" in kind or "Tensor[]" in kind or "List[Optional[Tensor" in kind:
        return [dice.choice(names) for _ in range(dice.randrange(3))]
    if "Tensor" in kind:
        return dice.choice(names)
    if "List[int]" in kind or "SymInt[]" in kind or "int[]" in kind or "List[SymInt" in kind:
        return [dice.choice(EXTREME_NUMBERS) for _ in range(dice.randrange(5))]
    if "float" in kind or "number" in kind or "Scalar" in kind:
        return _real(dice) if dice.random() < 0.6 else dice.choice(EXTREME_NUMBERS)
    if "bool" in kind:
        return dice.random() < 0.5
    return dice.choice(EXTREME_NUMBERS)


def _real(dice: random.Random):
    value = dice.choice(EXTREME_REALS)
    return {"float": value} if isinstance(value, str) else value


def _value_of(dice: random.Random, names: list[dict], tensors: bool = True):
    choices = [
        lambda: dice.choice(EXTREME_NUMBERS), lambda: dice.choice(EXTREME_NUMBERS), lambda: _real(dice),
        lambda: dice.random() < 0.5, lambda: None, lambda: {"dtype": dice.choice(["int64", "float64", "bool", "uint8"])},
        lambda: [dice.choice(EXTREME_NUMBERS) for _ in range(dice.randrange(5))],
        lambda: {"tuple": [dice.choice(EXTREME_NUMBERS) for _ in range(dice.randrange(5))]},
        lambda: dice.choice(["mean", "sum", "reflect", "bilinear", "nearest", "same", "bicubic", "area", "circular"]),
    ]  # fmt: skip
    if tensors:
        choices += [lambda: dice.choice(names)] * 3 + [lambda: [dice.choice(names), dice.choice(names)]]
    return dice.choice(choices)()


def _some(dice: random.Random, names: list[dict]) -> list:
    return [dice.choice(names), *(_value_of(dice, names) for _ in range(dice.randrange(5)))]


BIG = (10**3, 10**5, 10**7, 10**9, 2**62)


def bent(dice: random.Random, document: dict, place: Path) -> dict:
    """Return the document with a hostile step, steps that need all memory or all time, or parts of another kind."""
    document = copy.deepcopy(document)
    for _ in range(dice.randrange(1, 3)):
        nodes, kind = document["nodes"], dice.randrange(7)
        at = dice.randrange(1, len(nodes))
        before = {"node": nodes[at - 1]["name"]} if isinstance(nodes[at - 1], dict) else X
        if kind == 0:
            made = json.dumps(HOSTILE[dice.choice(list(HOSTILE))]).replace("{trace}", str(place / f"made-{MARK}"))
            nodes.insert(at, json.loads(made))
        elif kind == 1:
            size = [dice.choice(BIG) for _ in range(dice.randrange(1, 5))]
            steps = [
                step("call_method", "repeat", [before, *size]),
                step("call_method", "new_zeros", [before, size]),
                step("call_function", "torch.zeros_like", [before]),
                step("call_function", "torch.nn.functional.pad", [before, size]),
                step("call_function", "torch.nn.functional.interpolate", [before], {"scale_factor": dice.choice(BIG)}),
                step("call_method", "expand", [before, *size, -1, -1, -1, -1]),
                step("call_function", "operator.mul", [[1], dice.choice(BIG)]),
                step("call_function", "operator.pow", [dice.choice(BIG), dice.choice(BIG)]),
                step("call_function", "operator.lshift", [1, dice.choice(BIG)]),
                step("call_function", "torch.cartesian_prod", [before, before, before]),
                step("call_function", "torch.nn.functional.one_hot", [before, dice.choice(BIG)]),
                step("call_function", "aten.zeros.default", [size]),
                step("call_function", "aten.arange.default", [dice.choice(BIG)]),
                step("call_method", "repeat_interleave", [before, dice.choice(BIG)]),
            ]
            nodes.insert(at, {**dice.choice(steps), "name": f"extra{at}"})
        elif kind == 2 and isinstance(nodes[at], dict):
            nodes[at][dice.choice(["name", "op", "target", "args", "kwargs"])] = _value(dice, place)
        elif kind == 3:
            path = dice.choice(list(document["modules"]))
            document["modules"][path] = dice.choice(
                [_value(dice, place), {"class": _value(dice, place), "settings": {}}]
            )
        elif kind == 4:
            path = dice.choice(list(document["modules"]))
            settings = document["modules"][path]
            if isinstance(settings, dict) and isinstance(settings.get("settings"), dict):
                names = [*settings["settings"], "device", "dtype", "padding_mode", "inplace", "out_features"]
                settings["settings"][dice.choice(names)] = dice.choice([*BIG, _value(dice, place)])
        elif kind == 5:
            layer = dice.choice(document["layers"])
            if isinstance(layer, dict):
                layer[dice.choice(["name", "node", "axis", "signed"])] = _value(dice, place)
        else:
            document[dice.choice(["nodes", "modules", "parameters", "layers", "format"])] = _value(dice, place)
            break
    return document


def _value(dice: random.Random, place: Path):
    return dice.choice(
        [word(dice, place), None, -1, 10**30, [], {}, [[]], {"node": "x"}, {"node": word(dice, place)}, {"dtype": "load"},
         {"tuple": [{"tuple": []}] * 3}, {"slice": [1]}, {"float": "nan"}, "open", "torch.load", "os.system", True, 1.5]
    )  # fmt: skip
