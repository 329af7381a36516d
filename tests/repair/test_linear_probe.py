"""A linear probe as head: what the network then says is what the probe says."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from tlaudit.checks.base import LabelledImages
from tlaudit.data.training import TrainingImages
from tlaudit.errors import DataError, UsageError
from tlaudit.models.new_head import with_new_head
from tlaudit.models.sources import Model
from tlaudit.repair import METHODS
from tlaudit.training.probed_head import probed_head


class Tailed(nn.Module):
    """Something of one's own stands behind the head's last layer."""

    def __init__(self, tail: nn.Module, *, bias: bool = True) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.fc, self.tail = nn.Linear(8, 5, bias=bias), tail

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.tail(self.fc(self.features(x)))


def tailed(tail: nn.Module, *, bias: bool = True) -> Model:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = Tailed(tail, bias=bias).eval().requires_grad_(False)
    return Model(module, "own", "fc", 5, None, None, ("features",), None)


def probed(given, source, execution=None, **more):
    network = with_new_head(source, 2, seed=0)
    made = probed_head(
        source,
        network,
        given.training,
        execution=execution or given.execution,
        normalizer=given.normalizer,
        seed=0,
        **more,
    )
    return network, made


def everything(given, images=None):
    """All training images as inputs, in their order, and their labels."""
    (batch,) = (images or given.training).epoch(0, seed=0, batch_size=1000, flip=False)
    order = batch.index.argsort()
    return given.normalizer(batch.pixels)[order], batch.labels[order]


def centred(logits):
    return logits.double() - logits.double().mean(1, keepdim=True)


def without_head(module, name, inputs):
    """What enters the last layer, pooled, computed by hand."""
    if name == "squeezenet1_1":
        return module.features(inputs).mean(dim=(2, 3))
    if name == "own":
        x = module.stem(inputs)
        for block in module.blocks:
            x = block(x).relu()
        return x.mean(dim=(2, 3))
    raise KeyError(name)


@pytest.mark.parametrize("name", ["own", "squeezenet1_1"])
def test_network_says_what_a_classifier_on_its_features_says(bench, sources, name):
    given = bench(name, size=48)
    _, made = probed(given, sources(name))
    inputs, labels = everything(given)
    with torch.no_grad():
        features = without_head(sources(name).module, name, inputs).double().numpy()
        logits = made.network(inputs)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=made.probe.strength, max_iter=1000))
    pipeline.fit(features, labels.numpy())
    assert logits.softmax(1).numpy() == pytest.approx(pipeline.predict_proba(features), abs=1e-4)
    assert made.accuracy == pytest.approx(pipeline.score(features, labels.numpy()))
    assert made.accuracy > 0.9
    assert made.findings == ()


def test_nothing_is_cut_off_by_the_rectifier_behind_squeezenets_head(bench, sources):
    given = bench("squeezenet1_1", size=64)
    _, made = probed(given, sources("squeezenet1_1"))
    inputs, _ = everything(given)
    with torch.no_grad():
        outputs = made.network.classifier[1](made.network.features(inputs))
    assert outputs.shape[2:] != (1, 1)
    lowest, highest = float(outputs.min()), float(outputs.max())
    assert lowest == pytest.approx(highest - lowest, rel=1e-3)
    # Without what was added to all biases alike, the rectifier would cut.
    bias = made.network.classifier[1].bias
    above = float((bias.double() - made.probe.bias).mean())
    assert (bias.double() - made.probe.bias).numpy() == pytest.approx(above, rel=1e-4)
    assert lowest - above < 0


def test_only_the_last_layer_is_another(bench, sources):
    for name in ("own", "mobilenet_v3_small"):
        given, source = bench(name, size=64), sources(name)
        source = dataclasses.replace(source, head="classifier") if name == "mobilenet_v3_small" else source
        network, made = probed(given, source)
        layer = {"own": "fc", "mobilenet_v3_small": "classifier.3"}[name]
        for key, value in made.network.state_dict().items():
            assert torch.equal(value, network.state_dict()[key]) != key.startswith(f"{layer}.")
        assert not any(parameter.requires_grad for parameter in made.network.parameters())
        assert not any(module.training for module in made.network.modules())


def test_what_is_lent_comes_back(bench, sources):
    given, source = bench(), sources("own")
    before = {key: value.clone() for key, value in source.module.state_dict().items()}
    network, _ = probed(given, source)
    again = with_new_head(source, 2, seed=0)
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in network.state_dict().items())
    assert all(torch.equal(v, before[k]) for k, v in source.module.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())


def test_batch_size_and_precision_do_not_change_it(bench, sources):
    given = bench("squeezenet1_1", size=48)
    first, second, third = (
        probed(given, sources("squeezenet1_1"), dataclasses.replace(given.execution, **other))[1]
        for other in ({}, {"batch_size": 5}, {"precision": "bf16"})
    )
    inputs, _ = everything(given)
    for other in (second, third):
        assert other.probe.strength == first.probe.strength
        with torch.no_grad():
            assert torch.allclose(centred(other.network(inputs)), centred(first.network(inputs)), atol=1e-3)


@pytest.mark.parametrize(("tail", "passes"), [(nn.Identity(), 1), (nn.LogSoftmax(1), 2), (nn.ReLU(), 2)])
def test_tails_that_leave_probabilities_alone(bench, tail, passes):
    given, source = bench(), tailed(tail)
    labels = []

    def progress(items, *, total, label, size=None, note=None):
        labels.append((label, total))
        return items

    _, made = probed(given, source, progress=progress)
    inputs, _ = everything(given)
    with torch.no_grad():
        features = source.module.features(inputs)
        assert torch.allclose(
            centred(made.network(inputs)), centred(features.double() @ made.probe.weight.T + made.probe.bias), atol=1e-3
        )
    assert labels == [("features", 24), ("checking the head", 24)][:passes]
    assert made.findings == ()


@pytest.mark.parametrize(("tail", "bias"), [(nn.Tanh(), True), (nn.Identity(), False)])
def test_layer_is_trained_where_no_probe_can_be_written_into_it(bench, tail, bias):
    given, source = bench(), tailed(tail, bias=bias)
    network, made = probed(given, source)
    assert [finding.code for finding in made.findings] == ["repair.probe_trained"]
    assert made.probe is None
    for key, value in made.network.state_dict().items():
        assert torch.equal(value, network.state_dict()[key]) != key.startswith("fc.")
    inputs, labels = everything(given)
    with torch.no_grad():
        assert made.accuracy == float((made.network(inputs).argmax(1) == labels).double().mean())
    assert made.accuracy > 0.9


def test_a_class_without_images_is_refused(bench, sources, task_images):
    given = bench()
    alone = TrainingImages(task_images.images, task_images.labels * 0, given.preprocessing, workers=0)
    with pytest.raises(DataError, match=r"classes numbered \[1\]"):
        probed(dataclasses.replace(given, training=alone), sources("own"))


def test_a_class_with_one_image_is_said(bench, sources, task_images):
    given = bench()
    labels = torch.zeros_like(task_images.labels)
    labels[4] = 1
    images = LabelledImages(task_images.images, labels)
    training = TrainingImages(images.images, images.labels, given.preprocessing, workers=0)
    _, made = probed(dataclasses.replace(given, training=training), sources("own"))
    assert [finding.code for finding in made.findings] == ["repair.probe_untried"]


def test_a_last_layer_that_runs_twice_is_refused(bench):
    class Twice(Tailed):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.features(x)
            return self.fc(x) + self.fc(x / 2)

    given, source = bench(), dataclasses.replace(tailed(nn.Identity()), module=Twice(nn.Identity()).eval())
    with pytest.raises(UsageError, match="fc, the last layer of the head, runs 2 times"):
        probed(given, source)


def test_method_ends_where_it_begins(bench):
    given = bench()
    setup = METHODS["linear-probe"].setup(given)
    assert (setup.network, setup.objective, setup.variants) == (given.start, None, ())
    assert METHODS["linear-probe"].inits == ("source-lp",)


def test_pooled_tokens(bench, sources):
    # What enters a vision transformer's head is one vector an image.
    given = bench("vit")
    _, made = probed(given, sources("vit"))
    inputs, labels = everything(given)
    with torch.no_grad():
        assert float((made.network(inputs).argmax(1) == labels).double().mean()) == made.accuracy
    assert made.probe.weight.shape == (2, 16)
