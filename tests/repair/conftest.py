"""A bench for repair methods: tiny networks with random weights, noisy pictures of two colours."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.models import SwinTransformer, VisionTransformer

import tiny
from tlaudit.checks.base import LabelledImages
from tlaudit.data.images import ImageSet
from tlaudit.data.training import TrainingImages
from tlaudit.models.preprocess import Normalizer
from tlaudit.models.runtime import Execution
from tlaudit.models.sources import load_model
from tlaudit.options import RepairOptions
from tlaudit.repair.base import Bench
from tlaudit.results import Preprocessing
from tlaudit.training.loop import Training
from tlaudit.training.objective import Inputs, Part

CPU = torch.device("cpu")
SOURCE_CLASSES, TASK_CLASSES = 5, 2


def small_vit(num_classes: int) -> nn.Module:
    """Tokens: a grid of 4 by 4 of them, and a class token before it, at 32 pixels."""
    return VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=num_classes, dropout=0.1)


def small_swin(num_classes: int) -> nn.Module:
    """Channels come last: stages of 8 by 8 and 4 by 4 cells at 32 pixels."""
    return SwinTransformer([4, 4], 8, [1, 1], [2, 2], [2, 2], stochastic_depth_prob=0.0, num_classes=num_classes)


OWN = {"own": tiny.OWN, "vit": f"{Path(__file__)}:small_vit", "swin": f"{Path(__file__)}:small_swin"}
FACTORIES = {"own": tiny.Own, "vit": small_vit, "swin": small_swin}


def network(name: str, num_classes: int, seed: int) -> nn.Module:
    """``own``, ``vit``, ``swin`` (all tiny), or one of torchvision's, with random weights, in eval mode."""
    if name not in FACTORIES:
        return tiny.network(name, num_classes, seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return tiny.stirred(FACTORIES[name](num_classes))


def with_backbone_of(module: nn.Module, source: nn.Module) -> nn.Module:
    """The same network, every tensor that fits taken from the source: all but the head's."""
    theirs = source.state_dict()
    fitting = {key: theirs[key] for key, value in module.state_dict().items() if value.shape == theirs[key].shape}
    module.load_state_dict(fitting, strict=False)
    return module.eval().requires_grad_(requires_grad=False)


def pictures(root: Path, classes: int, count: int, seed: int) -> LabelledImages:
    """Noisy pictures of 40 pixels; class k is brighter in channel k mod 3."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        values = rng.integers(0, 160, (40, 40, 3), dtype=np.uint8)
        values[..., number % classes % 3] += 80
        place = root / f"class{number % classes}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).save(place / f"{number:03d}.png")
    images = ImageSet.scan(root, labelled=True)
    return LabelledImages(images, torch.tensor([int(item.folder.removeprefix("class")) for item in images.items]))


@pytest.fixture(scope="session")
def task_images(tmp_path_factory):
    """24 labelled pictures of the task."""
    return pictures(tmp_path_factory.mktemp("task"), TASK_CLASSES, 24, seed=0)


@pytest.fixture(scope="session")
def source_images(tmp_path_factory):
    """20 labelled pictures of the source's classes."""
    return pictures(tmp_path_factory.mktemp("source"), SOURCE_CLASSES, 20, seed=1)


@pytest.fixture(scope="session")
def sources(tmp_path_factory):
    """Gives the source network of a name, loaded as the program loads it, once."""
    folder, loaded = tmp_path_factory.mktemp("sources"), {}

    def get(name):
        if name not in loaded:
            saved = tiny.saved(folder / f"{name}.pth", network(name, SOURCE_CLASSES, seed=0))
            loaded[name] = load_model(saved, arch=OWN.get(name, name))
        return loaded[name]

    return get


@pytest.fixture
def bench(sources, task_images, source_images):
    """Makes a bench: ``bench("resnet18", ldifs={"weight": 0}, precision="bf16")``.

    Arguments: the network's name; ``size`` in pixels; ``init`` (``source`` for the source's backbone under a new head,
    ``random`` for another one); ``finetuned`` (whether there is such a network); ``lingering``; ``precision``;
    ``seed``; the rest goes to `RepairOptions`.
    """

    def make(
        name="own",
        *,
        size=32,
        init="source",
        finetuned=False,
        lingering=(0, 1),
        precision="fp32",
        seed=0,
        source=None,
        **options,
    ):
        source = source or sources(name)
        preprocessing = Preprocessing(
            resize=size, crop=size, interpolation="bilinear", mean=(0.5,) * 3, std=(0.25,) * 3, origin="test"
        )
        start = network(name, TASK_CLASSES, seed=1).requires_grad_(requires_grad=False)
        child = None
        if finetuned:
            child = copy.deepcopy(start)
            child.load_state_dict(tiny.nudged(with_backbone_of(child, source.module)))
        if init == "source":
            with_backbone_of(start, source.module)
        return Bench(
            source=source,
            head=source.head,
            start=start,
            finetuned=child,
            training=TrainingImages(task_images.images, task_images.labels, preprocessing, workers=0),
            source_images=source_images,
            lingering=lingering,
            options=RepairOptions(**options),
            preprocessing=preprocessing,
            execution=Execution(CPU, precision, 8, 0),
            normalizer=Normalizer(preprocessing, CPU),
            seed=seed,
        )

    return make


@pytest.fixture
def train():
    """Trains what a method makes ready: ``train(bench, setup, epochs=1)`` gives the `Training` and its steps."""

    def run(bench, setup, **training):
        given = bench.options.training.model_copy(
            update={"epochs": 1, "batch_size": 8, "learning_rate": 0.01, **training}
        )
        made = Training(
            setup.network,
            setup.images,
            given,
            execution=bench.execution,
            normalizer=bench.normalizer,
            seed=bench.seed,
            objective=setup.objective,
        )
        steps = list(made.run())
        made.finish()
        return made, steps

    return run


def state(module: nn.Module) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in module.state_dict().items()}


def same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> bool:
    assert ours.keys() == theirs.keys()
    return all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.fixture
def promises(train):
    """What every method owes: ``promises(bench, method)`` trains, and looks at all that was borrowed."""

    def check(bench, method, **training):
        borrowed = [m for m in (bench.source.module, bench.start, bench.finetuned) if m is not None]
        before = [(state(m), [p.requires_grad for p in m.parameters()]) for m in borrowed]
        generator = torch.get_rng_state()
        made, steps = train(bench, method.setup(bench), **training)
        for module, (tensors, open_) in zip(borrowed, before, strict=True):
            assert same(state(module), tensors)
            assert [p.requires_grad for p in module.parameters()] == open_
            assert not any(m.training for m in module.modules())
            assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())
        assert torch.equal(torch.get_rng_state(), generator)
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in made.network.modules())
        return made, steps

    return check


@pytest.fixture
def terms():
    """Makes one step but for the optimiser's part: ``terms(bench, setup)`` gives terms, gradients, network, inputs."""

    def compute(bench, setup, *, step=0, batch_norm="frozen", network=None, mode="train"):
        network = copy.deepcopy(network or setup.network).to(memory_format=torch.channels_last)
        network.requires_grad_(requires_grad=True)
        setup.objective.begin(network)
        network.train(mode == "train")
        for module in network.modules():
            if batch_norm == "frozen" and isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        batch = next(setup.images.epoch(0, seed=bench.seed, batch_size=8, flip=False))
        inputs = Inputs(step, batch.index, bench.normalizer(batch.pixels), batch.labels, Part(0, 8, 8))
        with torch.random.fork_rng(devices=[]), bench.execution.attribution(), torch.enable_grad():
            torch.manual_seed(step)
            found = setup.objective(network, inputs)
        torch.stack(list(found.values())).sum().backward()
        gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
        return {name: term.detach() for name, term in found.items()}, gradients, network, inputs

    return compute
