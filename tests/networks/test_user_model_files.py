"""What a user's function may return: a network, wrapped in any order, lazy; or one sentence on what it is instead."""

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from selviz.errors import SelvizError
from selviz.networks.user_model_files import unwrapped


def plain():
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))


@pytest.mark.parametrize(
    "wrap",
    [
        nn.DataParallel,
        torch.compile,
        lambda model: nn.DataParallel(torch.compile(model)),
        lambda model: torch.compile(nn.DataParallel(model)),
        lambda model: torch.compile(nn.DataParallel(torch.compile(model))),
        AveragedModel,
    ],
)
def test_wrappers_are_taken_off_in_any_order(wrap):
    model = plain()
    found = unwrapped(wrap(model), "make of net.py")
    assert type(found) is nn.Sequential and torch.equal(found[0].weight, model[0].weight)


def test_wrapped_parts_of_a_network_are_unwrapped_where_they_are():
    model = nn.Sequential(torch.compile(plain()), nn.DataParallel(nn.Linear(2, 2)))
    found = unwrapped(model, "make of net.py")
    assert [type(part) for part in found] == [nn.Sequential, nn.Linear]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (lambda: torch.jit.script(plain()), "make of net.py gives a network that is TorchScript"),
        (lambda: nn.Sequential(torch.jit.script(plain())), "0 in the network of make of net.py that is TorchScript"),
        (lambda: torch.ao.quantization.quantize_dynamic(plain(), {nn.Linear}), "quantized .Linear.*before torch.ao"),
        (lambda: plain().state_dict(), "gives a OrderedDict; it must return a torch.nn.Module"),
        (lambda: nn.Linear, "gives a type; it must return a torch.nn.Module"),
    ],
)
def test_what_is_no_network_of_python_code_is_one_sentence(made, sentence):
    with pytest.raises(SelvizError, match=sentence):
        unwrapped(made(), "make of net.py")
