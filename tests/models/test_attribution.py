from __future__ import annotations

import copy
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from torch import nn

import tiny
from tlaudit.errors import ShapeError, UsageError
from tlaudit.models.attribution import METHODS, Attributor, attribution_layer, upsampled
from tlaudit.models.blueprint import torchvision_blueprint
from tlaudit.models.families import FAMILIES, architecture_names, family_of, matches
from tlaudit.models.runtime import Execution
from tlaudit.models.taps import tapped
from tlaudit.models.token_grid import Grid, infer_grid

# The smallest images at which the target stage still has a grid, or that the network takes at all.
SIDES = {"inception": 139, "maxvit": 224, "vit": 224}
HEADS = {"vit": "heads", "swin": "head"} | dict.fromkeys(("googlenet", "inception", "regnet", "resnet"), "fc")


def execution(precision="fp32"):
    return Execution(device=torch.device("cpu"), precision=precision, batch_size=4, workers=0)


def images(count, height, width=None, seed=0):
    return torch.randn(count, 3, height, width or height, generator=torch.Generator().manual_seed(seed))


def explain(module, layer, pixels, classes=None, method="gradcam", precision="fp32"):
    attributor = Attributor(module, layer, method)
    with execution(precision).attribution():
        return attributor(pixels, classes)


def as_the_library_scales(maps, size):
    """Each map to [0, 1], enlarged by OpenCV, and to [0, 1] again."""
    scaled = []
    for one in maps.numpy():
        shifted = one - one.min()
        large = cv2.resize(shifted / (1e-7 + shifted.max()), size[::-1])
        shifted = large - large.min()
        scaled.append(shifted / (1e-7 + shifted.max()))
    return np.stack(scaled)


def by_the_library(module, layer, pixels, classes, arrange):
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    theirs = copy.deepcopy(module).requires_grad_(True)
    # The copy is for in-place ReLUs after the layer, which on the CPU would change what the library keeps.
    cam = GradCAM(theirs, [theirs.get_submodule(layer)], reshape_transform=lambda output: arrange(output).clone())
    return cam(pixels, [ClassifierOutputTarget(int(index)) for index in classes])


def arrangement(family, pixels):
    rows, columns = pixels.shape[-2] // 32, pixels.shape[-1] // 32
    if family == "vit":
        return lambda output: output[:, 1:].reshape(len(output), rows, columns, -1).permute(0, 3, 1, 2)
    if family == "swin":
        return lambda output: output.permute(0, 3, 1, 2)
    return lambda output: output


def state(module):
    """All that must be as it was after an explanation."""
    return (
        [child.training for child in module.modules()],
        [(p.requires_grad, p.grad, p.detach().clone().numpy().tobytes()) for p in module.parameters()],
        [b.numpy().tobytes() for b in module.buffers()],
        [len(child._forward_hooks) + len(child._forward_pre_hooks) for child in module.modules()],
        list(module._modules),
        torch.is_grad_enabled(),
        torch.get_rng_state().numpy().tobytes(),
        np.random.get_state()[1].tobytes(),
    )


class Worked(nn.Module):
    """Two channels that are two of the image's, a ReLU, the mean over space, a linear head."""

    def __init__(self, weights=((1.0, -2.0), (0.0, 0.0))):
        super().__init__()
        self.first = nn.Conv2d(3, 2, 1, bias=False)
        self.rectify = nn.ReLU(inplace=True)
        self.fc = nn.Linear(2, len(weights), bias=False)
        self.first.weight.data = torch.eye(3)[:2, :, None, None].clone()
        self.fc.weight.data = torch.tensor(weights)
        self.eval().requires_grad_(False)

    def forward(self, x):
        return self.fc(self.rectify(self.first(x)).mean(dim=(2, 3)))


@pytest.mark.slow
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_agrees_with_pytorch_grad_cam(family):
    side = SIDES.get(family, 96)
    pixels = images(2, side)
    net = execution().place(tiny.network(tiny.SMALL[family], 7))
    layer = attribution_layer(net, family, "", pixels)
    predicted = explain(net, layer, pixels)
    assert torch.equal(predicted.explained, predicted.logits.argmax(1))
    second = predicted.logits.topk(2).indices[:, 1]
    given = explain(net, layer, pixels, second)
    assert torch.equal(given.explained, second)
    for ours in (predicted, given):
        theirs = by_the_library(net, layer, pixels, ours.explained, arrangement(family, pixels))
        # Where nothing speaks for a class, both say so.
        assert theirs.any(axis=(1, 2)).tolist() == (~ours.dead).tolist()
        np.testing.assert_allclose(as_the_library_scales(ours.maps, (side, side)), theirs, rtol=0, atol=1e-4)
    assert (~predicted.dead | ~given.dead).all(), "an image without any map proves little"


@pytest.mark.parametrize(("family", "size"), [("resnet", (96, 160)), ("swin", (96, 128)), ("densenet", (128, 64))])
def test_agrees_where_images_are_not_square(family, size):
    pixels = images(2, *size)
    net = execution().place(tiny.network(tiny.SMALL[family], 7))
    ours = explain(net, attribution_layer(net, family, "", pixels), pixels)
    assert ours.maps.shape[1:] == (size[0] // 32, size[1] // 32)
    theirs = by_the_library(
        net, attribution_layer(net, family, "", pixels), pixels, ours.explained, arrangement(family, pixels)
    )
    np.testing.assert_allclose(as_the_library_scales(ours.maps, size), theirs, rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", architecture_names())
def test_every_classifier_has_a_layer_with_a_grid(name):
    blueprint, family = torchvision_blueprint(name, {}), family_of(name)
    module = blueprint.build(5).to("meta").eval()
    pixels = torch.empty(1, 3, 224, 224, device="meta")
    layer = attribution_layer(module, family.name, blueprint.heads[0], pixels)
    shapes = []
    with torch.no_grad(), tapped(module, [layer], lambda _, output: shapes.append(output.shape)):
        module(pixels)
    grid = infer_grid(shapes[0], (224, 224))
    assert len(shapes) == 1
    assert 5 <= grid.height == grid.width <= 16
    assert (grid.prefix, grid.channels) == {"vit": (1, 2), "swin": (0, 3)}.get(family.name, (0, 1))


def test_the_last_of_several_matching_layers_is_taken():
    for name, layer in (("vit_l_32", "encoder.layers.encoder_layer_23.ln_1"), ("maxvit_t", "blocks.3")):
        module = torchvision_blueprint(name, {}).build(5)
        assert attribution_layer(module, family_of(name).name, "", images(1, 8)) == layer
    assert not matches("features.1.2", "features.*")


def test_worked_example():
    # Logit 0 is mean(relu(A0)) - 2 mean(relu(A1)). The gradient by A0 is 1/4 in all four cells; by A1 it is -2/4 in the
    # one cell above 0, so -1/8 in the mean. The map is relu(A0 / 4 - A1 / 8).
    pixels = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[4.0, 0.0], [0.0, -8.0]], [[9.0, 9.0], [9.0, 9.0]]]])
    found = explain(Worked(), "first", pixels, torch.tensor([0]))
    torch.testing.assert_close(found.maps, torch.tensor([[[0.0, 0.5], [0.75, 2.0]]]))
    torch.testing.assert_close(found.logits, torch.tensor([[2.5 - 2 * 1.0, 0.0]]))
    assert found.dead.tolist() == [False]


def test_tensors_made_in_inference_mode_will_do():
    with torch.inference_mode():
        pixels, classes = images(2, 12), torch.tensor([1, 2])
    expected = explain(tiny.own(4), "stem", pixels.clone(), classes.clone())
    assert torch.equal(explain(tiny.own(4), "stem", pixels, classes).maps, expected.maps)
    assert explain(tiny.own(4), "stem", pixels, classes, "layercam").maps.any()


def test_is_blind_to_batch_size():
    net, pixels = tiny.network("resnet18", 7), images(5, 96)
    whole = explain(net, "layer4", pixels)
    for index in range(5):
        single = explain(net, "layer4", pixels[index : index + 1])
        torch.testing.assert_close(single.maps, whole.maps[index : index + 1], rtol=1e-4, atol=1e-5)
        assert single.explained == whole.explained[index]


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_gives_nearly_the_same_maps(precision):
    net, pixels = tiny.network("resnet18", 1000), images(2, 96)
    exact = explain(net, "layer4", pixels, torch.tensor([3, 900]))
    rough = explain(net, "layer4", pixels, torch.tensor([3, 900]), precision=precision)
    assert rough.maps.dtype == rough.logits.dtype == torch.float32
    assert not torch.equal(exact.maps, rough.maps)
    torch.testing.assert_close(rough.maps, exact.maps, rtol=0, atol=0.1 * float(exact.maps.max()))


def test_dead_maps_are_counted_and_not_stretched():
    pixels = torch.rand(3, 3, 4, 4, generator=torch.Generator().manual_seed(0)) + 0.1
    pixels[1] = 0.5  # every cell alike: the map is constant above 0
    found = explain(Worked(((2.0, 1.0), (0.0, 0.0))), "first", pixels, torch.tensor([0, 0, 1]))
    assert found.dead.tolist() == [False, True, True]  # class 1 has no weights: its gradient is zero
    assert found.maps[0].max() > 0
    assert not found.maps[1:].any()
    broken = explain(Worked(((float("nan"), 1.0),)), "first", pixels)
    assert broken.maps.isnan().all(), "who asked must see it; a dead map would be left out in silence"
    assert not broken.dead.any()


@pytest.mark.parametrize("method", ["gradcam", "gradcam++", "ablationcam"])
def test_everything_is_as_it_was(method):
    net, pixels = tiny.own(4), images(2, 12)
    net.stem.requires_grad_(False)
    net.fc.weight.grad = torch.ones_like(net.fc.weight)
    net.fc.weight.grad, before_grad = net.fc.weight.grad, net.fc.weight.grad.clone()
    net.blocks[1].train()
    before = state(net)
    explain(net, "blocks.0", pixels, method=method)
    assert str(state(net)) == str(before)
    assert torch.equal(net.fc.weight.grad, before_grad)


def test_everything_is_as_it_was_when_the_network_raises_midway():
    class Failing(tiny.Own):
        def forward(self, x):
            self.blocks[0](self.stem(x)).relu_()
            assert torch.is_grad_enabled(), "the failure must come after the layer"
            raise RuntimeError("midway")

    net = Failing(4).eval()
    before = state(net)
    with torch.no_grad(), pytest.raises(RuntimeError, match="midway"):
        Attributor(net, "stem")(images(2, 12))
    with torch.no_grad(), execution().attribution():
        assert not torch.is_grad_enabled()
        with pytest.raises(RuntimeError, match="midway"):
            Attributor(net, "stem")(images(2, 12))
        assert not torch.is_grad_enabled()
    assert state(net) == before


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_attribution_allows_gradients_at_the_asked_precision(precision, dtype):
    pixels = images(1, 12)
    with execution(precision).attribution():
        scores = tiny.own(4)(pixels)
        assert scores.dtype == dtype
        assert not scores.requires_grad
        assert not scores.is_inference()
        assert not torch.backends.cudnn.allow_tf32
        with torch.enable_grad():
            assert tiny.own(4)(pixels).requires_grad
    assert torch.is_grad_enabled()
    assert torch.backends.cudnn.allow_tf32


def test_taps_come_off_and_may_replace_an_output():
    net, seen = tiny.own(4), []

    def visit(path, output):
        seen.append(path)
        return torch.zeros_like(output) if path == "blocks.1" else None

    with torch.no_grad(), tapped(net, ["stem", "blocks.1"], visit):
        scores = net(images(2, 12))
    assert seen == ["stem", "blocks.1"]
    assert torch.equal(scores, net.fc.bias.detach().expand(2, -1))
    assert not any(child._forward_hooks for child in net.modules())
    with pytest.raises(AttributeError), tapped(net, ["stem", "nowhere"], visit):
        pass
    assert not any(child._forward_hooks for child in net.modules())


@pytest.mark.parametrize(
    ("shape", "size", "grid"),
    [
        ((2, 512, 7, 7), (224, 224), Grid(7, 7, 0, 1)),
        ((2, 7, 7, 768), (224, 224), Grid(7, 7, 0, 3)),
        ((2, 7, 10, 768), (224, 320), Grid(7, 10, 0, 3)),
        ((2, 64, 7, 10), (224, 300), Grid(7, 10, 0, 1)),
        ((2, 7, 7, 7), (224, 224), Grid(7, 7, 0, 1)),
        ((2, 197, 768), (224, 224), Grid(14, 14, 1, 2)),
        ((2, 198, 768), (224, 224), Grid(14, 14, 2, 2)),
        ((2, 196, 768), (224, 224), Grid(14, 14, 0, 2)),
        ((2, 201, 768), (224, 224), Grid(14, 14, 5, 2)),
        ((2, 50, 768), (224, 224), Grid(7, 7, 1, 2)),
        ((2, 145, 768), (384, 384), Grid(12, 12, 1, 2)),
        ((2, 281, 768), (224, 320), Grid(14, 20, 1, 2)),
        ((2, 512, 1, 1), (224, 224), None),
        ((2, 1, 1, 512), (224, 224), None),
        ((2, 0, 7, 7), (224, 224), Grid(7, 7, 0, 1)),
        ((2, 40, 8), (224, 224), None),
        ((2, 512), (224, 224), None),
        ((2, 3, 4, 7, 7), (224, 224), None),
    ],
)
def test_layout_of_an_output(shape, size, grid):
    assert infer_grid(shape, size) == grid
    if grid is not None:
        arranged = grid.arranged(torch.arange(float(np.prod(shape))).reshape(shape))
        channels = shape[1] if grid.channels == 1 else shape[-1]
        assert arranged.shape == (2, channels, grid.height, grid.width)


def test_cells_of_a_token_grid_are_in_reading_order():
    tokens = torch.arange(9.0).reshape(1, 9, 1)
    arranged = Grid(2, 3, 3, 2).arranged(tokens)
    assert arranged[0, 0].tolist() == [[3.0, 4.0, 5.0], [6.0, 7.0, 8.0]]


def transformer(**options):
    timm = pytest.importorskip("timm")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        given = {"patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2, "num_classes": 5} | options
        return tiny.stirred(timm.models.vision_transformer.VisionTransformer(**given))


@pytest.mark.parametrize(
    ("options", "size", "layer", "prefix"),
    [
        ({}, (32, 32), "blocks.1.norm1", 1),
        ({"reg_tokens": 4}, (32, 32), "blocks.1.norm1", 5),
        ({"reg_tokens": 4}, (32, 48), "blocks.1.norm1", 5),
        ({"class_token": False, "global_pool": "avg"}, (48, 32), None, 0),
        ({"qk_norm": True}, (32, 32), "blocks.1.norm1", 1),
    ],
)
@pytest.mark.parametrize("fused", [True, False])
def test_transformers_of_timm(options, size, layer, prefix, fused):
    net, pixels = transformer(img_size=size, **options), images(2, *size)
    for block in net.blocks:
        block.attn.fused_attn = fused  # without it the attention matrix passes through a module
    found = attribution_layer(net, None, "head", pixels)
    assert layer in {found, None}
    ours = explain(net, found, pixels)
    rows, columns = size[0] // 8, size[1] // 8
    assert ours.maps.shape == (2, rows, columns)
    assert not ours.dead.any()

    def arrange(output):
        return output[:, prefix:].reshape(len(output), rows, columns, -1).permute(0, 3, 1, 2)

    theirs = by_the_library(net, found, pixels, ours.explained, arrange)
    np.testing.assert_allclose(as_the_library_scales(ours.maps, size), theirs, rtol=0, atol=1e-4)
    # After the last block's attention only the class token counts; where there is none, every token does.
    assert explain(net, "blocks.1", pixels).dead.all() == bool(prefix)


def test_swin_of_timm_has_its_channels_last():
    timm = pytest.importorskip("timm")
    options = {"img_size": (64, 96), "window_size": 4, "embed_dim": 12, "depths": (1, 2), "num_heads": (2, 2)}
    torch.manual_seed(0)
    net = tiny.stirred(timm.models.swin_transformer.SwinTransformer(num_classes=5, **options))
    pixels = images(2, 64, 96)
    layer = attribution_layer(net, None, "head.fc", pixels)
    assert layer == "norm"
    ours = explain(net, layer, pixels)
    assert ours.maps.shape == (2, 8, 12)
    theirs = by_the_library(net, layer, pixels, ours.explained, lambda output: output.permute(0, 3, 1, 2))
    np.testing.assert_allclose(as_the_library_scales(ours.maps, (64, 96)), theirs, rtol=0, atol=1e-4)


def test_layer_of_a_network_of_no_family():
    net, pixels = tiny.own(4), images(2, 12)
    before = state(net)
    assert attribution_layer(net, None, "fc", pixels) == "blocks.1"
    assert state(net) == before
    with execution().attribution():
        assert attribution_layer(net, None, "fc", pixels) == "blocks.1"
    small = tiny.network("squeezenet1_1", 5)
    assert attribution_layer(small, None, "classifier.1", images(1, 64)) in {"features", "features.12", "classifier.0"}


def test_a_network_without_any_grid_is_told():
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 8), nn.Linear(8, 2)).eval()
    with pytest.raises(UsageError, match="rows and columns and a gradient: give --layer"):
        attribution_layer(flat, None, "2", images(2, 8))


@pytest.mark.parametrize("method", METHODS[1:])
def test_methods_of_the_library(method):
    net, pixels = execution().place(tiny.own(4)), images(2, 12, 16)
    before = state(net)
    first = explain(net, "stem", pixels, torch.tensor([2, 0]), method)
    second = explain(net, "stem", pixels, torch.tensor([2, 0]), method)
    assert state(net) == before
    assert first.maps.shape == (2, 12, 16)
    assert first.maps.dtype == first.logits.dtype == torch.float32
    assert first.explained.tolist() == [2, 0]
    assert torch.equal(first.maps, second.maps)
    assert torch.equal(first.maps.flatten(1).any(1), ~first.dead)
    assert first.maps.min() >= 0
    assert first.maps.max() <= 1
    assert not first.dead.all()
    predicted = explain(net, "stem", pixels, method=method, precision="bf16")
    assert torch.equal(predicted.explained, predicted.logits.argmax(1))


@pytest.mark.parametrize("method", METHODS[1:])
def test_methods_of_the_library_on_tokens(method):
    net, pixels = transformer(img_size=(16, 24), reg_tokens=2), images(2, 16, 24)
    found = explain(net, "blocks.1.norm1", pixels, method=method)
    assert found.maps.shape == (2, 16, 24)
    assert not found.dead.all()


def test_hirescam_of_a_linear_readout_is_our_map():
    # One gradient for all cells: the mean changes nothing, and both methods must say the same.
    net, pixels = Worked(((1.0, 0.5), (-1.0, 1.0))), images(2, 8).abs() + 0.1
    ours = explain(net, "first", pixels, torch.tensor([0, 1]))
    theirs = explain(net, "first", pixels, torch.tensor([0, 1]), "hirescam")
    np.testing.assert_allclose(as_the_library_scales(ours.maps, (8, 8)), theirs.maps, rtol=0, atol=1e-4)


def test_dead_maps_of_the_library_are_counted_and_not_stretched(capsys):
    pixels = images(2, 8).abs() + 0.1
    pixels[1] = 0.5
    net = Worked(((2.0, 1.0), (0.0, 0.0)))
    for method in ("gradcam++", "layercam", "hirescam", "ablationcam"):
        found = explain(net, "first", pixels, torch.tensor([0, 0]), method)
        assert found.dead.tolist() == [False, True], method
        assert not found.maps[1].any()
        assert explain(net, "first", pixels, torch.tensor([1, 1]), method).dead.all(), method
    assert capsys.readouterr() == ("", "")


def test_a_method_of_the_library_that_raises_leaves_the_network_and_itself_alone():
    net, pixels = tiny.own(4), images(1, 12)
    before = state(net)
    attributor = Attributor(net, "stem", "ablationcam")
    with execution().attribution():
        expected = attributor(pixels, torch.tensor([1])).maps
        with pytest.raises(IndexError):
            attributor(pixels, torch.tensor([9]))
        assert torch.equal(attributor(pixels, torch.tensor([1])).maps, expected)
    assert state(net) == before


@pytest.mark.slow
def test_the_library_is_loaded_only_when_asked_for():
    code = "import sys, tlaudit.models.attribution; sys.exit('pytorch_grad_cam' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_upsampling_is_that_of_opencv():
    maps = torch.rand(3, 3, 5, generator=torch.Generator().manual_seed(0))
    expected = np.stack([cv2.resize(one, (40, 24)) for one in maps.numpy()])
    np.testing.assert_allclose(upsampled(maps, (24, 40)), expected, atol=1e-6)
    assert upsampled(maps, (3, 5)) is maps


def test_unknown_names_are_told():
    with pytest.raises(UsageError, match="--layer blocks.2: .*nearest: blocks.1, blocks.0"):
        Attributor(tiny.own(4), "blocks.2")
    with pytest.raises(UsageError, match=r"--method lime: no such method; known are gradcam, gradcam\+\+"):
        Attributor(tiny.own(4), "stem", "lime")


@pytest.mark.parametrize("method", ["gradcam", "layercam"])
def test_layers_that_cannot_be_explained_are_told(method):
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.pool, self.twice = tiny.Own(4), nn.AdaptiveAvgPool2d(1), nn.ReLU()
            self.pair, self.idle, self.cut = Pair(), nn.ReLU(), nn.Identity()

        def forward(self, x):
            pooled = self.pool(self.twice(self.twice(x)))
            x, _ = self.pair(x)
            return self.net(x) + 0 * pooled.mean() + 0 * self.cut(x).detach().mean()

    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    net, pixels = Odd().eval(), images(2, 12)
    for layer, message in {
        "pool": r"layer pool gives \(2, 3, 1, 1\) for images \(2, 3, 12, 12\), which has no spatial extent",
        "net.fc": r"layer net.fc gives \(2, 4\)",
        "pair": "layer pair gives a tuple, expected a tensor",
        "twice": "layer twice runs more than once",
        "idle": "layer idle takes no part",
    }.items():
        with pytest.raises(UsageError, match=message):
            explain(net, layer, pixels, method=method)
    with pytest.raises(UsageError, match="do not depend on layer cut"):
        explain(net, "cut", pixels)


def test_wrong_classes_and_wrong_networks_are_told():
    with pytest.raises(ShapeError, match=r"expected classes \(2,\), one for each image, got \(3,\)"):
        explain(tiny.own(4), "stem", images(2, 12), torch.tensor([0, 1, 2]))
    with pytest.raises(ValueError, match=r"expected logits \(N, K\)"):
        explain(nn.Sequential(nn.Conv2d(3, 4, 1)).eval(), "0", images(2, 12))


def test_a_column_for_every_family():
    assert all(family.attribution for family in FAMILIES)
    assert len(set(METHODS)) == len(METHODS) > 8
