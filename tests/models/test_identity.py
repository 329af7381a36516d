"""Whatever changes what a network answers changes its identity; what cannot be told has none."""

from __future__ import annotations

import copy
import functools
import importlib.util
import sys

import pytest
import torch
from torch import fx, nn

import tiny
from tlaudit.models.identity import identity
from tlaudit.models.runtime import Execution

NET = "class Net(nn.Module):\n    def forward(self, x):\n        return x\n"


def net():
    return tiny.own(3)


@pytest.mark.parametrize("family", ["resnet", "densenet", "squeezenet", "mobilenet_v3", "shufflenet", "swin"])
def test_networks_of_torchvision_have_one(family):
    one, same, other = (tiny.network(tiny.SMALL[family], 3, seed) for seed in (0, 0, 1))
    assert len(identity(one)) == 64
    assert identity(one) == identity(same) != identity(other)


def test_a_copy_has_the_same_and_wherever_it_lies():
    one = net()
    placed = Execution(torch.device("cpu"), "fp32", 4, 0).place(one)
    assert identity(copy.deepcopy(one)) == identity(one) == identity(placed)


def one_bit(module):
    with torch.no_grad():
        module.fc.weight.view(torch.int32)[0, 0] ^= 1


def one_bit_of_a_buffer(module):
    module.stem[1].running_mean.view(torch.int32)[0] ^= 1


def attribute(module):
    module.stem[1].eps *= 2


def attribute_of_its_own(module):
    module.temperature = 0.5


def hidden_tensor(module):
    module.table = [torch.ones(2)]


def stride(module):
    module.blocks[0].stride = (2, 2)


def activation(module):
    module.stem[2] = nn.ReLU6().eval()


def function(module):
    module.activation = functools.partial(torch.nn.functional.gelu, approximate="tanh")


def buffer_that_is_not_saved(module):
    module.register_buffer("extra", torch.zeros(1), persistent=False)


def precision(module):
    module.fc.double()


def order(module):
    module.blocks = nn.ModuleList(reversed(module.blocks)).eval()


CHANGES = [
    one_bit,
    one_bit_of_a_buffer,
    attribute,
    attribute_of_its_own,
    hidden_tensor,
    stride,
    activation,
    function,
    buffer_that_is_not_saved,
    precision,
    order,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda f: f.__name__)
def test_every_change_shows(change):
    one, other = net(), net()
    change(other)
    assert None is not identity(other) != identity(one)


def training(module):
    module.stem[1].train()


def hook(module):
    module.fc.register_forward_hook(lambda *_: None)


def hook_before(module):
    module.stem.register_forward_pre_hook(lambda *_: None)


def another_forward(module):
    module.fc.forward = lambda x: x


def something(module):
    module.something = object()


def script(module):
    module.fc = torch.jit.trace(module.fc, torch.zeros(1, 6))


def bound(module):
    module.other = module.fc.forward


def meta(module):
    module.fc.to("meta")


def sparse(module):
    module.register_buffer("mask", torch.eye(2).to_sparse())


@pytest.mark.filterwarnings("ignore:.torch.jit.trace:FutureWarning")
@pytest.mark.parametrize(
    "change",
    [training, hook, hook_before, another_forward, something, script, bound, meta, sparse],
    ids=lambda f: f.__name__,
)
def test_what_cannot_be_told_has_none(change):
    module = net()
    change(module)
    assert identity(module) is None


def test_a_patched_class_and_hooks_on_all_modules_have_none(monkeypatch):
    handle = nn.modules.module.register_module_forward_hook(lambda *_: None)
    assert identity(net()) is None
    handle.remove()
    assert identity(net()) is not None
    monkeypatch.setattr(nn.Linear, "forward", lambda self, x: x)
    assert identity(net()) is None


def test_a_graph_is_told_by_its_code():
    class Doubled(nn.Module):
        def forward(self, x):
            return 2 * x

    class Tripled(nn.Module):
        def forward(self, x):
            return 3 * x

    two, again, three = (fx.symbolic_trace(kind().eval()) for kind in (Doubled, Doubled, Tripled))
    assert identity(two) == identity(again) != identity(three)


def loaded(path, name):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A network in one file, its factor in another, and what is installed below."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "factor_of_it.py").write_text("FACTOR = 2\n")
    (tmp_path / "net_of_it.py").write_text(f"import factor_of_it\nfrom torch import nn\n{NET}")
    module = loaded(tmp_path / "net_of_it.py", "net_of_it")
    yield tmp_path, module.Net().eval()
    for name in ("factor_of_it", "net_of_it"):
        del sys.modules[name]


def test_source_of_the_users_own_counts_with_what_lies_beside_it(project):
    root, module = project
    before = identity(module)
    (root / "factor_of_it.py").write_text("FACTOR = 3\n")
    after = identity(module)
    (root / "net_of_it.py").write_text((root / "net_of_it.py").read_text() + "\n")
    assert None is not before != after != identity(module)
    (root / "net_of_it.py").unlink()
    assert identity(module) is None


def test_a_class_without_a_file_has_none():
    namespace = {"nn": nn, "__name__": "typed_in"}
    exec(NET, namespace)
    assert identity(namespace["Net"]().eval()) is None
