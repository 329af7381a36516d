"""Memory that is too short for a batch: the batch is halved, the numbers stay, and it is said once."""

from __future__ import annotations

import gc
import logging
import weakref

import pytest
import torch
from torch import nn

import readers
import small_training
import tiny
from tlaudit import distraction, erosion, lingering, load_pair
from tlaudit.checks.asking import Network, asked
from tlaudit.checks.assembly import assemble
from tlaudit.checks.explained import Explainer
from tlaudit.checks.followed import Follower
from tlaudit.config import settle
from tlaudit.errors import DataError
from tlaudit.models.halving import Halving, is_out_of_memory, statistics_of_batches
from tlaudit.repair.judge_source import look

EXECUTION = {"device": "cpu", "workers": 0, "batch_size": 8}
MESSAGES = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.10 GiB",
    "CUDA error: out of memory",
    "MPS backend out of memory (MPS allocated: 17.89 GB, other allocations: 1.20 GB, max allowed: 18.13 GB)",
    "[enforce fail at alloc_cpu.cpp:121] data. DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 "
    "bytes. Error code 12 (Cannot allocate memory)",
    "[enforce fail at alloc_cpu.cpp:83] data. DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes.",
    "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
)


class Memory:
    """What the heads of all networks get through: no more images at once than fit."""

    def __init__(self):
        self.fit, self.sizes = None, []


@pytest.fixture
def memory(monkeypatch):
    memory, forward = Memory(), nn.Linear.forward

    def greedy(module, x):
        memory.sizes.append(len(x))
        if memory.fit is not None and len(x) > memory.fit:
            raise torch.OutOfMemoryError(MESSAGES[0])
        return forward(module, x)

    monkeypatch.setattr(nn.Linear, "forward", greedy)
    # Looks through all that there is, which takes its time here and frees nothing.
    monkeypatch.setattr("tlaudit.models.halving.free", lambda: None)
    return memory


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return readers.build(tmp_path_factory.mktemp("memory"))


@pytest.fixture
def pair(world):
    return load_pair(world / "source.pth", world / "background.pth", world / "overlay.pth", arch=tiny.READER)


def halved(make, memory, caplog, fit=3):
    """A result with ample memory and one with little, the sizes of the passes that made that one, and what it said."""
    whole = make()
    memory.fit, memory.sizes = fit, []
    with caplog.at_level(logging.WARNING, "tlaudit.models.halving"):
        parts = make()
    said = [record.getMessage() for record in caplog.records if record.name == "tlaudit.models.halving"]
    return whole, parts, memory.sizes, said


def assert_alike(parts, whole):
    """The same numbers up to rounding, and the same ones absent."""
    for one in whole.measurements:
        assert parts[one.name].value == (None if one.value is None else pytest.approx(one.value, abs=1e-6)), one.name


@pytest.mark.parametrize("message", MESSAGES)
def test_knows_what_want_of_memory_is_called(message):
    assert is_out_of_memory(RuntimeError(message))
    assert is_out_of_memory(torch.OutOfMemoryError("anything"))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"))
    assert not is_out_of_memory(ValueError(message))


def test_halves_remembers_and_says_it_once(caplog):
    tried = []

    def step(part):
        tried.append(part.stop - part.start)
        if tried[-1] > 3:
            raise RuntimeError(MESSAGES[3])
        return list(range(part.start, part.stop))

    halving = Halving("the network")
    assert [row for part in halving.run(11, step) for row in part] == list(range(11))
    assert tried == [11, 6, 3, 3, 3, 2]
    tried.clear()
    assert [row for part in halving.run(8, step) for row in part] == list(range(8))
    assert tried == [3, 3, 2], "the smaller size is remembered"
    assert [record.getMessage() for record in caplog.records] == [
        "the network: out of memory with 11 images at once: going on with 3"
    ]


def test_lets_go_of_what_the_pass_in_vain_held(monkeypatch):
    held, freed = [], []
    monkeypatch.setattr("tlaudit.models.halving.free", lambda: freed.append(held[0]()))

    def step(part):
        tensor = torch.zeros(part.stop - part.start)
        held.append(weakref.ref(tensor))
        if len(tensor) > 1:
            raise torch.OutOfMemoryError(MESSAGES[0])
        return len(tensor)

    gc.disable()
    try:
        assert Halving("the network").run(2, step) == [1, 1]
    finally:
        gc.enable()
    assert freed == [None], "neither the exception nor its traceback is there any more"


def test_other_errors_and_what_never_fits_end_the_run():
    def broken(part):
        raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="multiplied"):
        Halving("the network").run(4, broken)

    def never(part):
        raise RuntimeError(MESSAGES[3])

    with pytest.raises(DataError, match="the network: out of memory with a single image: .*--crop"):
        Halving("the network").run(4, never)


def test_want_of_memory_is_not_taken_for_images_that_do_not_fit():
    with (
        pytest.raises(DataError, match=r"images: the source network: out of memory \(CUDA out of memory"),
        asked("source", Network(tiny.source_reader(), None), "images"),
    ):
        raise torch.OutOfMemoryError(MESSAGES[0])


def lingering_of(world, pair):
    folders = {"source_data": world / "source", "target_data": world / "target"}
    return lingering(pair, **folders, preprocess=readers.PREPROCESS, execution=EXECUTION, **readers.DEFINITIONS)


def test_lingering_in_halves(world, pair, memory, caplog):
    whole, parts, sizes, said = halved(lambda: lingering_of(world, pair), memory, caplog)
    assert_alike(parts, whole)
    read = parts.provenance.data
    assert sum(size for size in sizes if size <= 3) == read["target"].images + 3 * read["source"].images
    assert sorted(size for size in sizes if size > 3) == [4] * 3 + [8] * 3, "no network fails twice at one size"
    assert sorted(said) == [
        f"the {role} network: out of memory with 8 images at once: going on with 2"
        for role in ("baseline", "finetuned", "source")
    ]


def test_what_never_fits_is_told(world, pair, memory):
    memory.fit = 0
    with pytest.raises(DataError, match="the source network: out of memory with a single image: .*--device"):
        lingering_of(world, pair)


def test_distraction_in_halves(world, pair, memory, caplog):
    known = lingering_of(world, pair)
    folders = {"source_data": world / "source", "target_data": world / "target", "lingering": known}

    def make():
        return distraction(pair, **folders, preprocess=readers.PREPROCESS, execution=EXECUTION, per_class=3)

    whole, parts, sizes, said = halved(make, memory, caplog)
    assert_alike(parts, whole)
    assert max(sizes) == 8
    maps = {f"maps of the {role} network" for role in ("source", "finetuned", "baseline")}
    answers = {"the finetuned network", "the baseline network"}
    assert sorted(said) == sorted(
        f"{what}: out of memory with 8 images at once: going on with 2" for what in maps | answers
    )


def test_explains_where_only_one_image_fits(world, pair, memory):
    """What is found out by two noise pictures is found out by one at a time, too."""
    folders = {"source": world / "source", "target": world / "target"}
    settings = settle({"data": folders, "preprocess": readers.PREPROCESS, "execution": EXECUTION})
    subject = assemble(pair, settings.data, preprocess=settings.preprocess, execution=settings.execution)
    whole = Explainer(subject, settings.distraction)
    memory.fit, memory.sizes = 1, []
    explainer = Explainer(subject, settings.distraction)
    explainer.probe()
    assert explainer.layer == whole.layer
    assert 2 in memory.sizes
    assert 1 in memory.sizes


def test_images_that_depend_on_each_other_stay_together(memory):
    """A batch norm without running statistics gives other numbers for half a batch."""
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), nn.InstanceNorm2d(4))
    module = nn.Sequential(body, nn.Flatten(), nn.Linear(4 * 6 * 6, 2)).eval()
    assert statistics_of_batches(module) == ("0.1",)
    assert statistics_of_batches(nn.Sequential(nn.BatchNorm2d(4), nn.InstanceNorm2d(4))) == ()
    memory.fit = 3
    network, pixels = Network(module, None), torch.rand(8, 3, 8, 8)
    with pytest.raises(DataError, match=r"8 images, which cannot go through in parts: .*track_running_stats=False"):
        network.logits(pixels)
    assert memory.sizes == [8]
    assert len(network.logits(pixels[:3])) == 3


def test_erosion_keeps_its_minibatches(world, pair, memory, caplog):
    def make():
        settings = {"preprocess": readers.PREPROCESS, "execution": EXECUTION, "bootstrap": 100}
        return erosion(pair, world / "source", stages=["channels.0", "channels"], full_matrix=True, **settings)

    whole, parts, sizes, said = halved(make, memory, caplog)
    assert_alike(parts, whole)
    assert len(said) == 3
    assert sorted(size for size in sizes if size > 3) == [4] * 3 + [8] * 3


@pytest.mark.parametrize("stage", [None, "channels"])
def test_judging_in_halves(world, pair, memory, caplog, stage):
    settings = settle({"data": {"source": world / "source"}, "preprocess": readers.PREPROCESS, "execution": EXECUTION})

    def make():
        subject = assemble(pair, settings.data, preprocess=settings.preprocess, execution=settings.execution, needed=())
        network = subject.network(pair.source.module, "source")
        labelled = subject.source
        return look(
            subject, labelled.images, labelled.labels, network, role="source", label="source images", stage=stage
        )

    whole, parts, sizes, said = halved(make, memory, caplog)
    torch.testing.assert_close(parts.own, whole.own)
    assert parts.right.equal(whole.right)
    assert stage is None or torch.testing.assert_close(parts.features, whole.features) is None
    assert said == ["the source network: out of memory with 8 images at once: going on with 2"]
    assert sizes == [8, 4] + [2] * 20


@pytest.mark.parametrize("fit", [5, 2])
def test_stages_before_and_after_the_one_that_has_no_room(fit):
    """What a pass in vain had taken in already is not taken in twice."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), tiny.own(5)).eval()
    net[2].stem[0] = nn.Conv2d(4, 6, 3)
    pixels = torch.randn(2, 7, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    paths = ("0", "2.stem.0", "2.blocks.0", "2.blocks.1")
    found = []
    for room in (None, fit):

        def greedy(_module, inputs, room=room):
            if room is not None and len(inputs[0]) > room:
                raise torch.OutOfMemoryError(MESSAGES[0])

        hook = net[2].stem[0].register_forward_pre_hook(greedy)
        follower = Follower(paths, "pooled", keep=True)
        with torch.no_grad():
            seen = [follower.look(net, batch, halving) for halving in [Halving("it")] for batch in pixels]
        hook.remove()
        assert not follower.reasons()
        found.append((seen, follower.spectra(), follower.kept(), follower.order()))
    (seen, spectra, kept, order), (again, others, rest, same) = found
    torch.testing.assert_close(again, seen, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(rest, kept)
    assert same == order == paths
    assert all(others[path].n == 14 for path in paths)
    for path in paths:
        torch.testing.assert_close(others[path].eigenvalues, spectra[path].eigenvalues, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_a_training_step_is_not_halved_and_says_what_to_do(tmp_path, monkeypatch, where):
    """Batch norms would see other images; where it runs out makes no difference."""

    def greedy(*_):
        raise RuntimeError(MESSAGES[3])

    if where == "forward":
        monkeypatch.setattr(nn.Linear, "forward", greedy)
    else:
        monkeypatch.setattr(torch.autograd, "backward", greedy)
    learning = small_training.training(
        small_training.images_in(small_training.draw(tmp_path)), small_training.options()
    )
    with pytest.raises(DataError, match="a training step with 8 images: out of memory .*smaller --train-batch-size"):
        next(learning.run())
