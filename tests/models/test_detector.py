"""The detector against the two networks it replaces, family by family."""

from __future__ import annotations

import copy
import inspect
import logging
import os
import textwrap
from pathlib import Path

import pytest
import torch
from torch import nn

import samples
import tiny
import tlaudit
from tlaudit.data.images import ImageStream
from tlaudit.data.inputs import gather
from tlaudit.errors import UsageError
from tlaudit.models.detector import InferenceDetector, Screened
from tlaudit.models.families import family_of
from tlaudit.models.pair import Pair, join, load_pair
from tlaudit.models.preprocess import IMAGENET, Normalizer
from tlaudit.models.sources import Model
from tlaudit.results import Column, Table

LINGERING = (1, 4, 6)
THRESHOLD = 0.2


@pytest.fixture
def real_data():
    root = os.environ.get("TLAUDIT_REAL_DATA")
    if root is None:
        pytest.skip("TLAUDIT_REAL_DATA is not set: no real checkpoints to test on")
    return Path(root)


def images(side=64, count=3):
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(5))


def model(module, head, classes, sha256="0" * 64):
    """A model as loading gives it, without the file."""
    record = samples.a_model().model_copy(update={"head": head, "num_classes": classes, "sha256": sha256})
    return Model(module.eval().requires_grad_(False), "test", head, classes, None, None, (), record)


def with_head(module, head, new):
    """A child of a network: every tensor moved a little, another head."""
    child = copy.deepcopy(module)
    child.load_state_dict(tiny.nudged(child, amount=0.2))
    child.set_submodule(head, new)
    return child


def another_head(module, head, classes=2):
    layer = module.get_submodule(head)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        if isinstance(layer, nn.Linear):
            return nn.Linear(layer.in_features, classes)
        return nn.Conv2d(layer.in_channels, classes, 1)


def pair_of(name, source_classes=7, target_classes=2) -> Pair:
    head = family_of(name).heads[0]
    source = tiny.network(name, source_classes)
    child = with_head(source, head, another_head(source, head, target_classes))
    return join(model(source, head, source_classes), model(child, head, target_classes))


def own_pair(source, child, head="fc", classes=(7, 2)) -> Pair:
    return join(model(source, head, classes[0]), model(child, head, classes[1]))


def naive(pair, x, lingering=LINGERING, threshold=THRESHOLD):
    """Eq. 5, image by image, from each network on its own."""
    found = []
    with torch.inference_mode():
        both = pair.finetuned.module(x), pair.hybrid()(x).double().softmax(dim=1)
    for logits, probabilities in zip(*both, strict=True):
        best = max(lingering, key=lambda c: float(probabilities[c]))
        score = float(probabilities[best])
        found.append((logits, score, best, score > threshold))
    logits, score, source_class, flagged = zip(*found, strict=True)
    return Screened(torch.stack(logits), torch.tensor(score), torch.tensor(source_class), torch.tensor(flagged))


def assert_agree(got, expected, tolerance=1e-5):
    scale = max(1.0, float(expected.logits.abs().max()))
    assert (got.logits - expected.logits).abs().max() <= tolerance * scale
    assert (got.score - expected.score).abs().max() <= tolerance
    assert torch.equal(got.source_class, expected.source_class)
    assert torch.equal(got.flagged, expected.flagged)
    assert [t.dtype for t in got] == [torch.float32, torch.float32, torch.int64, torch.bool]


def a_lingering_result(pair, statuses, p_lo=0.3):
    names = ("class_index", "class_name", "status", "n", "prevalence", "hybrid_probability")
    rows = [dict(zip(names, (i, f"class {i}", s, 3, 0, 0.5), strict=True)) for i, s in enumerate(statuses)]
    columns = tuple(Column(name=name, unit="text", meaning="M.") for name in names)
    table = Table(title="T", columns=columns, rows=tuple(rows), brief=("class_name",))
    base = samples.a_result()
    models = {"source": pair.source.record, "finetuned": pair.finetuned.record}
    told = base.provenance.model_copy(update={"models": models, "options": {"p_lo": p_lo}})
    return base.model_copy(update={"tables": {"classes": table}, "provenance": told})


@pytest.mark.slow
@pytest.mark.parametrize("name", tiny.NAMES)
def test_agrees_with_the_two_networks_in_one_pass(name):
    pair = pair_of(name)
    side = 224 if name in {"vit_b_32", "maxvit_t"} else 96
    x = images(side, 2)
    networks = [pair.source.module, pair.finetuned.module]
    before = [tensor._version for module in networks for tensor in module.state_dict().values()]
    detector = InferenceDetector(pair, LINGERING, THRESHOLD, side=side)
    assert detector.passes == 1
    first = next(m for m in detector.modules() if isinstance(m, nn.Conv2d))
    calls = []
    first.register_forward_hook(lambda *_: calls.append(1))
    with torch.inference_mode():
        got = detector(x)
    assert len(calls) == 1
    assert_agree(got, naive(pair, x))
    assert before == [tensor._version for module in networks for tensor in module.state_dict().values()]
    assert not any(child._forward_hooks or child.training for module in networks for child in module.modules())


def test_shares_memory_and_leaves_the_networks_where_they_are():
    pair = pair_of("resnet18")
    detector = InferenceDetector(pair, LINGERING, THRESHOLD, side=64)
    ours = {tensor.data_ptr() for tensor in detector.parameters()}
    assert {tensor.data_ptr() for tensor in pair.finetuned.module.parameters()} <= ours
    assert pair.source.module.fc.weight.data_ptr() in ours
    detector.to(torch.float64)
    assert {tensor.dtype for tensor in pair.finetuned.module.parameters()} == {torch.float32}


def test_a_head_that_grew_and_heads_of_different_depth():
    source = tiny.network("mobilenet_v3_small", 7)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        grown = nn.Sequential(nn.Linear(576, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 2))
    pair = join(model(source, "classifier.3", 7), model(with_head(source, "classifier", grown), "classifier", 2))
    assert pair.head == "classifier"
    detector = InferenceDetector(pair, LINGERING, THRESHOLD, side=64)
    assert detector.passes == 1
    assert_agree(detector(images()), naive(pair, images()))


def test_as_many_target_as_source_classes():
    pair = pair_of("squeezenet1_1", 7, 7)
    detector = InferenceDetector(pair, LINGERING, THRESHOLD, side=64)
    assert detector.passes == 1
    assert_agree(detector(images()), naive(pair, images()))


class OnGrid(tiny.Own):
    """The head reads every pixel, channels last, and the mean over the grid comes after it."""

    def forward(self, x):
        return self.fc(self.stem(x).permute(0, 2, 3, 1)).mean(dim=(1, 2))


class Normalised(tiny.Own):
    """Gives log-probabilities: what one class gets depends on the others."""

    def forward(self, x):
        return super().forward(x).log_softmax(dim=1)


class Peeking(tiny.Own):
    """Asks its head how wide it is."""

    def forward(self, x):
        return super().forward(x) / self.fc.in_features


def own(kind, classes, seed):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return tiny.stirred(kind(classes))


def test_a_linear_head_on_a_grid():
    pair = own_pair(own(OnGrid, 7, 0), own(OnGrid, 2, 1))
    detector = InferenceDetector(pair, LINGERING, THRESHOLD, side=32)
    assert detector.passes == 1
    assert_agree(detector(images(32)), naive(pair, images(32)))


@pytest.mark.parametrize(("kind", "why"), [(Normalised, "logits differ"), (Peeking, "in_features")])
def test_where_two_heads_do_not_agree_both_networks_run(kind, why, caplog):
    pair = own_pair(own(kind, 7, 0), own(kind, 2, 1))
    with caplog.at_level(logging.WARNING, "tlaudit"):
        detector = InferenceDetector(pair, LINGERING, THRESHOLD, side=32)
    assert detector.passes == 2
    assert why in caplog.text
    assert_agree(detector(images(32)), naive(pair, images(32)))


@pytest.mark.parametrize("name", ["squeezenet1_1", "resnet18", pytest.param("vit_b_32", marks=pytest.mark.slow)])
def test_survives_export(name, tmp_path):
    side = 224 if name == "vit_b_32" else 64
    pair = pair_of(name)
    detector = InferenceDetector(pair, LINGERING, THRESHOLD, side=side)
    batch = torch.export.Dim("batch")
    program = torch.export.export(detector, (images(side, 2),), dynamic_shapes={"x": {0: batch}})
    got = program.module()(images(side, 5))
    assert isinstance(got, Screened)
    assert_agree(got, detector(images(side, 5)))
    if name == "resnet18":
        torch.export.save(program, tmp_path / "detector.pt2")
        loaded = torch.export.load(tmp_path / "detector.pt2").module()(images(side, 4))
        assert isinstance(loaded, Screened)
        assert_agree(loaded, detector(images(side, 4)))


GONE = ["forgotten"] * 7


def test_batch_size_does_not_change_what_is_said():
    pair = pair_of("resnet18")
    detector = InferenceDetector(pair, LINGERING, THRESHOLD, side=64)
    x = images(64, 5)
    one_by_one = Screened(*(torch.cat(parts) for parts in zip(*map(detector, x[:, None]), strict=True)))
    assert_agree(detector(x), one_by_one, tolerance=1e-4)


def test_flags_what_is_above_the_threshold_and_not_what_is_on_it():
    detector = InferenceDetector(own_pair(tiny.own(7), tiny.own(2, 1)), LINGERING, 0.0, side=32)
    score = float(detector(images(32, 1)).score)
    assert bool(detector(images(32, 1)).flagged)
    detector.threshold = score
    assert not bool(detector(images(32, 1)).flagged)
    detector.threshold = float(torch.nextafter(torch.tensor(score), torch.tensor(0.0)))
    assert bool(detector(images(32, 1)).flagged)


def test_is_frozen_and_stays_in_eval_mode():
    pair = own_pair(tiny.own(7), tiny.own(2, 1))
    detector = InferenceDetector(pair, LINGERING, THRESHOLD, side=32)
    before = pair.finetuned.module.stem[1].running_mean.clone()
    detector.train()(images(32))
    assert torch.equal(pair.finetuned.module.stem[1].running_mean, before)
    assert not any(module.training for module in detector.modules())
    assert not any(parameter.requires_grad for parameter in detector.parameters())


def test_reads_classes_and_threshold_from_a_result():
    pair = own_pair(tiny.own(7), tiny.own(2, 1))
    result = a_lingering_result(pair, ["lingering", "forgotten", "untested", "in target data", "lingering", *GONE[:2]])
    detector = InferenceDetector(pair, result, side=32)
    assert detector.lingering.tolist() == [0, 4]
    assert detector.threshold == 0.3
    assert InferenceDetector(pair, result, 0.5, side=32).threshold == 0.5
    assert InferenceDetector(pair, [4, 0, 4], 0.5, side=32).lingering.tolist() == [0, 4]


@pytest.mark.parametrize(
    ("lingering", "threshold", "message"),
    [
        ([7], 0.5, "from 0 to 6, got 7"),
        ([-1], 0.5, "from 0 to 6, got -1"),
        ([], 0.5, "at least one lingering class"),
        ([1], None, "give a threshold"),
        ([1], 1.5, "from 0 to 1, got 1.5"),
        ([1], -0.1, "got -0.1"),
        ([1], float("nan"), "got nan"),
    ],
)
def test_refuses_what_cannot_be_meant(lingering, threshold, message):
    with pytest.raises(UsageError, match=message):
        InferenceDetector(own_pair(tiny.own(7), tiny.own(2, 1)), lingering, threshold, side=32)


def test_refuses_results_that_do_not_fit():
    pair = own_pair(tiny.own(7), tiny.own(2, 1))
    with pytest.raises(UsageError, match="no class lingers"):
        InferenceDetector(pair, a_lingering_result(pair, GONE), side=32)
    with pytest.raises(UsageError, match="does not say its p_lo"):
        InferenceDetector(pair, a_lingering_result(pair, ["lingering", *GONE[1:]], p_lo=None), side=32)
    other = join(pair.source, model(tiny.own(2, 1), "fc", 2, sha256="1" * 64))
    with pytest.raises(UsageError, match="another finetuned checkpoint"):
        InferenceDetector(other, a_lingering_result(pair, ["lingering", *GONE[1:]]), side=32)
    with pytest.raises(UsageError, match="a row for each of 7 source classes in index order, got 1"):
        InferenceDetector(pair, a_lingering_result(pair, ["lingering"]), side=32)


def test_a_side_the_network_was_not_made_for():
    with pytest.raises(UsageError, match="cannot work on images of 64 x 64 pixels"):
        InferenceDetector(pair_of("vit_b_32"), LINGERING, THRESHOLD, side=64)


def test_the_example_is_python():
    text = inspect.getdoc(InferenceDetector)
    example = text[text.index("::") + 2 : text.index("detector.pt2")]
    lines = textwrap.dedent(example[: example.rindex("\n")]).strip("\n")
    compile(lines, "the docstring", "exec")
    assert "InferenceDetector(pair" in lines


def test_the_threshold_is_checked_and_travels(tmp_path):
    pair = own_pair(tiny.own(7), tiny.own(2, 1))
    detector = InferenceDetector(pair, LINGERING, 0.3, side=32)
    for wrong in (float("nan"), -0.1, 7):
        with pytest.raises(UsageError, match="from 0 to 1"):
            detector.threshold = wrong
    assert detector.threshold == 0.3
    detector.threshold = 0.0
    exported = torch.export.export(detector, (images(32, 2),)).module()
    assert exported(images(32, 2)).flagged.all()
    other = InferenceDetector(pair, LINGERING, 0.9, side=32)
    other.load_state_dict(detector.state_dict())
    assert other.threshold == 0.0
    assert other(images(32, 2)).flagged.all()


def test_is_part_of_the_public_face():
    assert tlaudit.InferenceDetector is InferenceDetector


@pytest.mark.realdata
def test_agrees_on_real_photographs(real_data):
    checkpoints = real_data / "checkpoints"
    pair = load_pair(checkpoints / "squeezenet1_1-imagenet.pth", checkpoints / "squeezenet1_1-dogs-vs-cats.pth")
    detector = InferenceDetector(pair, (504, 967, 626), 0.1)
    cats = gather(sorted((real_data / "dogs-vs-cats" / "val" / "cat").iterdir())[:3])
    espresso = gather([real_data / "imagenet-samples" / "n07920052"])
    normalize = Normalizer(IMAGENET, torch.device("cpu"))
    for inputs in (cats, espresso):
        batch = next(iter(ImageStream(inputs.images, [IMAGENET], batch_size=8, workers=0)))
        x = normalize(batch.pixels[IMAGENET.geometry])
        assert detector.passes == 1
        assert_agree(detector(x), naive(pair, x, (504, 626, 967), 0.1))
