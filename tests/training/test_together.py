"""Several processes on parts of a batch against one process on the whole batch."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torchvision import models
from torchvision.ops import StochasticDepth

import processes
from tlaudit.distributed import ALONE, Group, joined
from tlaudit.errors import UsageError
from tlaudit.training import together
from tlaudit.training.objective import Part

WHOLE = Part(0, 5, 5)
EXACT = {"rtol": 1e-9, "atol": 1e-11}
"""Of float64, in which all but dropout is compared."""


class Permuted(nn.Module):
    """Dropout of what lies in memory with the images in the middle, as attention leaves it."""

    def __init__(self, dropout: nn.Module) -> None:
        super().__init__()
        self.dropout = dropout

    def forward(self, x):
        return self.dropout(x.flatten(2).permute(2, 0, 1).contiguous().transpose(0, 1))


class Windows(Permuted):
    """Dropout with four rows an image."""

    def forward(self, x):
        return self.dropout(x.reshape(4 * len(x), -1))


class Twice(nn.Module):
    """One batch norm that is used twice, between convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(4, momentum=0.3)
        self.conv = nn.Conv2d(4, 4, 3, bias=False)

    def forward(self, x):
        return self.norm(self.conv(self.norm(x).relu()))


class Acting(nn.BatchNorm2d):
    """A batch norm with a forward method of its own, as timm's."""

    def forward(self, x):
        normalised = nn.functional.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, self.training, self.momentum, self.eps
        )
        return normalised.relu()


class CNN(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Dropout2d(0.2),
            nn.Conv2d(8, 8, 3, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Dropout(0.3),
        )
        self.depth = StochasticDepth(0.4, "row")
        self.fc = nn.Linear(8, 3)

    def forward(self, x):
        x = self.features(x)
        return self.fc((x + self.depth(x)).mean((2, 3)))


def batch(*shape, offset=0.0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(sum(shape))
    return (torch.randn(shape, generator=generator, dtype=torch.float64) + offset).to(dtype)


def stirred(network):
    """Leave nothing constant, so that mixing things up shows, nor to the program's random numbers."""
    generator = torch.Generator().manual_seed(3)
    for tensor in [*network.parameters(), *network.buffers()]:
        if tensor.is_floating_point():
            tensor.data = 0.5 + torch.rand(tensor.shape, generator=generator, dtype=tensor.dtype)
    return network


def normed(total):
    """Networks with batch norms, float64, each with a batch for it."""
    maps = batch(total, 4, 6, 5)
    networks = {
        "rows": (nn.BatchNorm1d(6), batch(total, 6)),
        "series": (nn.BatchNorm1d(4), batch(total, 4, 7)),
        "maps": (nn.BatchNorm2d(4), maps),
        "channels last": (nn.BatchNorm2d(4), maps.to(memory_format=torch.channels_last)),
        "volumes": (nn.BatchNorm3d(2), batch(total, 2, 3, 2, 3)),
        "cumulative": (nn.BatchNorm2d(4, momentum=None), maps),
        "without weights": (nn.BatchNorm2d(4, affine=False), maps),
        "without memory": (nn.BatchNorm2d(4, track_running_stats=False), maps),
        "far from zero": (nn.BatchNorm2d(4), batch(total, 4, 6, 5, offset=1e4)),
        "synchronised already": (nn.SyncBatchNorm(4), maps),
        "own forward": (Acting(4), maps),
        "used twice": (Twice(), maps),
    }
    return {name: (stirred(network.double()), images) for name, (network, images) in networks.items()}


def dropping(total):
    """Networks that draw random numbers, float32, each with a batch for it."""
    maps = batch(total, 4, 6, 5, dtype=torch.float32)
    last = maps.to(memory_format=torch.channels_last)
    return {
        "rows": (nn.Dropout(0.4), batch(total, 37, dtype=torch.float32)),
        "in place": (nn.Sequential(nn.Identity(), nn.Dropout(0.4, inplace=True)), maps),
        "maps": (nn.Dropout(0.1), maps),
        "channels last": (nn.Dropout(0.4), last),
        "permuted": (Permuted(nn.Dropout(0.5)), maps),
        "windows": (Windows(nn.Dropout(0.5)), maps),
        "1d": (nn.Dropout1d(0.5), maps.flatten(2)),
        "2d": (nn.Dropout2d(0.5), last),
        "3d": (nn.Dropout3d(0.5), maps[..., None]),
        "none": (nn.Dropout(0.0), maps),
        "all": (nn.Dropout(1.0), maps),
        "alpha": (nn.AlphaDropout(0.3), last),
        "alpha of channels": (nn.FeatureAlphaDropout(0.3), maps),
        "depth by row": (StochasticDepth(0.5, "row"), maps),
        "depth by batch": (StochasticDepth(0.5, "batch"), maps),
        "one after another": (nn.Sequential(nn.Dropout(0.5), nn.Dropout2d(0.5), nn.Dropout(0.1)), maps),
    }


def passed(network, images, group):
    """Two passes in training mode: last outputs, gradients of images and parameters, buffers; those of the whole."""
    rows = group.part(len(images))
    network = together.prepared(network, group).train()
    together.set_part(network, Part(rows.start, rows.stop, len(images)))
    torch.manual_seed(11)
    network(images[rows] * 2)
    own = images[rows].clone(memory_format=torch.preserve_format).requires_grad_(True)
    outputs = network(own + 0)
    each = outputs.shape[0] // len(own)
    weights = torch.linspace(-1, 1, outputs[0].numel() * each * len(images), dtype=outputs.dtype)
    weights = weights.reshape(each * len(images), *outputs.shape[1:])
    mine = slice(each * rows.start, each * rows.stop)
    (weights[mine] * outputs * outputs).sum().backward()
    gathered = {"outputs": torch.zeros_like(weights), "inputs": torch.zeros_like(images)}
    gathered["outputs"][mine] = outputs.detach()
    gathered["inputs"][rows] = own.grad
    gathered |= {f"gradient {name}": parameter.grad for name, parameter in network.named_parameters()}
    group.sum_(list(gathered.values()))
    return gathered | {f"buffer {name}": buffer.clone() for name, buffer in network.named_buffers()}


def learning(dtype, group, steps=5):
    """Weights and statistics after some steps of AdamW on uneven batches."""
    torch.manual_seed(1)
    network = together.prepared(CNN().to(dtype).to(memory_format=torch.channels_last), group)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01)
    for step in range(steps):
        total = (8, 7, 5, 3, 11)[step]
        images, labels = batch(total, 3, 9, 9, dtype=dtype), torch.arange(total) % 3
        rows = group.part(total)
        together.set_part(network.train(), Part(rows.start, rows.stop, total))
        torch.manual_seed(100 + step)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(images[rows]), labels[rows])
        (loss * ((rows.stop - rows.start) / total)).backward()
        group.sum_([parameter.grad for parameter in network.parameters()])
        optimizer.step()
    return {key: value.clone() for key, value in network.state_dict().items()}


def everything(*totals):
    """All of the above, with the processes there are, for batches of these sizes."""
    with joined("cpu") as (group, _):
        return {total: whole_of(group, int(total)) | others_of(group) for total in totals}


def whole_of(group, total):
    return {
        "normed": {name: passed(*given, group) for name, given in normed(total).items()},
        "dropping": {name: passed(*given, group) for name, given in dropping(total).items()},
        "float64": learning(torch.float64, group),
        "float32": learning(torch.float32, group),
    }


def others_of(group):
    """What several processes do that one does not."""
    network = CNN().requires_grad_(False)
    with torch.no_grad():
        network.fc.bias.fill_(group.rank)
    network = together.prepared(network, group).train()
    images, after = batch(2, 3, 9, 9, dtype=torch.float32), {}
    for name, on in (("off", False), ("again", True)):
        torch.manual_seed(7)
        with together.synchronised(network, on=on):
            together.set_part(network, Part(0, 2, 2))
            after[name] = network(images)
    single = together.prepared(nn.BatchNorm1d(2), group).train()
    together.set_part(single, Part(0, 1, 1))
    with together.synchronised(single, on=False):
        try:
            single(torch.ones(1, 2))
            refused = ""
        except ValueError as error:
            refused = str(error)
    half = together.prepared(nn.BatchNorm2d(4), group).train()
    whole = batch(group.size, 4, 6, 6, dtype=torch.bfloat16)[group.rank :][:1].requires_grad_(True)
    given = half(whole)
    (given.float() ** 3).sum().backward()
    return {
        "spread": network.fc.bias.clone(),
        "off": after["off"],
        "again": after["again"],
        "refused": refused,
        "variance": half.running_var.clone(),
        "types": [str(given.dtype), str(whole.grad.dtype), str(half.weight.grad.dtype)],
    }


@pytest.fixture(scope="module")
def spawned(tmp_path_factory):
    """Results of several processes; starting them is what takes the time."""
    kept = {}

    def of(size):
        if size not in kept:
            totals = ["8", "3"] if size == 3 else ["5"]
            folder = tmp_path_factory.mktemp("several")
            kept[size] = processes.results(size, __file__, "everything", folder, *totals)
        return kept[size]

    return of


CASES = [pytest.param(case, marks=pytest.mark.slow) for case in ((3, 8), (3, 3), (2, 5))]


@pytest.fixture(params=CASES, ids=lambda given: f"{given[1]} in {given[0]}")
def several(request, spawned):
    size, total = request.param
    return SimpleNamespace(size=size, total=total, done=[result[str(total)] for result in spawned(size)])


@pytest.fixture(scope="module")
def alone():
    kept = {}

    def of(total):
        if total not in kept:
            kept[total] = whole_of(ALONE, total)
        return kept[total]

    return of


@pytest.mark.parametrize("name", normed(2))
def test_batch_norm_is_that_of_one_process(several, alone, name):
    expected = alone(several.total)["normed"][name]
    for result in several.done:
        torch.testing.assert_close(result["normed"][name], expected, **EXACT)


@pytest.mark.parametrize("name", dropping(2))
def test_masks_are_those_of_one_process_bit_for_bit(several, alone, name):
    expected = alone(several.total)["dropping"][name]
    for result in several.done:
        torch.testing.assert_close(result["dropping"][name], expected, rtol=0, atol=0)
    if name not in {"none", "all"}:
        assert not torch.equal(expected["outputs"], dropping(several.total)[name][1])


@pytest.mark.parametrize(("precision", "tolerance"), [("float64", 1e-12), ("float32", 1e-6)])
def test_steps_end_at_the_weights_of_one_process(several, alone, precision, tolerance):
    expected = alone(several.total)[precision]
    for result in several.done:
        assert all(torch.equal(result[precision][key], several.done[0][precision][key]) for key in expected)
        for key, value in expected.items():
            off = (result[precision][key] - value).double().norm() / value.double().norm()
            assert off <= tolerance, key


def test_too_small_batches_are_learnt_whole(several):
    network, images = CNN().train(), batch(2, 3, 9, 9, dtype=torch.float32)
    for result in several.done:
        assert torch.equal(result["off"], several.done[0]["off"])
        assert result["refused"].startswith("Expected more than 1 value per channel")
    assert network(images).shape == several.done[0]["off"].shape
    assert not torch.equal(several.done[0]["off"], several.done[0]["again"])


def test_all_begin_with_the_weights_of_rank_zero(several):
    assert all(result["spread"].tolist() == [0.0] * 3 for result in several.done)


def test_half_precision_stays_and_sums_are_taken_in_full(several):
    types = ["torch.bfloat16", "torch.bfloat16", "torch.float32"]
    images = batch(several.size, 4, 6, 6, dtype=torch.bfloat16).double()
    for result in several.done:
        assert result["types"] == types
        expected = 0.9 + 0.1 * images.var((0, 2, 3))
        torch.testing.assert_close(result["variance"].double(), expected, rtol=1e-6, atol=0)


# In one process


class Pretended(Group):
    """A group of which the others are silent: what they would add is nothing."""

    def sum_(self, tensors):
        pass

    def spread_(self, tensors):
        pass


def pretended(network, rank=0, size=2):
    return together.prepared(network, Pretended(rank, size))


def test_alone_a_network_stays_ordinary():
    network = CNN()
    copied = together.prepared(network, ALONE)
    assert [type(module) for module in copied.modules()] == [type(module) for module in network.modules()]
    assert copied is not network


def test_leaves_the_given_network_alone():
    network = CNN().eval().requires_grad_(False)
    kinds, state = [type(module) for module in network.modules()], copy.deepcopy(network.state_dict())
    copied = pretended(network)
    together.set_part(copied.train(), Part(0, 3, 6))
    copied(batch(3, 3, 9, 9, dtype=torch.float32))
    assert kinds == [type(module) for module in network.modules()]
    assert all(torch.equal(state[key], value) for key, value in network.state_dict().items())
    assert not network.training
    together.set_part(network, WHOLE)
    with together.synchronised(network, on=True):
        pass


def test_the_copy_has_the_same_keys_and_kinds():
    network = CNN()
    copied = pretended(network)
    assert list(copied.state_dict()) == list(network.state_dict())
    for ours, theirs in zip(copied.modules(), network.modules(), strict=True):
        assert isinstance(ours, type(theirs))
        assert type(ours).__name__ == type(theirs).__name__
    network.load_state_dict(copied.state_dict())
    assert str(network) == str(copied)
    copy.deepcopy(copied)


@pytest.mark.parametrize("name", [*normed(2), *dropping(2)])
def test_eval_mode_is_ordinary(name):
    network, images = {**dropping(5), **normed(5)}[name]
    copied = pretended(network).eval()
    assert torch.equal(copied(images), network.eval()(images))


def test_synchronised_comes_back_after_an_error():
    copied = pretended(nn.Sequential(nn.Dropout(0.5)), rank=1)
    together.set_part(copied.train(), Part(2, 4, 4))
    images = torch.ones(2, 9)

    def drawn():
        torch.manual_seed(0)
        return copied(images)

    def fails():
        with together.synchronised(copied, on=False):
            inside.append(drawn())
            raise KeyError

    before, inside = drawn(), []
    with pytest.raises(KeyError):
        fails()
    assert torch.equal(drawn(), before)
    torch.manual_seed(0)
    assert torch.equal(inside[0], nn.functional.dropout(images, 0.5))
    torch.manual_seed(0)
    assert torch.equal(before, nn.functional.dropout(torch.ones(4, 9), 0.5)[2:])


def test_refuses_rows_that_are_no_images():
    copied = pretended(nn.Dropout(0.5))
    together.set_part(copied.train(), Part(0, 2, 4))
    with pytest.raises(UsageError, match="7 rows in a step on 2 images"):
        copied(torch.ones(7, 2))


def test_timms_paths_are_dropped_as_in_one_process():
    layers = pytest.importorskip("timm.layers")
    copied = pretended(layers.DropPath(0.5), rank=1)
    together.set_part(copied.train(), Part(4, 7, 7))
    torch.manual_seed(2)
    ours = copied(torch.ones(3, 2, 2))
    torch.manual_seed(2)
    whole = layers.DropPath(0.5).train()(torch.ones(7, 2, 2))
    assert torch.equal(ours, whole[4:])
    assert len(whole.unique()) == 2


def test_part_has_to_be_set():
    with pytest.raises(RuntimeError, match="call set_part"):
        pretended(nn.Dropout(0.5)).train()(torch.ones(2, 2))


def attending(rate):
    return nn.TransformerEncoderLayer(8, 2, 8, dropout=rate, batch_first=True)


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (CNN(), ()),
        (nn.Sequential(nn.BatchNorm1d(2), nn.AlphaDropout(), nn.GELU()), ()),
        (nn.Sequential(nn.Linear(2, 2), attending(0.1)), ("1.self_attn",)),
        (nn.Sequential(attending(0.0)), ()),
        (nn.Sequential(nn.RReLU()), ("0",)),
        (nn.Sequential(nn.LSTM(2, 2, 2, dropout=0.5)), ("0",)),
        (models.densenet._DenseLayer(4, 2, 2, drop_rate=0.2), ("",)),
        (models.swin_transformer.ShiftedWindowAttention(4, [2, 2], [0, 0], 2, attention_dropout=0.1), ("",)),
    ],
    ids=["known", "more known", "attention", "without", "rrelu", "lstm", "densenet", "swin"],
)
def test_names_what_draws_on_its_own(network, expected):
    assert together.unmatched(network) == expected


def test_a_transformer_with_dropout_draws_in_its_attention_alone():
    network = models.VisionTransformer(8, 4, 2, 2, 8, 8, dropout=0.1, attention_dropout=0.2, num_classes=2)
    paths = together.unmatched(network)
    assert paths == tuple(f"encoder.layers.encoder_layer_{n}.self_attention" for n in range(2))


def test_timms_fused_attention_draws_on_its_own():
    layers = pytest.importorskip("timm.layers")
    attention = layers.Attention(8, 2, attn_drop=0.2)
    assert together.unmatched(nn.Sequential(attention)) == (("0",) if attention.fused_attn else ())
    attention.fused_attn = True
    assert together.unmatched(nn.Sequential(attention)) == ("0",)
    assert together.unmatched(nn.Sequential(layers.Attention(8, 2))) == ()
