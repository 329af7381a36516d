"""Networks judged before and after: planted readers, plain loops, and a source set beside itself."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

import planted
import readers
import tiny
from tlaudit import distraction, lingering, load_pair
from tlaudit.checks.assembly import assemble
from tlaudit.checks.measured import Recorder
from tlaudit.errors import DataError, UsageError
from tlaudit.metrics.repair import AXES, quantities
from tlaudit.models.pair import hybrid
from tlaudit.models.sources import load_model
from tlaudit.options import DataOptions, ExecutionOptions, LingeringOptions, PreprocessTable
from tlaudit.options.repair import JudgeOptions, RepairOptions
from tlaudit.repair.judge import NO_SOURCE, NO_TARGET, Judge
from tlaudit.repair.judgement import Judgement, Sample, compare, kept, kept_interval, measured

EXECUTION = {"device": "cpu", "workers": 0, "batch_size": 7}
RECORDER = Recorder(quantities(["plain"]), 0, 400, 0.95)
LINGER = LingeringOptions(**readers.DEFINITIONS)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = readers.build(tmp_path_factory.mktemp("readers"))
    rng = np.random.default_rng(5)
    for number, channel in enumerate(tiny.TASK):
        pictures = [readers.speckled(rng, tiny.CORNERS[channel], speckles=0) for _ in range(6)]
        readers.paint(root / "val" / f"colour{number}", pictures)
    return root


def subject_of(world, finetuned="background", *, batch_size=7, **folders):
    pair = load_pair(world / "source.pth", world / f"{finetuned}.pth", arch=tiny.READER)
    given = {"source": world / "source", "target": world / "target", "val": world / "val"} | folders
    return assemble(
        pair,
        DataOptions(**{name: path for name, path in given.items() if path}),
        preprocess=PreprocessTable(**readers.PREPROCESS),
        execution=ExecutionOptions(**EXECUTION | {"batch_size": batch_size}),
        needed=(),
    )


def judge_of(subject, **options):
    return Judge(subject, RepairOptions(judge=JudgeOptions(**{"per_class": 4} | options)), LINGER)


def model(world, name):
    return load_model(world / f"{name}.pth", arch=tiny.READER)


@pytest.fixture(scope="module")
def judged(world):
    judge = judge_of(subject_of(world))
    names = ("background", "overlay")
    return judge, judge.before(model(world, names[0])), judge.after(model(world, names[1]))


@pytest.fixture
def no_probes(monkeypatch):
    """Fitting them takes longer than all else."""
    monkeypatch.setattr("tlaudit.repair.judge_source.MOST_PROBED", 0)


def values(judgement, axis):
    return judgement.samples[axis].values


def test_a_network_that_reads_the_background_is_distracted_and_one_that_reads_the_overlay_is_not(judged):
    _, before, after = judged
    # The two share a backbone, so that all that is known through the source's head is the same.
    changes = {one.axis: one for one in compare(before, after, "plain", RECORDER)}
    assert list(changes) == list(AXES)
    assert changes["distraction"].before.value == pytest.approx(1, abs=1e-9)
    assert changes["distraction"].after.value < 0.02
    assert changes["distraction"].change.interval.high < -0.9
    assert changes["composite_accuracy"].after.value == changes["grey_accuracy"].after.value == 1
    assert changes["composite_accuracy"].change.interval.low > 0
    assert changes["target_accuracy"].after.value == 1
    assert changes["target_accuracy"].before.value < 1
    for axis in ("source_top1", "delta_lp", "lingering_count", "lingering_fraction"):
        assert changes[axis].change.value == 0
        assert changes[axis].change.interval.low == changes[axis].change.interval.high == 0
    assert changes["lingering_count"].before.value == len(readers.KNOWN) == len(before.lingering_classes)


def test_the_same_network_changes_nothing(world, judged):
    judge, before, _ = judged
    for change in compare(before, judge.after(model(world, "background")), "plain", RECORDER):
        assert change.change.value == 0
        assert change.change.interval.low <= 0 <= change.change.interval.high
        assert change.before.value == change.after.value


def test_agrees_with_the_checks(world, judged):
    """Lingering and distraction are what those checks say of the same networks, images and definitions."""
    _, before, _ = judged
    subject = subject_of(world)
    folders = {"source_data": world / "source", "target_data": world / "target"}
    common = folders | {"preprocess": readers.PREPROCESS, "execution": EXECUTION}
    known = lingering(subject.pair, val_data=world / "val", **common, **readers.DEFINITIONS)
    found = distraction(subject.pair, lingering=known, **common, per_class=4)
    ours = measured(before, "before", RECORDER)
    assert ours["lingering_count"].value == known["lingering.count"].value
    assert ours["lingering_fraction"].interval.low == known["lingering.fraction"].interval.low
    assert ours["target_accuracy"].value == known["target.accuracy"].value
    assert ours["source_top1"].value == known["hybrid.source_top1"].value
    for axis in ("flip_rate", "composite_accuracy", "grey_accuracy"):
        assert ours[axis].value == found[f"distraction.{axis}"].value
    assert ours["distraction"].value == pytest.approx(found["distraction.mean"].value, abs=1e-12)
    ranked = sorted(
        (row for row in known.tables["classes"].rows if row["status"] == "lingering"),
        key=lambda row: (-row["hybrid_probability"], row["class_index"]),
    )
    assert before.lingering_classes == tuple(row["class_index"] for row in ranked)


def test_agrees_with_plain_loops(world, judged):
    judge, before, _ = judged
    subject, net = subject_of(world), hybrid(model(world, "background"), model(world, "source"))
    own, right = [], []
    for item, label in zip(subject.source.images.items, subject.source.labels.tolist(), strict=True):
        pixels = torch.tensor(np.asarray(Image.open(item.path)) / 255).permute(2, 0, 1)[None]
        answer = net.double()(pixels)[0].softmax(0)
        own.append(float(answer[label]))
        right.append(float(answer.argmax() == label))
    assert values(before, "source_probability").tolist() == pytest.approx(own, abs=1e-5)
    assert values(before, "source_top1").tolist() == right
    means = [np.mean([p for p, c in zip(own, subject.source.labels.tolist(), strict=True) if c == k]) for k in range(8)]
    expected = [float("nan") if k in tiny.TASK else float(means[k] > 0.5) for k in range(8)]
    assert values(before, "lingering").tolist() == pytest.approx(expected, nan_ok=True)
    # Source and finetuned reader share their backbone.
    assert judge.facts.source.values.tolist() == right
    assert judge.facts.definitions == {"lingering.k": 1, "lingering.v_lo_count": 0, "lingering.p_lo": 0.5}
    assert set(judge.facts.records) == {"source", "target", "val", "composites", "overlays"}
    assert judge.facts.records["source"].labels == subject.source.digest()


def test_batch_size_and_order_of_networks_change_nothing(world, judged):
    _, before, after = judged
    judge = judge_of(subject_of(world, batch_size=64))
    other = judge.before(model(world, "background"))
    glance = judge.glance(model(world, "overlay"))
    last = judge.after(model(world, "overlay"))
    for one, two in ((before, other), (after, last)):
        assert one.lingering_classes == two.lingering_classes
        for axis, sample in one.samples.items():
            assert sample.values.tolist() == pytest.approx(two.samples[axis].values.tolist(), abs=1e-6, nan_ok=True)
    for axis in ("target_accuracy", "source_top1"):
        assert glance.samples[axis].values.tolist() == last.samples[axis].values.tolist()
    assert measured(glance, "plain", RECORDER)["distraction"].absent


@pytest.mark.usefixtures("no_probes")
def test_classes_of_composites_are_those_that_linger_before(world, judged):
    judge, before, after = judged
    assert values(before, "distraction").shape == (4 * len(readers.KNOWN),)
    assert before.samples["distraction"].groups.tolist() == after.samples["distraction"].groups.tolist()
    forgot = model(world, "background")
    with torch.no_grad():
        forgot.module.channels[0].bias[:3] = -100
    third = judge.after(forgot)
    assert len(third.lingering_classes) == len(readers.KNOWN) - 3
    assert third.samples["distraction"].groups.tolist() == before.samples["distraction"].groups.tolist()
    # Forgotten classes leave the forgetful network nothing to see outside the overlay.
    assert third.samples["distraction"].known.sum() < before.samples["distraction"].known.sum()
    few = judge_of(subject_of(world), classes=2, per_class=3).before(model(world, "background"))
    assert set(few.samples["distraction"].groups.tolist()) == set(before.lingering_classes[:2])
    assert len(few.samples["distraction"].values) == 6


@pytest.mark.usefixtures("no_probes")
def test_networks_are_left_as_they_are(world):
    judge = judge_of(subject_of(world), per_class=1, classes=1)
    given = model(world, "overlay")
    module = copy.deepcopy(given.module).train().requires_grad_(requires_grad=True)
    given = dataclasses.replace(given, module=module)
    state, random = copy.deepcopy(module.state_dict()), torch.get_rng_state()
    judge.before(given)
    judge.after(given)
    assert module.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in module.parameters())
    assert all(torch.equal(state[key], tensor) for key, tensor in module.state_dict().items())
    assert not any(child._forward_hooks for child in module.modules())
    assert torch.equal(random, torch.get_rng_state())


@pytest.mark.usefixtures("no_probes")
def test_what_is_not_given_is_absent_with_the_reason(world):
    judge = judge_of(subject_of(world, val=None, source=None))
    found = judge.before(model(world, "background"))
    assert "validation" in found.samples["target_accuracy"]
    for axis in ("source_top1", "delta_lp", "lingering", "distraction", "flip_rate"):
        assert found.samples[axis] == NO_SOURCE
    assert judge.facts.source == NO_SOURCE
    assert kept(found, judge.facts, "before", RECORDER).absent == NO_SOURCE
    judge = judge_of(subject_of(world, target=None))
    found = judge.before(model(world, "background"))
    assert found.samples["lingering"] == found.samples["distraction"] == NO_TARGET
    assert isinstance(found.samples["source_top1"], Sample)
    assert found.lingering_classes == ()
    assert {m.absent for m in measured(found, "before", RECORDER).values()} >= {NO_TARGET, None}


@pytest.mark.usefixtures("no_probes")
def test_definitions_that_cannot_be_met_are_said(world):
    subject = subject_of(world)
    for options, reason in ((LingeringOptions(k=9), "k = 9 exceeds"), (LingeringOptions(k=1), "no probability can")):
        found = Judge(subject, RepairOptions(), options).before(model(world, "background"))
        assert found.samples["lingering"].startswith(reason)
        assert found.samples["flip_rate"] == found.samples["lingering"]


@pytest.mark.usefixtures("no_probes")
def test_an_earlier_result_says_what_lingering_means(world):
    subject = subject_of(world)
    folders = {"source_data": world / "source", "target_data": world / "target"}
    common = folders | {"preprocess": readers.PREPROCESS, "execution": EXECUTION}
    known = lingering(subject.pair, **common, k=1, v_lo_count=0, p_lo=1 - 1e-12)
    judge = Judge(dataclasses.replace(subject, earlier={"lingering": known}), RepairOptions(), LINGER)
    found = judge.before(model(world, "background"))
    assert found.lingering_classes == ()
    assert "no class lingers" in found.samples["distraction"]
    assert judge.facts.definitions["lingering.p_lo"] == 1 - 1e-12
    broken = known.model_copy(update={"provenance": known.provenance.model_copy(update={"options": {"k": 1}})})
    with pytest.raises(UsageError, match="does not say what lingering means"):
        Judge(dataclasses.replace(subject, earlier={"lingering": broken}), RepairOptions())


def test_after_comes_after_before(world):
    with pytest.raises(RuntimeError, match="judge the one before"):
        judge_of(subject_of(world)).after(model(world, "background"))


def test_planted_memories_and_features_that_say_nothing(tmp_path):
    paths = planted.build(tmp_path)
    pair = load_pair(paths["source"], paths["finetuned"], arch=planted.ARCH)
    data = DataOptions(source=paths["source_data"], target=paths["target_data"], val=paths["val_data"])
    preprocess = PreprocessTable(**planted.PREPROCESS)
    subject = assemble(pair, data, preprocess=preprocess, execution=ExecutionOptions(**EXECUTION))
    judge = Judge(subject, RepairOptions(judge=JudgeOptions(per_class=1)), LingeringOptions(k=1))
    found = judge.before(pair.finetuned)
    tested = planted.CLASSES - len(planted.PRESENT)
    assert int(found.samples["lingering"].known.sum()) == tested
    assert len(found.lingering_classes) == tested - len(planted.FORGOTTEN)
    assert not set(planted.FORGOTTEN) & set(found.lingering_classes)
    constant = judge.after(load_model(paths["baseline"], arch=planted.ARCH))
    assert values(constant, "delta_lp").mean() == pytest.approx(1 / planted.CLASSES - 1)
    assert constant.lingering_classes == ()
    itself = judge.after(dataclasses.replace(pair.finetuned, module=renamed_head(pair)))
    assert values(itself, "delta_lp").abs().sum() == 0
    assert values(itself, "source_top1").mean() == 1


def renamed_head(pair):
    """The source's backbone under the finetuned network's head."""
    module = copy.deepcopy(pair.finetuned.module)
    own = {key: tensor for key, tensor in pair.source.module.state_dict().items() if not key.startswith("head")}
    module.load_state_dict(own, strict=False)
    return module


FLAT = """
from torch import nn

class Flat(nn.Sequential):
    def __init__(self, num_classes):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 8), nn.ReLU())
        self.head = nn.Linear(8, num_classes)
"""


def test_a_network_without_space_is_judged_by_the_other_axes(world, tmp_path):
    (tmp_path / "flat.py").write_text(FLAT)
    weights = {"body.1.weight": torch.zeros(8, 3 * 32 * 32), "body.1.bias": torch.ones(8)}
    for name, classes in (("source", 8), ("finetuned", 2)):
        head = {"head.weight": torch.zeros(classes, 8), "head.bias": torch.arange(classes).float()}
        torch.save(weights | head, tmp_path / f"{name}.pth")
    pair = load_pair(tmp_path / "source.pth", tmp_path / "finetuned.pth", arch=f"{tmp_path / 'flat.py'}:Flat")
    subject = dataclasses.replace(subject_of(world), pair=pair)
    # Every network says the last class, which the target images therefore show; p_lo is low enough for the others.
    found = Judge(subject, RepairOptions(), LingeringOptions(k=1, v_lo_count=0, p_lo=1e-9)).before(pair.finetuned)
    assert values(found, "target_accuracy").mean() == 0.5
    assert len(found.lingering_classes) == 7
    assert found.samples["distraction"].endswith("whose output has rows and columns and a gradient")
    assert found.samples["flip_rate"] == found.samples["distraction"]


def test_probes_take_their_own_images(world, tmp_path):
    for name, colour in (("black", 0), ("grey", 90)):
        readers.paint(tmp_path / name, [np.full((32, 32, 3), colour + shift, np.uint8) for shift in range(4)])
    judge = judge_of(subject_of(world), probe=tmp_path, per_class=1, classes=1)
    found = judge.before(model(world, "background"))
    assert values(found, "delta_lp").tolist() == [0, 0, 0, 0]
    assert judge.facts.records["probe"].images == 8
    single = tmp_path / "single"
    for name in "ab":
        readers.paint(single / name, [np.full((32, 32, 3), 9, np.uint8)])
    found = judge_of(subject_of(world), probe=single, per_class=1, classes=1).before(model(world, "background"))
    assert "no class has two images" in found.samples["delta_lp"]


def one_of_each(folder):
    for channel in range(8):
        readers.paint(folder / str(channel), [readers.speckled(np.random.default_rng(0), tiny.CORNERS[channel])])
    return folder


def test_probes_are_fitted_unasked_only_where_that_is_quick(world, monkeypatch, tmp_path):
    monkeypatch.setattr("tlaudit.repair.judge_source.MOST_PROBED", 8)
    found = judge_of(subject_of(world), per_class=1, classes=1).before(model(world, "background"))
    assert found.samples["delta_lp"].startswith("probes on 40 images of 8 classes would take long")
    single = judge_of(subject_of(world, source=one_of_each(tmp_path)), per_class=1, classes=1)
    assert "no class has two images" in single.before(model(world, "background")).samples["delta_lp"]
    named = judge_of(subject_of(world), per_class=1, classes=1, probe=world / "source")
    assert isinstance(named.before(model(world, "background")).samples["delta_lp"], Sample)


def test_kept_is_the_ratio_and_its_interval_that_of_a_plain_bootstrap():
    generator = torch.Generator().manual_seed(0)
    own = torch.rand(200, generator=generator) < 0.8
    after = own & (torch.rand(200, generator=generator) < 0.6) | (torch.rand(200, generator=generator) < 0.05)
    recorder = dataclasses.replace(RECORDER, resamples=20_000)
    low, high = kept_interval(after, own, recorder)
    draws = np.random.default_rng(1).integers(0, 200, (20_000, 200))
    ratios = after.numpy()[draws].sum(1) / own.numpy()[draws].sum(1)
    assert (low, high) == pytest.approx(np.quantile(ratios, [0.025, 0.975]), abs=0.01)
    samples = {"source_top1": Sample(torch.where(torch.arange(200) < 190, after.double(), torch.nan))}
    facts = dataclasses.make_dataclass("Facts", ["source"])(Sample(own.double()))
    found = kept(Judgement(samples, ()), facts, "plain", RECORDER)
    assert found.value == int(after[:190].sum()) / int(own[:190].sum())
    assert found.n == 190
    nothing = dataclasses.make_dataclass("Facts", ["source"])(Sample(torch.zeros(200).double()))
    assert "nothing can be kept" in kept(Judgement(samples, ()), nothing, "plain", RECORDER).absent


def judgement(axis, numbers, groups=None):
    groups = torch.tensor(groups) if groups else None
    return Judgement({axis: Sample(torch.tensor(numbers, dtype=torch.float64), groups)}, ())


def change_of(axis, before, after, groups=None):
    both = judgement(axis, before, groups), judgement(axis, after, groups)
    return next(one for one in compare(*both, "plain", RECORDER) if one.axis == axis)


def test_changes_are_paired_over_items_that_have_both():
    nan = float("nan")
    found = change_of("distraction", [0.2, 0.4, nan, 0.6], [0.1, nan, 0.9, 0.2], [3, 3, 5, 5])
    # By class: (0.1 - 0.2) and (0.2 - 0.6); what is dead on one side does not count.
    assert found.change.value == pytest.approx(-0.25)
    assert found.change.n == 2
    assert (found.before.value, found.after.value) == (pytest.approx(0.45), pytest.approx((0.1 + 0.55) / 2))
    found = change_of("flip_rate", [1, 1, 0, 0, 1], [0, 1, 0, nan, 1], [0, 0, 1, 1, 1])
    assert (found.change.value, found.change.n) == (-1 / 4, 4)
    with pytest.raises(DataError, match="2 items before and 3 after"):
        change_of("target_accuracy", [1, 0], [1, 0, 1])


def test_counts_change_by_whole_classes_with_an_interval():
    before = judgement("lingering", [1.0] * 12 + [float("nan")])
    after = judgement("lingering", [1.0] * 5 + [0.0] * 7 + [float("nan")])
    changes = {one.axis: one.change for one in compare(before, after, "plain", RECORDER)}
    count, fraction = changes["lingering_count"], changes["lingering_fraction"]
    assert (count.value, count.n) == (-7, 12)
    assert count.interval.low == pytest.approx(12 * fraction.interval.low)
    assert -12 <= count.interval.low < -7 < count.interval.high <= 0
