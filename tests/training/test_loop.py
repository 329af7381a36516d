"""The training loop against torch by hand, and the promises it makes."""

from __future__ import annotations

import copy
import math
import random

import numpy as np
import pytest
import torch
from torch import nn

from small_training import CPU, EXECUTION, SMALL, Net, net, options, same, state
from tlaudit.data.augmentation import Augmentation
from tlaudit.errors import DataError, DivergedError, UsageError
from tlaudit.models.preprocess import Normalizer
from tlaudit.models.runtime import Execution
from tlaudit.training.loop import Training, train
from tlaudit.training.objective import CrossEntropy, Objective, logits_of
from tlaudit.training.schedule import learning_rate


def run(network, data, given, *, seed=0, execution=EXECUTION, **more):
    normalizer = Normalizer(SMALL, execution.device)
    return train(network, data, given, execution=execution, normalizer=normalizer, seed=seed, **more)


def reference(network, data, given, seed=0):
    """The same training, written down plainly."""
    model, normalize, step = copy.deepcopy(network), Normalizer(SMALL, CPU), 0
    model.to(memory_format=torch.channels_last).requires_grad_(True)
    decay = {"lr": 1, "weight_decay": given.weight_decay}
    if given.optimizer == "sgd":
        settings = {"momentum": given.momentum, "dampening": given.dampening, "nesterov": given.nesterov}
        optimizer = torch.optim.SGD(model.parameters(), **decay, **settings)
    else:
        settings = {"betas": (given.beta1, given.beta2), "eps": given.eps, "amsgrad": given.amsgrad}
        optimizer = torch.optim.AdamW(model.parameters(), **decay, **settings)
    steps = given.epochs * len(data.sizes(given.batch_size))
    rising = int(given.warmup * steps)
    for epoch in range(given.epochs):
        changes = Augmentation(given.crop_scale, given.jitter)
        for batch in data.epoch(epoch, seed=seed, batch_size=given.batch_size, flip=given.flip, augmentation=changes):
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
        {"beta1": 0.5},
        {"beta2": 0.9},
        {"eps": 0.1},
        {"beta2": 0.5, "amsgrad": True},
        {"optimizer": "sgd", "dampening": 0.5},
        {"optimizer": "sgd", "nesterov": True},
        {"crop_scale": 0.5},
        {"jitter": 0.5},
    ],
    ids=lambda given: ",".join(given),
)
def test_agrees_with_torch_by_hand(data, given):
    """And each setting changes something."""
    chosen = {"optimizer": given["optimizer"]} if "optimizer" in given else {}
    trained = state(run(net(), data, options(**given)).network)
    assert same(trained, state(reference(net(), data, options(**given))))
    assert not given or not same(trained, state(run(net(), data, options(**chosen)).network))


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


def test_progress_counts_images_and_tells_losses(data):
    told = []

    def progress(items, *, total, label, size, note):
        for item in items:
            told.append((total, label, size(item)))
            losses.append((note(item), item.losses["cross_entropy"]))
            yield item

    losses = []
    run(net(), data, options(), progress=progress, label="ldifs")
    assert [size for _, _, size in told] == [8, 8, 6, 8, 8, 6]
    assert {(total, label) for total, label, _ in told} == {(44, "ldifs")}
    assert [text for text, _ in losses] == [
        f"epoch {1 + number // 3}/2  cross_entropy {loss:.3g}" for number, (_, loss) in enumerate(losses)
    ]


def test_diverging_ends_it(data):
    message = r"diverged: the loss .* epoch 1, step 2, at learning rate .* --learning-rate$"
    with pytest.raises(DivergedError, match=message) as error:
        run(net(), data, options(), objective=Exploding(1))
    assert error.value.trained is None
    assert isinstance(error.value, DataError)


class Exploding(CrossEntropy):
    """Infinite from a step on."""

    def __init__(self, step):
        self.step = step

    def __call__(self, network, inputs):
        (loss,) = super().__call__(network, inputs).values()
        return {"loss": loss * (1.0 if inputs.step < self.step else float("inf"))}


@pytest.mark.parametrize(
    ("accuracies", "keep", "kept"), [(None, "best", 1), ((0.9, 0.5), "best", 0), ((0.9, 0.5), "last", 1)]
)
def test_the_last_good_network_is_kept_where_it_diverges(data, accuracies, keep, kept):
    seen = []
    validate = (lambda network: accuracies[len(seen)]) if accuracies else None
    with pytest.raises(DivergedError, match=rf"epoch 3, step 8, .*; the network of epoch {kept + 1} is kept$") as error:
        run(
            net(),
            data,
            options(epochs=4),
            objective=Exploding(7),
            validate=validate,
            keep=keep,
            on_epoch=lambda _, network: seen.append(state(network)),
        )
    trained = error.value.trained
    assert (len(trained.history), trained.kept, trained.stopped) == (2, kept, False)
    assert same(state(trained.network), seen[kept])
    assert not trained.network.training
    assert not any(p.requires_grad or p.grad is not None for p in trained.network.parameters())


def test_weights_that_are_no_numbers_end_it(data):
    class BrokenGradient(Objective):
        """A finite loss whose gradient is not: the root of 0."""

        def __call__(self, network, inputs):
            return {"loss": (logits_of(network, inputs.images).sum() * 0).sqrt()}

    with pytest.raises(DivergedError, match=r"diverged: a weight is no finite number in epoch 1, step 1"):
        run(net(), data, options(clip=0.0, batch_size=22), objective=BrokenGradient())


def test_statistics_that_are_no_numbers_end_it(data):
    class Overflowing(CrossEntropy):
        """What batch norms learn from other images beside those of the step."""

        def __call__(self, network, inputs):
            with torch.no_grad():
                network(inputs.images * 1e25)
            return super().__call__(network, inputs)

    with pytest.raises(DivergedError, match=r"diverged: a weight is no finite number in epoch 1, step 1"):
        run(net(), data, options(batch_size=22), objective=Overflowing())


# Validation


def judged(data, accuracies, **ways):
    """A training whose networks get these accuracies, and the networks after each epoch."""
    seen = []

    def validate(network):
        assert not network.training
        assert not torch.is_grad_enabled()
        seen.append(state(network))
        return accuracies[len(seen) - 1]

    return run(net(), data, options(epochs=len(accuracies)), validate=validate, **ways), seen


@pytest.mark.parametrize(
    ("accuracies", "ways", "kept", "epochs", "stopped"),
    [
        ((0.5, 0.8, 0.7, 0.8), {}, 1, 4, False),
        ((0.5, 0.8, 0.7, 0.9), {"keep": "best"}, 3, 4, False),
        ((0.5, 0.8, 0.7, 0.8), {"keep": "last"}, 3, 4, False),
        ((0.5, 0.8, 0.7, 0.8), {"patience": 3}, 1, 4, False),
        ((0.5, 0.8, 0.7, 0.8, 0.9), {"patience": 2}, 1, 4, True),
        ((0.5, 0.8, 0.8, 0.9, 0.1), {"patience": 1}, 1, 3, True),
        ((0.5, 0.4, 0.6), {"patience": 1, "keep": "last"}, 1, 2, True),
        ((0.0, 0.0, 0.0), {}, 0, 3, False),
    ],
)
def test_the_best_epoch_is_kept(data, accuracies, ways, kept, epochs, stopped):
    trained, seen = judged(data, accuracies, **ways)
    assert [epoch.accuracy for epoch in trained.history] == list(accuracies[:epochs])
    assert (len(seen), trained.kept, trained.stopped) == (epochs, kept, stopped)
    assert same(state(trained.network), seen[kept])


def test_asking_changes_nothing_of_what_is_learnt(data):
    trained, _ = judged(data, (0.1, 0.2))
    plain = run(net(), data, options())
    assert same(state(trained.network), state(plain.network))
    assert [epoch.losses for epoch in trained.history] == [epoch.losses for epoch in plain.history]
    assert (plain.kept, plain.stopped, plain.history[0].accuracy) == (1, False, None)


# Several processes


class Pretended:
    """A group of whose processes only one is there: what the others would give is the same as what it gives."""

    def __init__(self, size):
        self.rank, self.size, self.sums = 0, size, 0

    @property
    def leads(self):
        return True

    def part(self, total):
        return slice(0, total // self.size) if total >= self.size else slice(0, total)

    def spread_(self, tensors):
        pass

    def sum_(self, tensors):
        self.sums += 1
        for tensor in tensors:
            tensor.mul_(self.size)


def test_each_process_learns_from_its_part(data):
    """With batch norms frozen, two equal processes on the first halves are one on these halves, each image twice."""
    seen = []

    class Noting(CrossEntropy):
        def __call__(self, network, inputs):
            seen.append((inputs.part.start, inputs.part.stop, inputs.part.total, len(inputs.images), inputs.index))
            return super().__call__(network, inputs)

    given = options(epochs=1, batch_norm="frozen")
    group = Pretended(2)
    normalizer = Normalizer(SMALL, CPU)
    arguments = {"execution": EXECUTION, "normalizer": normalizer, "seed": 0}
    made = Training(net(), data, given, objective=Noting(), group=group, **arguments)
    steps = list(made.run())
    assert group.sums > 0
    assert [entry[:4] for entry in seen] == [(0, 4, 8, 4), (0, 4, 8, 4), (0, 3, 6, 3)]
    whole = [batch.index for batch in data.epoch(0, seed=0, batch_size=8, flip=True)]
    assert all(torch.equal(part[-1], index[: part[1]]) for part, index in zip(seen, whole, strict=True))
    assert [step.images for step in steps] == [8, 8, 6]

    class Halves(CrossEntropy):
        def __call__(self, network, inputs):
            half = len(inputs.images) // 2
            return {"cross_entropy": nn.functional.cross_entropy(network(inputs.images[:half]), inputs.labels[:half])}

    alone = Training(net(), data, given, objective=Halves(), **arguments)
    for ours, theirs in zip(steps, alone.run(), strict=True):
        assert ours.losses == pytest.approx(theirs.losses, rel=1e-5)
        assert ours.gradient_norm == pytest.approx(theirs.gradient_norm, rel=1e-5)
    for key, value in alone.finish().network.state_dict().items():
        torch.testing.assert_close(made.finish().network.state_dict()[key], value, rtol=1e-4, atol=1e-6)
    assert {type(module) for module in made.finish().network.modules()} == {type(module) for module in net().modules()}


def test_batches_smaller_than_the_group_are_learnt_whole(data):
    """Each of 30 processes has every image, batch norms alone, and a thirtieth of the loss."""
    given = options(epochs=2)
    made = Training(
        net(), data, given, execution=EXECUTION, normalizer=Normalizer(SMALL, CPU), seed=0, group=Pretended(30)
    )
    losses = [step.losses["cross_entropy"] for step in made.run()]
    alone = list(Training(net(), data, given, execution=EXECUTION, normalizer=Normalizer(SMALL, CPU), seed=0).run())
    assert losses == pytest.approx([step.losses["cross_entropy"] for step in alone], rel=1e-4)


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
