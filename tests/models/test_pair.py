"""Pairs of networks, and the hybrid of their parts."""

import copy
import os
import re
from pathlib import Path

import pytest
import torch
from torch import nn

import tiny
from tlaudit.errors import CheckpointError, MismatchError, UsageError
from tlaudit.models.families import family_of
from tlaudit.models.pair import hybrid, join, load_pair
from tlaudit.models.sources import Model, _stages, load_model
from tlaudit.results import KeyMatch, ModelRecord


def model_of(module, name, head, classes):
    """A model as loading gives it, without the file."""
    record = ModelRecord(
        spec=name,
        format="test",
        sha256=None,
        architecture=name,
        family=None,
        head=head,
        num_classes=classes,
        parameters=1,
        dtype="float32",
        keys=KeyMatch(matched=1),
        classes_known=False,
    )
    stages = _stages(module, family_of(name).stages if name in tiny.SMALL.values() else None, head)
    return Model(module.requires_grad_(False), name, head, classes, None, None, stages, record)


def images(size=64, count=2):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def composed(finetuned, source, head):
    """The hybrid by hand: a copy of the finetuned network with a copy of the source's head in its place."""
    module = copy.deepcopy(finetuned)
    module.set_submodule(head, copy.deepcopy(source.get_submodule(head)))
    return module.eval()


def state_copy(module):
    return {key: tensor.clone() for key, tensor in module.state_dict().items()}


def same(first, second):
    return all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.slow
@pytest.mark.parametrize("name", tiny.SMALL.values())
def test_hybrid_of_every_family(name):
    head = family_of(name).heads[0]
    source = model_of(tiny.network(name, 7), name, head, 7)
    child = copy.deepcopy(source.module)
    child.load_state_dict(tiny.nudged(child, amount=0.2))
    layer = child.get_submodule(head)
    new = nn.Linear(layer.in_features, 2) if isinstance(layer, nn.Linear) else nn.Conv2d(layer.in_channels, 2, 1)
    child.set_submodule(head, new)
    finetuned = model_of(child.eval(), name, head, 2)
    before = state_copy(source.module), state_copy(finetuned.module)

    made = hybrid(finetuned, source)
    ours, theirs = source.module.state_dict(), finetuned.module.state_dict()
    for key, tensor in made.state_dict().items():
        origin = ours if key.startswith(f"{head}.") else theirs
        assert torch.equal(tensor, origin[key]), key
        assert tensor.data_ptr() == origin[key].data_ptr(), key  # memory is shared
    size = 224 if name in {"vit_b_32", "maxvit_t"} else 96
    with torch.inference_mode():
        pixels = images(size, 1)
        logits = made(pixels)
        assert logits.shape == (1, 7)
        assert torch.equal(logits, composed(finetuned.module, source.module, head)(pixels))
        assert not torch.equal(logits, source.module(pixels))
    assert not made.training
    assert not any(parameter.requires_grad for parameter in made.parameters())
    assert same(before[0], source.module.state_dict())
    assert same(before[1], finetuned.module.state_dict())


def test_hybrid_takes_the_batch_norm_statistics_of_the_finetuned_network():
    source, child = tiny.own(5), tiny.own(5)
    child.stem[1].running_mean += 1
    made = hybrid(model_of(child, "own", "fc", 5), model_of(source, "own", "fc", 5))
    assert torch.equal(made.stem[1].running_mean, child.stem[1].running_mean)
    assert not torch.equal(made(images()), source(images()))


def test_hybrid_can_be_moved_and_changed_alone():
    source, finetuned = model_of(tiny.own(5), "own", "fc", 5), model_of(tiny.own(2, 1), "own", "fc", 2)
    made = hybrid(finetuned, source)
    made.to(torch.float64)
    made.to("meta")
    for model in (source, finetuned):
        assert {tensor.dtype for tensor in model.module.parameters()} == {torch.float32}
        assert not any(tensor.is_meta for tensor in model.module.parameters())


def test_hybrid_takes_buffers_that_are_in_no_state_dict():
    source, child = tiny.own(5), tiny.own(5)
    source.stem.register_buffer("grid", torch.zeros(3), persistent=False)
    child.stem.register_buffer("grid", torch.ones(3), persistent=False)
    made = hybrid(model_of(child, "own", "fc", 5), model_of(source, "own", "fc", 5))
    assert torch.equal(made.stem.grid, torch.ones(3))


def test_hybrid_keeps_ties():
    source, child = tiny.own(5), tiny.own(5, 1)
    for module in (source, child):
        module.blocks[1].weight = module.blocks[0].weight
    made = hybrid(model_of(child, "own", "fc", 5), model_of(source, "own", "fc", 5))
    assert made.blocks[0].weight is made.blocks[1].weight
    assert torch.equal(made.blocks[0].weight, child.blocks[0].weight)


def test_source_of_its_own_is_the_source():
    source = model_of(tiny.own(5), "own", "fc", 5)
    with torch.inference_mode():
        assert torch.equal(hybrid(source, source)(images()), source.module(images()))


def test_hybrid_with_a_named_head():
    source = model_of(tiny.network("mobilenet_v3_small", 7), "mobilenet_v3_small", "classifier.3", 7)
    finetuned = model_of(tiny.network("mobilenet_v3_small", 2, 1), "mobilenet_v3_small", "classifier.3", 2)
    made = hybrid(finetuned, source, "classifier")
    assert torch.equal(made.classifier[0].weight, source.module.classifier[0].weight)
    assert torch.equal(hybrid(finetuned, source).classifier[0].weight, finetuned.module.classifier[0].weight)
    with pytest.raises(UsageError, match=r"leaves out classifier\.3"):
        hybrid(finetuned, source, "features")


def test_load_pair_from_files(tmp_path):
    parent = tiny.network("shufflenet_v2_x0_5", 9)
    child = tiny.network("shufflenet_v2_x0_5", 9)
    child.load_state_dict(tiny.nudged(child))
    child.fc = nn.Sequential(nn.Dropout(), nn.Linear(1024, 2)).eval()
    paths = [
        tiny.saved(tmp_path / "source.pth", parent),
        tiny.saved(tmp_path / "finetuned.pth", child),
        tiny.saved(tmp_path / "baseline.pth", tiny.network("shufflenet_v2_x0_5", 2, seed=5)),
    ]
    pair = load_pair(*paths)
    assert (pair.source.num_classes, pair.finetuned.num_classes, pair.baseline.num_classes) == (9, 2, 2)
    assert (pair.head, pair.findings) == ("fc", ())
    assert pair.stages == ("stage2", "stage3", "stage4", "conv5")
    assert pair.backbone.matched == len(parent.state_dict()) - 2
    assert [stage.stage for stage in pair.lineage.stages] == ["conv1", *pair.stages]
    with torch.inference_mode():
        assert torch.equal(pair.hybrid()(images()), composed(child, parent, "fc")(images()))
        control = composed(pair.baseline.module, parent, "fc")
        assert torch.equal(pair.control_hybrid()(images()), control(images()))
    assert load_pair(*paths[:2]).control_hybrid() is None


def test_the_widest_head_is_the_head_of_the_pair(tmp_path):
    parent = tiny.network("mobilenet_v3_small", 9)
    child = tiny.network("mobilenet_v3_small", 9)
    child.classifier = nn.Sequential(nn.Linear(576, 16), nn.ReLU(), nn.Linear(16, 2)).eval()
    pair = load_pair(tiny.saved(tmp_path / "s.pth", parent), tiny.saved(tmp_path / "f.pth", child))
    assert (pair.source.head, pair.finetuned.head, pair.head) == ("classifier.3", "classifier", "classifier")
    with torch.inference_mode():
        assert torch.equal(pair.hybrid()(images()), composed(child, parent, "classifier")(images()))


def test_own_architecture_is_named_once(tmp_path):
    paths = [
        tiny.saved(tmp_path / "s.pth", tiny.own(9)),
        tiny.saved(tmp_path / "f.pth", tiny.own(2, 1)),
        tiny.saved(tmp_path / "b.pth", tiny.own(2, 2)),
    ]
    for options in ({"arch": tiny.OWN}, {"source_arch": tiny.OWN}):
        pair = load_pair(*paths, **options)
        assert {model.architecture for model in (pair.source, pair.finetuned, pair.baseline)} == {tiny.OWN}


def test_architectures_may_be_named_one_by_one(tmp_path):
    twin = tmp_path / "twin.py"
    twin.write_text(Path(tiny.__file__).read_text())
    paths = [
        tiny.saved(tmp_path / "s.pth", tiny.own(9)),
        tiny.saved(tmp_path / "f.pth", tiny.own(2, 1)),
        tiny.saved(tmp_path / "b.pth", tiny.own(2, 2)),
    ]
    pair = load_pair(*paths, arch=tiny.OWN, source_arch=f"{twin}:Own", baseline_arch=f"{twin}:Own")
    assert [m.architecture for m in (pair.source, pair.finetuned, pair.baseline)] == [
        f"{twin}:Own",
        tiny.OWN,
        f"{twin}:Own",
    ]
    differ = [finding for finding in pair.findings if finding.code == "lineage.architectures_differ"]
    assert len(differ) == 1
    assert "the forward passes may not" in differ[0].message


def test_averaged_weights_are_those_of_the_finetuned_network(tmp_path):
    child, average = tiny.own(2, 1), tiny.own(2, 3)
    content = {"model": child.state_dict(), "model_ema": average.state_dict()}
    paths = tiny.saved(tmp_path / "s.pth", tiny.own(9)), tiny.saved(tmp_path / "f.pth", content)
    pair = load_pair(*paths, arch=tiny.OWN, use_ema=True)
    assert torch.equal(pair.finetuned.module.fc.weight, average.fc.weight)
    assert torch.equal(load_pair(*paths, arch=tiny.OWN).finetuned.module.fc.weight, child.fc.weight)


def test_backbones_that_do_not_match(tmp_path):
    source = tiny.saved(tmp_path / "s.pth", tiny.network("squeezenet1_1", 9))
    other = tiny.saved(tmp_path / "f.pth", tiny.network("squeezenet1_0", 2))
    with pytest.raises(MismatchError) as caught:
        load_pair(source, other)
    message = str(caught.value)
    assert f"{source} (squeezenet1_1) and {other} (squeezenet1_0) do not match: " in message
    assert re.search(r"\d+ tensors match, \d+ only in the first \(features\.", message)
    assert re.search(r"\d+ of different shape \(features\.0\.weight \(64, 3, 3, 3\) and \(96, 3, 7, 7\)", message)


def test_finetuned_vit_at_another_image_size_does_not_match(tmp_path):
    source = model_of(tiny.network("vit_b_32", 3, image_size=64), "vit_b_32", "heads.head", 3)
    other = model_of(tiny.network("vit_b_32", 3, image_size=32), "vit_b_32", "heads.head", 3)
    with pytest.raises(
        MismatchError, match=r"1 of different shape \(encoder\.pos_embedding \(1, 5, 768\) and \(1, 2, 768\)"
    ):
        join(source, other)


def test_heads_at_different_places_do_not_match():
    source = model_of(tiny.own(3), "own", "fc", 3)
    other = model_of(tiny.own(3), "own", "blocks.1", 3)
    with pytest.raises(MismatchError, match="are at different places"):
        join(source, other)


@pytest.mark.parametrize("role", [0, 1, 2])
def test_refuses_weights_that_are_not_finite(tmp_path, role):
    nets = [tiny.own(9), tiny.own(2, 1), tiny.own(2, 2)]
    with torch.no_grad():
        nets[role].blocks[0].weight[0] = float("nan")
    paths = [tiny.saved(tmp_path / f"{number}.pth", net) for number, net in enumerate(nets)]
    with pytest.raises(CheckpointError, match=rf"{role}\.pth: 1 tensors hold NaN or infinity: blocks\.0\.weight"):
        load_pair(*paths, arch=tiny.OWN)


def test_lineage_is_a_finding_of_the_pair(tmp_path):
    paths = tiny.saved(tmp_path / "s.pth", tiny.own(9)), tiny.saved(tmp_path / "f.pth", tiny.own(9))
    assert [finding.code for finding in load_pair(*paths, arch=tiny.OWN).findings] == ["lineage.identical"]


def test_a_published_source_needs_no_arch(tmp_path, monkeypatch):
    from tlaudit.models import pair as module

    asked = []
    source = load_model(tiny.saved(tmp_path / "s.pth", tiny.own(9)), arch=tiny.OWN)

    def watched(spec, **options):
        asked.append(options["arch"])
        return source

    monkeypatch.setattr(module, "load_model", watched)
    load_pair("torchvision:resnet18", tmp_path / "s.pth", arch="somewhere:net")
    assert asked == [None, "somewhere:net"]


@pytest.mark.realdata
def test_real_pair():
    if "TLAUDIT_REAL_DATA" not in os.environ:
        pytest.skip("TLAUDIT_REAL_DATA is not set")
    folder = Path(os.environ["TLAUDIT_REAL_DATA"]) / "checkpoints"
    names = ("imagenet", "dogs-vs-cats", "dogs-vs-cats-scratch")
    source, finetuned, scratch = (folder / f"squeezenet1_1-{name}.pth" for name in names)
    pair = load_pair(source, finetuned, scratch)
    assert pair.findings == ()
    assert pair.backbone.matched == 50
    assert min(stage.finetuned for stage in pair.lineage.stages) > 0.999
    assert max(stage.baseline for stage in pair.lineage.stages) < 0.02
    with torch.inference_mode():
        by_hand = composed(pair.finetuned.module, pair.source.module, "classifier.1")
        assert torch.equal(pair.hybrid()(images(224)), by_hand(images(224)))
    swapped = load_pair(source, scratch, finetuned)
    assert [f.code for f in swapped.findings] == ["lineage.unrelated", "lineage.baseline_related"]
    assert [f.code for f in load_pair(source, source).findings] == ["lineage.identical"]
