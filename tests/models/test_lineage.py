"""Who descends from whom, on networks whose descent is known."""

import math

import pytest
import torch
from torch import nn

import tiny
from tlaudit.models.lineage import RELATED, StageSimilarity, trace_lineage

STAGES = ["stem", "blocks.0", "blocks.1"]


def wide(num_classes=4, seed=0):
    torch.manual_seed(seed)
    return tiny.stirred(tiny.Own(num_classes, width=40))


def trace(source, finetuned, baseline=None, stages=STAGES, head="fc"):
    return trace_lineage(source, finetuned, baseline, stages=stages, head=head)


def child_of(source, **options):
    child = wide(seed=9)
    child.load_state_dict(tiny.nudged(source, **options))
    return child


def codes(lineage):
    return [finding.code for finding in lineage.findings()]


def test_agrees_with_reference():
    source, child, control = wide(), child_of(wide(), amount=0.5), wide(seed=2)
    for found, names in zip(
        trace(source, child, control).stages, (["stem.0"], ["blocks.0"], ["blocks.1"]), strict=True
    ):
        ours, theirs, other = (
            torch.cat([m.get_submodule(n).weight.flatten() for n in names]).double() for m in (source, child, control)
        )
        assert found.weights == len(ours)
        assert found.finetuned == pytest.approx(torch.cosine_similarity(ours, theirs, dim=0).item(), abs=1e-12)
        assert found.baseline == pytest.approx(torch.cosine_similarity(ours, other, dim=0).item(), abs=1e-12)


def test_a_child_and_a_stranger():
    source = wide()
    lineage = trace(source, child_of(source), wide(seed=3))
    assert codes(lineage) == []
    assert all(stage.finetuned > 0.99 for stage in lineage.stages)
    assert all(abs(stage.baseline) < RELATED for stage in lineage.stages)


def test_is_blind_to_the_scale_of_a_stage():
    source, child = wide(), child_of(wide())
    before = trace(source, child)
    with torch.no_grad():
        child.blocks[0].weight.mul_(7)
    assert trace(source, child).stages[1].finetuned == pytest.approx(before.stages[1].finetuned, abs=1e-6)


def test_nothing_was_finetuned():
    source, child = wide(), wide()
    child.fc = nn.Linear(40, 2)
    lineage = trace(source, child)
    assert codes(lineage) == ["lineage.identical"]
    assert lineage.findings()[0].severity == "warning"
    assert lineage.findings()[0].message.startswith("the finetuned backbone equals the source's bit by bit")


def test_counters_do_not_count_and_statistics_do():
    source, child = wide(), wide()
    child.stem[1].num_batches_tracked.fill_(0)
    assert codes(trace(source, child)) == ["lineage.identical"]
    child.stem[1].running_mean[0] += 1e-3
    assert codes(trace(source, child)) == ["lineage.only_buffers_moved"]


def test_no_child_of_this_source():
    lineage = trace(wide(), wide(seed=5))
    assert codes(lineage) == ["lineage.unrelated"]
    assert "no child of it: cosine per stage stem (" in lineage.findings()[0].message


def test_one_stage_was_initialised_anew():
    source = wide()
    child = child_of(source)
    child.blocks[1].reset_parameters()
    lineage = trace(source, child)
    assert codes(lineage) == ["lineage.reinitialised"]
    assert "blocks.1 (" in lineage.findings()[0].message
    assert "blocks.0" not in lineage.findings()[0].message


def test_baseline_that_is_no_control():
    source = wide()
    lineage = trace(source, child_of(source), child_of(source, seed=4, amount=0.2))
    assert codes(lineage) == ["lineage.baseline_related"]
    twin = child_of(source)
    assert codes(trace(source, twin, twin)) == ["lineage.baseline_identical", "lineage.baseline_related"]


def test_norms_biases_and_scales_fake_nothing():
    class Scaled(nn.Module):
        def __init__(self, seed):
            super().__init__()
            torch.manual_seed(seed)
            self.body = nn.Conv2d(8, 8, 3)
            self.norm = nn.BatchNorm2d(8)
            self.scale = nn.Parameter(torch.full((64, 1, 1), 5.0))
            self.register_buffer("table", torch.ones(30, 30))

    found = trace(Scaled(0), Scaled(1), stages=["body"], head="fc").stages
    assert [(stage.stage, stage.weights) for stage in found] == [("body", 576)]


def test_small_stages_need_more_than_chance():
    assert StageSimilarity("a", 10_000, 0, None).threshold == RELATED
    assert StageSimilarity("a", 100, 0, None).threshold == pytest.approx(4 / math.sqrt(100))
    tiny_stage = StageSimilarity("a", 9, 0.0, None)
    assert tiny_stage.threshold > 1  # too small to be judged


def test_no_weights_at_all_is_absent_not_zero():
    source, child = wide(), child_of(wide())
    nn.init.zeros_(child.blocks[0].weight)
    lineage = trace(source, child)
    assert lineage.stages[1].finetuned is None
    rows = lineage.table().rows
    assert rows[1]["absent"] == "finetuned: all weights are zero; baseline: none given"
    assert [row["stage"] for row in rows] == STAGES
    assert codes(lineage) == []


@pytest.mark.parametrize(
    ("name", "head", "stages", "expected"),
    [
        ("resnet18", "fc", ["layer1", "layer2", "layer3", "layer4"], ["conv1", "layer1", "layer2", "layer3", "layer4"]),
        (
            "densenet121",
            "classifier",
            [f"features.denseblock{n}" for n in (1, 2, 3, 4)],
            [f"features.denseblock{n}" for n in (1, 2, 3, 4)],
        ),
        (
            "vit_b_32",
            "heads.head",
            [f"encoder.layers.encoder_layer_{n}" for n in range(12)],
            ["conv_proj", "encoder.pos_embedding", *(f"encoder.layers.encoder_layer_{n}" for n in range(12))],
        ),
        (
            "alexnet",
            "classifier.6",
            [f"features.{n}" for n in (0, 3, 6, 8, 10)],
            [*(f"features.{n}" for n in (0, 3, 6, 8, 10)), "classifier"],
        ),
    ],
)
def test_every_matrix_of_the_backbone_is_in_one_group(name, head, stages, expected):
    from tlaudit.models.blueprint import torchvision_blueprint
    from tlaudit.models.lineage import _groups

    module = torchvision_blueprint(name, {}).build(3)
    groups = _groups(module, stages, head)
    assert sorted(groups) == sorted(expected)
    matrices = [
        key for key, p in module.named_parameters() if sum(n > 1 for n in p.shape) >= 2 and not key.startswith(head)
    ]
    assert sorted(key for names in groups.values() for key in names) == sorted(matrices)
