"""Networks that were made faster give the same answers, and the ones they were made from are left alone."""

from __future__ import annotations

import logging
import shutil

import pytest
import torch
from torch import nn
from torch._dynamo.exc import TorchDynamoException

import readers
import tiny
from tlaudit import lingering, load_pair
from tlaudit.checks.base import settled
from tlaudit.errors import UsageError
from tlaudit.models import faster as fast
from tlaudit.models.faster import Faster, refuse_no_compiler
from tlaudit.models.halving import Halving
from tlaudit.models.runtime import Execution
from tlaudit.options import ExecutionOptions

CPU = torch.device("cpu")
EXECUTION = Execution(CPU, "fp32", 8, 0)
PIXELS = torch.randn(5, 3, 12, 12, generator=torch.Generator().manual_seed(0))


def logits(network):
    with EXECUTION.inference():
        return network(PIXELS)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return readers.build(tmp_path_factory.mktemp("faster"))


def lingering_of(world, **execution):
    pair = load_pair(world / "source.pth", world / "background.pth", arch=tiny.READER)
    given = {"device": "cpu", "workers": 0, "batch_size": 16, **execution}
    folders = {"source_data": world / "source", "target_data": world / "target"}
    return lingering(pair, **folders, preprocess=readers.PREPROCESS, execution=given, **readers.DEFINITIONS)


def test_a_fused_network_has_no_batch_norms_left_and_hides_from_hooks(monkeypatch):
    made, folded = [], fast.folded
    monkeypatch.setattr(fast, "folded", lambda *args: made.append(folded(*args)) or made[-1])
    net = EXECUTION.place(tiny.own(4))
    quick = Faster(net, 12, fuse=True, compiles=False)
    assert not made, "nothing is made before it is asked"
    seen = []
    expected = logits(net)
    net.stem.register_forward_hook(lambda *_: seen.append(1))
    torch.testing.assert_close(logits(quick), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(logits(quick), expected, rtol=1e-5, atol=1e-5)
    assert len(made) == 1
    assert not any(isinstance(child, nn.BatchNorm2d) for child in made[0].modules())
    assert isinstance(net.stem[1], nn.BatchNorm2d)


def test_fuse_reaches_the_networks_and_the_provenance(world, monkeypatch):
    plain = lingering_of(world)
    asked, folded = [], fast.folded
    monkeypatch.setattr(fast, "folded", lambda *args: asked.append(args) or folded(*args))
    assert not {"fuse", "compile"} & plain.provenance.options.keys()
    fused = lingering_of(world, fuse=True)
    assert len(asked) >= 2, "source network and hybrid at least"
    assert fused.provenance.options["fuse"] is True
    for one in plain.measurements:
        assert fused[one.name].value == (None if one.value is None else pytest.approx(one.value, abs=1e-6))


class Compiler:
    """Stands in for torch.compile, which takes half a minute."""

    def __init__(self, failure=None):
        self.failure, self.compiled, self.sizes = failure, [], []

    def __call__(self, module):
        self.compiled.append(module)

        def run(pixels):
            self.sizes.append(len(pixels))
            if self.failure is not None and len(pixels) > 2:
                raise TorchDynamoException(self.failure)
            return module(pixels)

        return run


def test_compile_reaches_the_networks_and_the_provenance(world, monkeypatch):
    compiler = Compiler()
    monkeypatch.setattr(torch, "compile", compiler)
    found = lingering_of(world, compile=True)
    read = found.provenance.data
    assert sum(compiler.sizes) == read["target"].images + 2 * read["source"].images
    assert len(compiler.compiled) >= 2
    assert found.provenance.options["compile"] is True
    assert "fuse" not in found.provenance.options
    assert [one.value for one in found.measurements] == [one.value for one in lingering_of(world).measurements]


def test_the_compiled_network_is_the_fused_one(monkeypatch):
    compiler = Compiler()
    monkeypatch.setattr(torch, "compile", compiler)
    logits(Faster(EXECUTION.place(tiny.own(4)), 12, fuse=True, compiles=True))
    assert not any(isinstance(child, nn.BatchNorm2d) for child in compiler.compiled[0].modules())


def test_what_cannot_be_compiled_runs_as_it_is_and_says_so_once(monkeypatch, caplog):
    compiler = Compiler("backend='inductor' raised:\nno such instruction")
    monkeypatch.setattr(torch, "compile", compiler)
    net = EXECUTION.place(tiny.own(4))
    quick = Faster(net, 12, fuse=False, compiles=True)
    with caplog.at_level(logging.WARNING):
        assert logits(quick).equal(logits(net))
        assert logits(quick).equal(logits(net))
    assert [record.getMessage() for record in caplog.records] == [
        "--compile: the network cannot be compiled and runs as it is: backend='inductor' raised:"
    ]
    assert compiler.sizes == [5]


def test_want_of_memory_is_no_failure_of_the_compiler(monkeypatch):
    compiler = Compiler("CUDA out of memory. Tried to allocate 2.00 GiB")
    monkeypatch.setattr(torch, "compile", compiler)
    quick = Faster(EXECUTION.place(tiny.own(4)), 12, fuse=False, compiles=True)
    with EXECUTION.inference():
        parts = Halving("the network").run(5, lambda part: quick(PIXELS[part]))
    assert [len(part) for part in parts] == [2, 2, 1]
    assert compiler.sizes == [5, 3, 2, 2, 1]


def test_a_missing_compiler_is_told_before_anything_is_done(monkeypatch):
    refuse_no_compiler(CPU)
    assert settled(ExecutionOptions(device="cpu", compile=True)).compile
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UsageError, match=r"--compile needs .*C\+\+ compiler \(no-such-compiler; .*leave --compile out"):
        settled(ExecutionOptions(device="cpu", compile=True))
    assert not settled(ExecutionOptions(device="cpu")).compile


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_a_compiled_network_gives_the_same_logits_for_batches_of_all_sizes():
    net = EXECUTION.place(tiny.own(4))
    quick = Faster(net, 12, fuse=False, compiles=True)
    with EXECUTION.inference():
        for size in (5, 3, 1, 4):
            torch.testing.assert_close(quick(PIXELS[:size]), net(PIXELS[:size]), rtol=1e-5, atol=1e-5)
    assert quick._compiles, "it was not given up"
