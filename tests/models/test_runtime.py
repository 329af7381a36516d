from __future__ import annotations

import copy
import importlib

import pytest
import torch
from torch import nn

from tlaudit.errors import InstallationError, UsageError
from tlaudit.models import runtime
from tlaudit.models.runtime import Execution, check_installation, class_scores, default_workers, resolve_device

CPU = torch.device("cpu")


def execution(precision="fp32"):
    return Execution(device=CPU, precision=precision, batch_size=4, workers=0)


def network():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    ).eval()


def test_placing_leaves_the_given_network_alone_and_shares_its_memory():
    net = network()
    strides = net[0].weight.stride()
    before = copy.deepcopy(net.state_dict())
    placed = execution().place(net)
    assert placed[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert net[0].weight.stride() == strides
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert placed[4].weight.data_ptr() == net[4].weight.data_ptr()
    x = torch.randn(2, 3, 9, 9)
    with torch.no_grad():
        torch.testing.assert_close(placed(x), net(x))


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_precision_is_the_asked_one_and_ends_with_the_block(precision, dtype):
    net = network()
    with execution(precision).inference():
        out = net(torch.randn(2, 3, 9, 9))
        assert out.dtype == dtype
        assert out.is_inference()
        assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.allow_tf32
    assert not torch.is_autocast_enabled("cpu")


def test_precision_is_the_asked_one_within_the_autocast_of_a_program():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for within in (execution().inference, execution().attribution):
            with within():
                assert network()(torch.randn(2, 3, 9, 9)).dtype == torch.float32
        assert torch.is_autocast_enabled("cpu")


def test_what_gives_no_logits_is_told():
    net = network()
    assert class_scores(net, torch.randn(6, 3, 9, 9)).shape == (6, 5)
    with pytest.raises(ValueError, match=r"expected logits \(N, K\) with N = 6, got \(6, 8, 7, 7\)"):
        class_scores(net[:2], torch.randn(6, 3, 9, 9))
    with pytest.raises(ValueError, match="got tuple"):
        class_scores(lambda x: (x,), torch.randn(6, 3, 9, 9))


def test_devices_are_named_or_refused():
    assert resolve_device("cpu") == CPU
    assert resolve_device("auto").type in {"cpu", "cuda", "mps"}
    with pytest.raises(UsageError, match="known are auto, cpu, cuda"):
        resolve_device("gpu")
    with pytest.raises(UsageError, match="not supported"):
        resolve_device("meta")
    with pytest.raises(UsageError, match="is not there"):
        resolve_device("cuda:99")
    assert default_workers(CPU) >= 1


def test_builds_that_do_not_match_are_told(monkeypatch):
    assert "belong together" in check_installation()
    torchvision = importlib.import_module("torchvision")

    def broken(*_):
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(torchvision.ops, "nms", broken)
    with pytest.raises(InstallationError, match="different builds .*nms.*pip install torchvision"):
        check_installation()
    assert runtime.torch is torch
