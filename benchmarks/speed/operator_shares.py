"""What a computation's time goes into: `operator_shares(function)` gives shares by PyTorch operator, and the rest.

    {"seconds", "convolutions": 0.89, "element_wise": 0.05, "copies": 0.02, "other_operators": 0.01, "python": 0.03,
     "largest": {"aten::mkldnn_convolution": 0.89, ...}}

Times of operators are those of the thread that calls them, each without what it calls itself; `python` is what no
operator accounts for: the interpreter, dispatch, and reading.
"""

import time
from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile

KINDS = {
    "convolutions": ("conv", "addmm", "linear", "matmul", "bmm", "aten::mm"),
    "copies": ("copy", "contiguous", "clone", "index", "select", "cat", "empty", "fill", "zero", "_to_", "resize"),
    "element_wise": ("relu", "add", "mul", "sub", "clamp", "div", "mean", "pool", "sum", "batch_norm"),
}


def operator_shares(function: Callable[[], object], largest: int = 6) -> dict:
    """Call the function twice, the second time profiled; return where its time goes, as shares of the whole."""
    function()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        started = time.perf_counter()
        function()
        seconds = time.perf_counter() - started
    spent = {event.key: event.self_cpu_time_total / 1e6 for event in profiler.key_averages()}
    spent = {name: value for name, value in spent.items() if name.startswith("aten::")}
    kinds = dict.fromkeys((*KINDS, "other_operators"), 0.0)
    for name, value in spent.items():
        kind = next((kind for kind, words in KINDS.items() if any(word in name for word in words)), "other_operators")
        kinds[kind] += value
    top = sorted(spent, key=spent.__getitem__, reverse=True)[:largest]
    return {
        "seconds": round(seconds, 3),
        **{kind: round(value / seconds, 3) for kind, value in kinds.items()},
        "python": round(1 - sum(spent.values()) / seconds, 3),
        "largest": {name: round(spent[name] / seconds, 3) for name in top},
        "threads": torch.get_num_threads(),
    }
