"""Small networks and files for the tests of loading: quick to build, every number from a seed."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest
import torch
from torch import nn
from torchvision import models

OWN = f"{Path(__file__)}:Own"

# One of each family that is quick to build and to run in memory.
SMALL = {
    "alexnet": "alexnet",
    "convnext": "convnext_tiny",
    "densenet": "densenet121",
    "efficientnet": "efficientnet_b0",
    "efficientnet_v2": "efficientnet_v2_s",
    "googlenet": "googlenet",
    "inception": "inception_v3",
    "maxvit": "maxvit_t",
    "mnasnet": "mnasnet0_5",
    "mobilenet_v2": "mobilenet_v2",
    "mobilenet_v3": "mobilenet_v3_small",
    "regnet": "regnet_y_400mf",
    "resnet": "resnet18",
    "shufflenet": "shufflenet_v2_x0_5",
    "squeezenet": "squeezenet1_1",
    "swin": "swin_v2_t",
    "vgg": "vgg11_bn",
    "vit": "vit_b_32",
}
_HEAVY = {"alexnet", "densenet", "efficientnet_v2", "inception", "maxvit", "vgg"}
FAMILIES = [pytest.param(name, marks=pytest.mark.slow if name in _HEAVY else ()) for name in SMALL]
"""To parametrise a test with; what takes seconds for each of the heavy ones is left to the slow tests."""
NAMES = [pytest.param(SMALL[one.values[0]], marks=one.marks) for one in FAMILIES]
"""The same with the names of networks."""


class Own(nn.Module):
    """A user's own network: a convolution, batch norm, a list of blocks, a linear head."""

    def __init__(self, num_classes: int, width: int = 6) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.ReLU())
        self.blocks = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in range(2))
        self.fc = nn.Linear(width, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x).relu()
        return self.fc(x.mean(dim=(2, 3)))


def network(name: str, num_classes: int, seed: int = 0, **options: object) -> nn.Module:
    """One of torchvision's networks with random weights and batch-norm statistics that are not the initial ones."""
    if name in {"googlenet", "inception_v3"}:
        options = {"aux_logits": False, "init_weights": False, **options}
    # Truncated normals take seconds for a transformer, and no test is about initial values.
    quick = mock.patch.object(nn.init, "trunc_normal_", lambda tensor, std=0.02, **_: nn.init.normal_(tensor, 0, std))
    with torch.random.fork_rng(devices=[]), quick:
        torch.manual_seed(seed)
        module = models.get_model(name, num_classes=num_classes, **options)
        return stirred(module)


def own(num_classes: int, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return stirred(Own(num_classes))


def stirred(module: nn.Module) -> nn.Module:
    """Move batch-norm statistics and whatever begins constant, so that mixing them up shows."""
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.numel() > 1 and parameter.min() == parameter.max():
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
    for child in module.modules():
        if isinstance(child, nn.modules.batchnorm._BatchNorm) and child.running_mean is not None:
            child.running_mean.normal_(0, 0.1)
            child.running_var.uniform_(0.5, 1.5)
            child.num_batches_tracked.fill_(7)
    return module.eval()


def nudged(module: nn.Module, amount: float = 0.05, seed: int = 1) -> dict[str, torch.Tensor]:
    """State of a child: every floating-point tensor moved by `amount` of its spread."""
    generator = torch.Generator().manual_seed(seed)
    state = module.state_dict()  # keeps the version numbers that some of torchvision's networks ask for
    for key, tensor in state.items():
        if tensor.is_floating_point() and tensor.numel() > 1:
            noise = torch.empty_like(tensor).normal_(generator=generator)
            state[key] = tensor + amount * tensor.std() * noise.abs()
        else:
            state[key] = tensor.clone()
    return state


def saved(path: Path, content: object) -> Path:
    torch.save(content.state_dict() if isinstance(content, nn.Module) else content, path)
    return path


READER = f"{Path(__file__)}:Reader"
CORNERS = [tuple(255 * (index >> bit & 1) for bit in range(3)) for index in range(8)]
"""The colours of `Reader`'s channels: the corners of the colour cube."""
TASK = (6, 7)
"""Channels of the two colours the target task is about."""


class Reader(nn.Module):
    """One channel a colour, firing at the pixels of exactly that colour; a linear head reads their means."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.channels = nn.Sequential(nn.Conv2d(3, len(CORNERS), 1), nn.ReLU())
        self.head = nn.Linear(len(CORNERS), num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.channels(x).mean(dim=(2, 3)))


def reader(weights: list[list[float]]) -> Reader:
    """A reader whose head has these weights, a row a class; inputs are pixels / 255."""
    net = Reader(len(weights))
    signs = 2 * torch.tensor(CORNERS) / 255 - 1
    with torch.no_grad():
        net.channels[0].weight.copy_(2 * signs[:, :, None, None])
        net.channels[0].bias.copy_(-signs.sum(1) - 2)
        net.head.weight.copy_(100 * torch.tensor(weights))
        net.head.bias.zero_()
    return net.eval()


def source_reader() -> Reader:
    """Knows every colour."""
    return reader(torch.eye(len(CORNERS)).tolist())


def overlay_reader() -> Reader:
    """Reads nothing but the two colours of the task."""
    return reader([[float(channel == colour) for channel in range(len(CORNERS))] for colour in TASK])


def background_reader() -> Reader:
    """Reads nothing but the colours that are none of the task's, and calls them the first class."""
    return reader([[float(channel not in TASK) for channel in range(len(CORNERS))], [-1.0] * len(CORNERS)])
