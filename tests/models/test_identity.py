"""Whatever changes what a network answers changes its identity; what cannot be told has none."""

from __future__ import annotations

import copy
import functools
import importlib.util
import os
import subprocess
import sys

import pytest
import torch
from torch import fx, nn

import tiny
from tlaudit.models.identity import identity
from tlaudit.models.runtime import Execution

NET = "class Net(nn.Module):\n    def forward(self, x):\n        return x\n"


class Table(torch.Tensor):
    """A tensor that may answer with anything."""


def net():
    return tiny.own(3)


@pytest.mark.parametrize("family", ["resnet", "densenet", "squeezenet", "mobilenet_v3", "shufflenet", "swin"])
def test_networks_of_torchvision_have_one(family):
    one, same, other = (tiny.network(tiny.SMALL[family], 3, seed) for seed in (0, 0, 1))
    assert len(identity(one)) == 64
    assert identity(one) == identity(same) != identity(other)


def test_a_copy_has_the_same_and_another_layout_in_memory_another_one():
    one, execution = net(), Execution(torch.device("cpu"), "fp32", 4, 0)
    assert identity(copy.deepcopy(one)) == identity(one)
    placed = execution.place(one)
    assert identity(execution.place(copy.deepcopy(one))) == identity(placed) != identity(one)


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


def uninitialised(module):
    module.lazy = nn.LazyLinear(3).eval()


def odd_name(module):
    module.__dict__[3] = "x"


def subclass(module):
    module.table = module.fc.bias.detach().as_subclass(Table)


def compiled(module):
    # As `Module.compile` does, which takes seconds.
    module._compiled_call_impl = lambda x: x


def sparse(module):
    module.register_buffer("mask", torch.eye(2).to_sparse())


@pytest.mark.filterwarnings("ignore:.torch.jit.trace:FutureWarning")
@pytest.mark.parametrize(
    "change",
    [
        *(training, hook, hook_before, another_forward, something, script, bound, meta, sparse),
        *(uninitialised, odd_name, subclass, compiled),
    ],
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
    before = identity(net())
    original = nn.Conv2d._conv_forward
    for thing, name, function in (
        (nn.Linear, "forward", lambda self, x: x),
        (nn.Conv2d, "_conv_forward", lambda *given: original(*given) * 2),
        (nn.Module, "__call__", functools.wraps(nn.Module.__call__)(lambda self, x: x)),
        (nn.functional, "relu", lambda x, inplace=False: x),
        (torch, "relu", lambda x: x),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(thing, name, function)
            assert identity(net()) is None, name
    assert identity(net()) == before
    for thing, name, value in ((nn.Linear, "forward", nn.Identity.forward), (nn.Linear, "gain", 2.0)):
        with monkeypatch.context() as patch:
            patch.setattr(thing, name, value, raising=False)
            assert None is not identity(net()) != before, name


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


OWN = """
import functools
import logging
import torch
from torch import nn
from torch.nn import functional as F

GAIN = 1.0
log = logging.getLogger("own")


def made(slope):
    class Made(nn.Module):
        def forward(self, x):
            return F.leaky_relu(x, slope)

    return Made


def activation(slope):
    def keyword(x, *, slope=slope):
        return F.leaky_relu(x, slope)

    return keyword


def told(slope):
    def leaky(x):
        return F.leaky_relu(x, leaky.slope)

    leaky.slope = slope
    return leaky


def unbound():
    def function(x):
        return later

    if GAIN is None:
        later = 1
    return function


PAIR = (lambda x: x), (lambda x: -x)


SIZES = range(3)
MISSING = object()


@functools.lru_cache
def cached(x):
    return x


def feature(x):
    return x + 1 if SIZES and cached(x) is not MISSING else x


class Scale:
    def __init__(self, by):
        self.by = by


class Net(nn.Module):
    # Documented, annotated, with all that classes usually have.
    gain: float = 1.0
    known = {"a": (1, 2)}
    limit = property(lambda self: 3)

    def __init__(self, held=None):
        super().__init__()
        self.held = held

    @staticmethod
    def features(x):
        return x

    @classmethod
    def named(cls):
        return cls.__name__

    @torch.no_grad()
    def forward(self, x):
        log.debug("seen")
        return feature(x) * GAIN * self.gain


class Slots(nn.Module):
    __slots__ = ("by",)

    def __init__(self, by):
        super().__init__()
        object.__setattr__(self, "by", by)


class Late(nn.Module):
    def forward(self, x):
        from helper_of_it import helped

        return helped(x)
"""


@pytest.fixture
def own(tmp_path):
    (tmp_path / "own_of_it.py").write_text(OWN)
    yield loaded(tmp_path / "own_of_it.py", "own_of_it")
    del sys.modules["own_of_it"]


@pytest.mark.parametrize(
    "of",
    [
        lambda own, n: own.made(n)(),
        lambda own, n: own.Net(own.activation(n)),
        lambda own, n: own.Net(own.told(n)),
        lambda own, n: own.Net(own.PAIR[n]),
        lambda own, n: own.Net(own.Scale(n)),
        lambda own, n: own.Slots(n),
    ],
    ids=["class of a function", "keyword", "attribute of a function", "lambdas of one line", "object", "slots"],
)
def test_what_one_line_makes_is_told_by_what_it_holds(own, of):
    one, same, other = (of(own, number).eval() for number in (0, 0, 1))
    assert None is not identity(one) == identity(same) != identity(other)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Net.gain", 5.0),
        ("Net.features", staticmethod(lambda x: 2 * x)),
        ("Net.named", classmethod(lambda cls: "x")),
        ("Net.limit", property(lambda self: 4)),
        ("Net.forward", lambda self, x: x),
        ("feature", lambda x: x + 2),
        ("GAIN", 2.0),
        ("SIZES", range(4)),
        ("cached", functools.lru_cache(lambda x: -x)),
    ],
)
def test_what_a_program_changes_in_the_users_own_shows(own, monkeypatch, name, value):
    net = own.Net().eval()
    before = identity(net)
    kind, _, attribute = name.rpartition(".")
    monkeypatch.setattr(getattr(own, kind) if kind else own, attribute, value)
    assert None is not identity(net) != before


def test_what_cannot_be_told_of_the_users_own_stops_nothing(own, tmp_path, monkeypatch):
    assert identity(own.Net(own.unbound()).eval()) is not None
    assert identity(own.Slots(object()).eval()) is None
    # What it will import when it runs may be anything.
    assert identity(own.Late().eval()) is None
    (tmp_path / "helper_of_it.py").write_text("def helped(x):\n    return x\n")
    monkeypatch.setitem(sys.modules, "helper_of_it", loaded(tmp_path / "helper_of_it.py", "helper_of_it"))
    before = identity(own.Late().eval())
    monkeypatch.setattr(sys.modules["helper_of_it"], "helped", lambda x: -x)
    assert None is not before != identity(own.Late().eval())

    class Rude:
        @property
        def __class__(self):
            raise ZeroDivisionError

    net = own.Net().eval()
    vars(net)["held"] = Rude()
    assert identity(net) is None


def test_code_in_memory_counts_when_its_file_has_changed(own, tmp_path):
    """A process that loaded the old file, and one that loads the new one, never have one identity."""
    # Longer than it was: Python takes a file of the same size and second for the one it has compiled.
    changed = OWN.replace("x + 1", "x + 20")
    (tmp_path / "own_of_it.py").write_text(changed)
    old = identity(own.Net().eval())
    new = identity(loaded(tmp_path / "own_of_it.py", "own_of_it").Net().eval())
    assert None is not old != new is not None


@pytest.mark.slow
def test_is_the_same_in_another_process(own, tmp_path):
    script = (
        "import sys, own_of_it; from tlaudit.models.identity import identity; "
        "print(identity(own_of_it.Net({'b', 'a', own_of_it.GAIN}).eval()))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == identity(own.Net({"b", "a", 1.0}).eval())


def test_a_library_that_is_not_installed_counts_as_the_users_own(monkeypatch):
    import torchvision

    net = tiny.network(tiny.SMALL["squeezenet"], 3, 0)
    before = identity(net)
    monkeypatch.setattr(torchvision, "__file__", "/somewhere/torchvision/__init__.py")
    assert identity(net) != before
