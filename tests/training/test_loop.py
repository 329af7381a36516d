"""The training loop against torch by hand, and the promises it makes."""

from __future__ import annotations

import copy
import math
import random

import numpy as np
import pytest
import torch
from torch import nn

from tlaudit.data.images import ImageSet
from tlaudit.data.training import TrainingImages
from tlaudit.errors import DataError, UsageError
from tlaudit.models.preprocess import Normalizer
from tlaudit.models.runtime import Execution
from tlaudit.options import TrainingOptions
from tlaudit.results import Preprocessing
from tlaudit.training.loop import Training, train
from tlaudit.training.objective import CrossEntropy, Objective, logits_of
from tlaudit.training.schedule import learning_rate

CPU = torch.device("cpu")
SMALL = Preprocessing(resize=8, crop=8, interpolation="bilinear", mean=(0.5,) * 3, std=(0.25,) * 3, origin="test")
EXECUTION = Execution(CPU, "fp32", 8, 0)


class Net(nn.Module):
    def __init__(self, classes: int = 2, dropout: float = 0.0) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(dropout))
        self.fc = nn.Linear(6, classes)

    def forward(self, x):
        return self.fc(self.features(x).mean(dim=(2, 3)))


def net(classes=2, dropout=0.0, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Net(classes, dropout).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """22 noisy pictures, one class reddish and one bluish."""
    from PIL import Image

    root, rng = tmp_path_factory.mktemp("colours"), np.random.default_rng(0)
    for number in range(22):
        values = rng.integers(0, 180, (8, 8, 3), dtype=np.uint8)
        values[..., 2 * (number % 2)] += 60
        place = root / ("red", "blue")[number % 2]
        place.mkdir(exist_ok=True)
        Image.fromarray(values).save(place / f"{number:02d}.png")
    return root


@pytest.fixture(scope="module")
def data(folder):
    images = ImageSet.scan(folder, labelled=True)
    labels = torch.tensor([("red", "blue").index(item.folder) for item in images.items])
    return TrainingImages(images, labels, SMALL, workers=0)


def options(**given):
    return TrainingOptions(**{"epochs": 2, "batch_size": 8, "learning_rate": 0.01, **given})


def run(network, data, given, *, seed=0, execution=EXECUTION, **more):
    normalizer = Normalizer(SMALL, execution.device)
    return train(network, data, given, execution=execution, normalizer=normalizer, seed=seed, **more)


def state(module):
    return {key: value.clone() for key, value in module.state_dict().items()}


def same(ours, theirs):
    assert ours.keys() == theirs.keys()
    return all(torch.equal(ours[key], theirs[key]) for key in ours)


def reference(network, data, given, seed=0):
    """The same training, written down plainly."""
    model, normalize, step = copy.deepcopy(network), Normalizer(SMALL, CPU), 0
    model.to(memory_format=torch.channels_last).requires_grad_(True)
    if given.optimizer == "sgd":
        optimizer = torch.optim.SGD(model.parameters(), lr=1, momentum=given.momentum, weight_decay=given.weight_decay)
    else:
        optimizer = torch.optim.AdamW(model.parameters(), lr=1, weight_decay=given.weight_decay)
    steps = given.epochs * len(data.sizes(given.batch_size))
    rising = int(given.warmup * steps)
    for epoch in range(given.epochs):
        for batch in data.epoch(epoch, seed=seed, batch_size=given.batch_size, flip=given.flip):
            model.train()
            fall = 0.5 * (1 + math.cos(math.pi * (step - rising) / (steps - rising)))
            rate = given.learning_rate * ((step + 1) / (rising + 1) if step < rising else fall)
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(normalize(batch.pixels)), batch.labels).backward()
            if given.clip:
                nn.utils.clip_grad_norm_(model.parameters(), given.clip)
            optimizer.step()
            step += 1
    return model.eval()


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"optimizer": "sgd", "momentum": 0.5, "weight_decay": 0.1},
        {"optimizer": "sgd", "momentum": 0.0, "clip": 0.0, "warmup": 0.0, "flip": False},
        {"clip": 1e-3, "warmup": 0.5, "epochs": 3},
    ],
)
def test_agrees_with_torch_by_hand(data, given):
    given = options(**given)
    assert same(state(run(net(), data, given).network), state(reference(net(), data, given)))


def test_the_given_network_and_the_random_numbers_stay(data):
    network = net(dropout=0.3)
    before, generators = state(network), (torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist())
    trained = run(network, data, options()).network
    assert same(state(network), before)
    assert not network.training
    assert not any(p.requires_grad or p.grad is not None for p in network.parameters())
    assert torch.equal(torch.get_rng_state(), generators[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == generators[1:]
    assert not trained.training
    assert not any(p.requires_grad or p.grad is not None for p in trained.parameters())
    assert not same(state(trained), before)


def test_the_seed_decides(data):
    first, again, other = (run(net(dropout=0.3), data, options(), seed=seed).network for seed in (0, 0, 1))
    assert same(state(first), state(again))
    assert not same(state(first), state(other))


def test_random_numbers_follow_seed_and_step(data):
    def drawn(seed):
        numbers = []

        class Drawing(CrossEntropy):
            def __call__(self, network, inputs):
                numbers.append((float(torch.rand(1)), random.random(), float(np.random.rand())))
                return super().__call__(network, inputs)

        run(net(), data, options(), seed=seed, objective=Drawing())
        return numbers

    first = drawn(0)
    assert first == drawn(0)
    assert len(set(first) | set(drawn(1))) == 2 * len(first) == 12


def test_frozen_batch_norms_stay(data):
    network = net()
    frozen = run(network, data, options(batch_norm="frozen")).network
    learnt = run(network, data, options()).network
    for key in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
        before = network.features[1].state_dict()[key]
        assert torch.equal(frozen.features[1].state_dict()[key], before)
        assert not torch.equal(learnt.features[1].state_dict()[key], before)
    assert not torch.equal(frozen.fc.weight, network.fc.weight)


def test_a_separable_task_is_learnt(data):
    trained = run(net(), data, options(epochs=20))
    losses = [epoch.losses["cross_entropy"] for epoch in trained.history]
    assert [epoch.number for epoch in trained.history] == list(range(20))
    assert losses[-1] < 0.5 * losses[0]
    normalize, right = Normalizer(SMALL, CPU), 0
    for batch in data.epoch(0, seed=0, batch_size=8, flip=False):
        right += int((trained.network(normalize(batch.pixels)).argmax(1) == batch.labels).sum())
    assert right == len(data)


def test_history_is_the_mean_over_images(data):
    class TwoTerms(Objective):
        def __call__(self, network, inputs):
            zero = logits_of(network, inputs.images).sum() * 0
            return {"size": zero + len(inputs.index), "zero": zero}

    trained = run(net(), data, options(batch_size=8, epochs=1), objective=TwoTerms())
    assert trained.history[0].losses == {"size": pytest.approx((8 * 8 + 8 * 8 + 6 * 6) / 22), "zero": 0.0}


def test_on_epoch_sees_the_network_as_it_is_then(data):
    seen = []
    trained = run(
        net(), data, options(), on_epoch=lambda n, network: seen.append((n, state(network), network.training))
    )
    assert [(number, training) for number, _, training in seen] == [(0, False), (1, False)]
    assert same(seen[1][1], state(trained.network))
    assert not same(seen[0][1], seen[1][1])


def test_progress_counts_images(data):
    told = []

    def progress(items, *, total, label, size):
        for item in items:
            told.append((total, label, size(item)))
            yield item

    run(net(), data, options(), progress=progress)
    assert [size for _, _, size in told] == [8, 8, 6, 8, 8, 6]
    assert {(total, label) for total, label, _ in told} == {(44, "training")}


def test_diverging_ends_it(data):
    with pytest.raises(DataError, match=r"diverged: the loss .* epoch 1, step \d, at learning rate .* --learning-rate"):
        run(net(), data, options(), objective=Exploding())


class Exploding(Objective):
    """Infinite from the second step on."""

    def __init__(self):
        self.calls = 0

    def __call__(self, network, inputs):
        self.calls += 1
        return {"loss": logits_of(network, inputs.images).sum() * (1.0 if self.calls < 2 else float("inf"))}


def test_weights_that_are_no_numbers_end_it(data):
    class BrokenGradient(Objective):
        """A finite loss whose gradient is not: the root of 0."""

        def __call__(self, network, inputs):
            return {"loss": (logits_of(network, inputs.images).sum() * 0).sqrt()}

    with pytest.raises(DataError, match=r"diverged: a weight is no finite number in epoch 1, step 1"):
        run(net(), data, options(clip=0.0, batch_size=22), objective=BrokenGradient())


class Auxiliary(Net):
    """Two outputs in training mode, one in eval mode; says so aloud."""

    def forward(self, x):
        logits = super().forward(x)
        print("forward")  # noqa: T201 - that is the point
        return (logits, logits) if self.training else logits


def test_a_network_without_logits_in_training_mode(data, capsys):
    with pytest.raises(
        UsageError, match=r"fails in training mode, on a batch of shape \(8, 3, 8, 8\): ValueError: .*tup"
    ):
        run(Auxiliary().eval(), data, options())
    out, err = capsys.readouterr()
    assert (out, err) == ("", "forward\n")


def test_batch_norm_needs_two_images(data):
    with pytest.raises(UsageError, match="cannot learn from one image: .* a batch size of 1 and 22 training images"):
        run(net(), data, options(batch_size=1))
    assert run(net(), data, options(batch_size=1, epochs=1, batch_norm="frozen")).network is not None
    assert run(net(), data, options(batch_size=7, epochs=1)).network is not None


def test_an_unfinished_training_is_not_given_out(data):
    training = Training(net(), data, options(), execution=EXECUTION, normalizer=Normalizer(SMALL, CPU), seed=0)
    next(training.run())
    with pytest.raises(RuntimeError, match="1 of 6 steps"):
        training.finish()


def test_bf16_learns_in_float32_weights(data):
    trained = run(net(), data, options(epochs=20), execution=Execution(CPU, "bf16", 8, 0))
    assert {p.dtype for p in trained.network.parameters()} == {torch.float32}
    assert trained.history[-1].losses["cross_entropy"] < 0.6 * trained.history[0].losses["cross_entropy"]
    assert not same(state(trained.network), state(run(net(), data, options(epochs=20)).network))


def test_schedule_by_hand():
    rates = [learning_rate(step, 10, peak=2.0, warmup=0.2) for step in range(10)]
    assert rates[:3] == pytest.approx([2 / 3, 4 / 3, 2])
    assert rates[6] == pytest.approx(1)
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert 0 < rates[-1] < 0.1
    assert learning_rate(0, 1, peak=1.0, warmup=0.0) == 1
