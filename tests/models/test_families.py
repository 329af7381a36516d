"""A contract over every classifier that torchvision has, so that a new one cannot slip in unseen."""

import re

import pytest
import torch
from torch import nn
from torchvision import models

import tiny
from tlaudit.models.blueprint import TEMPLATE_CLASSES, torchvision_blueprint
from tlaudit.models.construction import outline, shapes_of, undisturbed
from tlaudit.models.families import FAMILIES, architecture_names, family_of, members_of
from tlaudit.models.fitting import fit, realise
from tlaudit.models.heads import within
from tlaudit.models.sources import _stages
from tlaudit.models.unwrap import Reading

NAMES = architecture_names()


def test_every_name_belongs_to_exactly_one_family():
    assert len(NAMES) == len(models.list_models(module=models)) >= 80
    for name in NAMES:
        assert [family.name for family in FAMILIES if re.fullmatch(family.members, name)] == [family_of(name).name]
    assert {name for family in FAMILIES for name in members_of(family)} == set(NAMES)
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)
    with pytest.raises(KeyError, match="no family"):
        family_of("fcn_resnet50")


@pytest.mark.parametrize("name", NAMES)
def test_blueprint_holds(name):
    blueprint, family = torchvision_blueprint(name, {}), family_of(name)
    assert all(marker in blueprint.template for marker in family.markers)
    assert not any(blueprint.is_auxiliary(key) for key in blueprint.template)

    module = blueprint.build(TEMPLATE_CLASSES)
    head = module.get_submodule(blueprint.heads[0])
    assert isinstance(head, nn.Linear | nn.Conv2d)
    assert head.weight.shape[0] == TEMPLATE_CLASSES
    follows = {key for key, shape in blueprint.template.items() if TEMPLATE_CLASSES in shape}
    assert follows == {key for key in blueprint.template if within(key, blueprint.heads[0])}
    for wide, narrow in zip(blueprint.heads[1:], blueprint.heads, strict=False):
        assert within(narrow, wide)
        assert isinstance(module.get_submodule(wide), nn.Sequential)

    stages = _stages(module, family.stages, blueprint.heads[0])
    assert len(stages) >= 3
    order = [path for path, _ in module.named_modules()]
    assert [order.index(stage) for stage in stages] == sorted(order.index(stage) for stage in stages)
    assert not any(within(stage, head) for stage in stages for head in blueprint.heads)


def test_no_two_architectures_look_alike():
    seen = {}
    for name in NAMES:
        template, heads = torchvision_blueprint(name, {}).template, family_of(name).heads
        backbone = frozenset((key, shape) for key, shape in template.items() if not within(key, heads[-1]))
        assert backbone not in seen, f"{name} and {seen.get(backbone)} cannot be told apart without their heads"
        seen[backbone] = name


def test_there_is_a_small_one_of_every_family():
    assert {family.name: family_of(tiny.SMALL[family.name]).name for family in FAMILIES} == {n: n for n in tiny.SMALL}


@pytest.mark.parametrize("name", tiny.SMALL.values())
def test_built_without_memory_computes_what_torchvision_computes(name):
    reference = tiny.network(name, 5)
    state = reference.state_dict()
    blueprint = torchvision_blueprint(name, shapes_of(reference))
    found = fit(Reading(state, ()), blueprint)
    assert found.is_exact
    assert (found.num_classes, found.matched, found.plan) == (5, len(state), None)
    module, _ = realise(found, "f")
    assert not module.training
    assert not any(parameter.requires_grad for parameter in module.parameters())
    size = 224 if name == "vit_b_32" or name == "maxvit_t" else 96
    with torch.inference_mode():
        pixels = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
        assert torch.equal(module(pixels), reference(pixels))


def test_outline_needs_no_memory_and_keeps_values_that_are_computed_with():
    module = outline(lambda: models.regnet_y_128gf())
    assert all(parameter.is_meta for parameter in module.parameters() if parameter.dim() > 1)
    assert shapes_of(module)["fc.weight"] == (1000, 7392)


def test_building_leaves_random_numbers_alone():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    outline(lambda: models.vit_b_32())
    with undisturbed():
        torch.rand(5)
    assert torch.equal(torch.rand(2), expected)


@pytest.mark.parametrize(
    ("positions", "patch", "expected"),
    [
        ((1, 50, 768), (768, 3, 32, 32), {"image_size": 224}),
        ((1, 145, 768), (768, 3, 32, 32), {"image_size": 384}),
        ((1, 51, 768), (768, 3, 32, 32), {}),
        ((1, 50, 768), (768, 3, 14, 14), {}),
        ((1, 1, 768), (768, 3, 32, 32), {}),
        ((), (), {}),
    ],
)
def test_image_size_of_a_vit(positions, patch, expected):
    shapes = {"encoder.pos_embedding": positions, "conv_proj.weight": patch}
    assert family_of("vit_b_32").sized(shapes, torchvision_blueprint("vit_b_32", {}).template) == expected
