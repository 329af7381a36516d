"""Networks of the user's own, and timm's."""

import random
import sys

import numpy as np
import pytest
import torch
from torch import nn

import tiny
from tlaudit.errors import UsageError
from tlaudit.models import factories
from tlaudit.models.blueprint import TEMPLATE_CLASSES
from tlaudit.models.factories import own_blueprint, timm_blueprint

HEADER = "import torch\nfrom torch import nn\n"


def written(tmp_path, code, name="nets.py"):
    path = tmp_path / name
    path.write_text(HEADER + code)
    return path


def test_file_and_factory(tmp_path):
    blueprint = own_blueprint(tiny.OWN)
    assert blueprint.name == tiny.OWN
    assert blueprint.heads == ("fc",)
    assert blueprint.template["fc.weight"] == (TEMPLATE_CLASSES, 6)
    module = blueprint.build(4)
    assert module.fc.out_features == 4
    assert not any(tensor.is_meta for tensor in module.state_dict().values())


def test_package_in_the_working_directory(tmp_path, monkeypatch):
    written(tmp_path, "def small(num_classes):\n    return nn.Sequential(nn.Linear(3, num_classes))\n", "here_nets.py")
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    assert own_blueprint("here_nets:small").heads == ("0",)
    assert sys.path == before


def test_file_may_import_its_neighbours(tmp_path):
    written(tmp_path, "WIDTH = 5\n", "neighbour_of_nets.py")
    path = written(
        tmp_path,
        "def net(num_classes):\n    from neighbour_of_nets import WIDTH\n"
        "    return nn.Sequential(nn.Linear(WIDTH, num_classes))\n",
    )
    assert own_blueprint(f"{path}:net").template["0.weight"] == (TEMPLATE_CLASSES, 5)


def test_factory_that_needs_values_is_built_in_memory(tmp_path):
    path = written(
        tmp_path,
        "def net(num_classes):\n    width = int(torch.empty(1).fill_(4).item())\n"
        "    return nn.Sequential(nn.Linear(3, width), nn.Linear(width, num_classes))\n",
    )
    blueprint = own_blueprint(f"{path}:net")
    assert blueprint.heads == ("1",)
    assert blueprint.template["1.weight"] == (TEMPLATE_CLASSES, 4)


def test_leaves_random_numbers_and_stdout_alone(tmp_path, capsys):
    path = written(
        tmp_path,
        "import random, numpy\n"
        "def net(num_classes):\n    print('building')\n    random.random(); numpy.random.rand(); torch.rand(1)\n"
        "    return nn.Sequential(nn.Linear(3, num_classes))\n",
    )
    state = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state())
    own_blueprint(f"{path}:net").build(2)
    assert random.getstate() == state[0]
    assert np.random.get_state()[1].tolist() == state[1]
    assert torch.equal(torch.get_rng_state(), state[2])
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "building" in captured.err


TWO_HEADS = (
    "class Net(nn.Module):\n    def __init__(self, num_classes):\n        super().__init__()\n"
    "        self.body = nn.Linear(3, 4)\n"
    "        self.heads = nn.ModuleDict({'a': nn.Linear(4, num_classes), 'b': nn.Linear(4, num_classes)})\n"
)


def test_several_candidates_need_a_name(tmp_path):
    path = written(tmp_path, TWO_HEADS)
    with pytest.raises(UsageError, match=r"2 modules follow num_classes \(heads\.a, heads\.b\); name the head"):
        own_blueprint(f"{path}:Net")
    assert own_blueprint(f"{path}:Net", "heads").heads == ("heads",)
    with pytest.raises(UsageError, match=r"--head heads\.a leaves out heads\.b"):
        own_blueprint(f"{path}:Net", "heads.a")
    with pytest.raises(UsageError, match="no such module with weights; nearest: heads"):
        own_blueprint(f"{path}:Net", "head")


@pytest.mark.parametrize(
    ("code", "factory", "words"),
    [
        ("", "net", r"has no 'net'"),
        ("def build_net(num_classes): ...", "built_net", r"has no 'built_net'; it has build_net"),
        ("net = 3", "net", "net is int, expected a function or class"),
        ("def net(classes): ...", "net", r"cannot be called as net\(num_classes=...\)"),
        ("def net(num_classes, width): ...", "net", "missing a required argument: 'width'"),
        ("def net(num_classes): return 3", "net", "the factory gave int, expected a torch.nn.Module"),
        ("def net(num_classes): raise KeyError('width')", "net", "the factory failed: KeyError: 'width'"),
        ("def net(num_classes): return nn.Linear(2, 2)", "net", "no module follows num_classes; name the head"),
        ("1 / 0", "net", "importing nets.py failed: ZeroDivisionError"),
        ("import not_there_at_all", "net", "importing nets.py failed: ModuleNotFoundError"),
    ],
)
def test_says_what_is_wrong_with_a_file(tmp_path, code, factory, words):
    path = written(tmp_path, code)
    with pytest.raises(UsageError, match=words):
        own_blueprint(f"{path}:{factory}")


@pytest.mark.parametrize(
    ("arch", "words"),
    [
        ("not_there_at_all:net", "there is no module 'not_there_at_all' to import"),
        ("folder/not_there.py:net", "there is no file folder/not_there.py"),
        (":net", "expected package.module:factory or file.py:factory"),
        ("nets.py:", "expected package.module:factory"),
    ],
)
def test_says_what_is_wrong_with_a_name(arch, words):
    with pytest.raises(UsageError, match=words):
        own_blueprint(arch)


def test_broken_package(tmp_path, monkeypatch):
    written(tmp_path, "raise OSError('no licence')", "broken_nets.py")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="importing broken_nets failed: OSError: no licence"):
        own_blueprint("broken_nets:net")


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("resnet18", "fc"),
        ("vit_tiny_patch16_224", "head"),
        ("convnext_atto", "head.fc"),
        ("efficientnet_b0", "classifier"),
    ],
)
def test_timm(name, head):
    blueprint = timm_blueprint(f"timm:{name}")
    assert blueprint.heads == (head,)
    assert blueprint.template[f"{head}.weight"][0] == TEMPLATE_CLASSES


def test_timm_network_that_runs_while_it_is_built():
    """A transformer on a convolutional stem asks the stem for its size, which parameters without memory cannot tell."""
    blueprint = timm_blueprint("timm:vit_tiny_r_s16_p8_224")
    assert blueprint.build(3).head.out_features == 3


def test_timm_builds_with_values():
    module = timm_blueprint("timm:test_resnet").build(3)
    assert not any(tensor.is_meta for tensor in (*module.parameters(), *module.buffers()))


def test_timm_unknown_names():
    with pytest.raises(UsageError, match="timm has no network 'resnet19'; nearest: resnet1"):
        timm_blueprint("timm:resnet19")
    with pytest.raises(UsageError, match=r"timm has no weights 'nope' for 'resnet18'; there are resnet18\.a1_in1k"):
        timm_blueprint("timm:resnet18.nope")


def test_timm_network_without_a_single_head():
    with pytest.raises(UsageError, match=r"no single classification head \(tuple\)"):
        timm_blueprint("timm:deit_tiny_distilled_patch16_224")


def test_timm_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UsageError, match=r"pip install 'tlaudit\[timm\]'"):
        timm_blueprint("timm:resnet18")


def test_two_files_of_one_name(tmp_path):
    for width in (3, 4):
        (tmp_path / str(width)).mkdir()
        code = f"def net(num_classes):\n    return nn.Sequential(nn.Linear({width}, num_classes))\n"
        path = written(tmp_path / str(width), code)
        assert own_blueprint(f"{path}:net").template["0.weight"] == (TEMPLATE_CLASSES, width)


def test_outline_is_used_where_it_can_be(monkeypatch):
    built = []
    monkeypatch.setattr(
        factories, "outline", lambda build: built.append(module := nn.Linear(2, len(built) + 2)) or module
    )
    factories._template(lambda number: nn.Linear(2, number), 5)
    assert len(built) == 1
