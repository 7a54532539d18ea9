"""Documents of networks that ask for more than computing: `HOSTILE`, steps by what they try; `bent(dice, document, place)`."""

import copy
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


BIG = (10**3, 10**5, 10**7, 10**9, 2**62)


def bent(dice: random.Random, document: dict, place: Path) -> dict:
    """The document with a hostile step, steps that need all memory or all time, or parts of another kind."""
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
