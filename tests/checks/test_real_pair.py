"""The real pair, ImageNet to dogs-vs-cats, against an implementation that shares no code with this project."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
import torchvision
from torchvision import transforms
from torchvision.datasets import ImageFolder

from tlaudit import lingering, load_pair

pytestmark = [
    pytest.mark.realdata,
    pytest.mark.slow,
    pytest.mark.skipif("TLAUDIT_REAL_DATA" not in os.environ, reason="$TLAUDIT_REAL_DATA is not set"),
]

DATA = Path(os.environ.get("TLAUDIT_REAL_DATA", ""))
CHECKPOINTS = {
    "source": "squeezenet1_1-imagenet.pth",
    "finetuned": "squeezenet1_1-dogs-vs-cats.pth",
    "baseline": "squeezenet1_1-dogs-vs-cats-scratch.pth",
}
FOLDERS = {"source": DATA / "imagenet-samples", "train": DATA / "dogs-vs-cats/train", "val": DATA / "dogs-vs-cats/val"}


@pytest.fixture(scope="module")
def result():
    paths = {role: str(DATA / "checkpoints" / name) for role, name in CHECKPOINTS.items()}
    pair = load_pair(**paths)
    return lingering(pair, FOLDERS["source"], FOLDERS["train"], FOLDERS["val"], k=5, v_lo_count=1)


def network(role, classes, head=None):
    """A torchvision network with the weights of one checkpoint and, if asked, the head of another."""
    net = torchvision.models.squeezenet1_1(num_classes=classes)
    state = torch.load(DATA / "checkpoints" / CHECKPOINTS[role], weights_only=True)
    if head is not None:
        other = torch.load(DATA / "checkpoints" / CHECKPOINTS[head], weights_only=True)
        state |= {name: tensor for name, tensor in other.items() if name.startswith("classifier.1.")}
    net.load_state_dict(state)
    return net.eval()


def predict(folder, *networks):
    """Probabilities of every image, ``(N, K)`` for each network, and the labels."""
    images = ImageFolder(
        folder,
        transforms.Compose(
            [
                transforms.Resize(256),
                transforms.CenterCrop(224),
                transforms.ToTensor(),
                transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
            ]
        ),
    )
    scores = [[] for _ in networks]
    with torch.no_grad():
        for start in range(0, len(images), 25):
            batch = torch.stack([images[index][0] for index in range(start, min(start + 25, len(images)))])
            for net, found in zip(networks, scores, strict=True):
                found.append(net(batch).softmax(1))
    return [torch.cat(found) for found in scores], torch.tensor(images.targets)


def test_agrees_with_an_independent_implementation(result):
    source = network("source", 1000)
    (target,), _ = predict(FOLDERS["train"], source)
    counts = torch.bincount(target.topk(5).indices.flatten(), minlength=1000)
    names = ("source_probability", "hybrid_probability", "control_probability")
    scores, labels = predict(
        FOLDERS["source"], source, network("finetuned", 1000, "source"), network("baseline", 1000, "source")
    )
    assert labels.tolist() == list(range(1000)), "one image for each class, in index order"
    table = result.table("classes")
    assert table["prevalence"].tolist() == counts.tolist()
    for name, probabilities in zip(names, scores, strict=True):
        expected = probabilities[torch.arange(1000), labels]
        assert torch.tensor(table[name]).sub(expected).abs().max() < 1e-4
    absent = counts <= 1
    assert result["source_only.count"].value == int(absent.sum())
    for name, probabilities in (("lingering.count", scores[1]), ("control.lingering_count", scores[2])):
        assert result[name].value == int((absent & (probabilities[torch.arange(1000), labels] > 0.01)).sum())
    for name, probabilities in zip(("source", "hybrid", "control"), scores, strict=True):
        assert result[f"{name}.source_top1"].value == float((probabilities.argmax(1) == labels).double().mean())


def test_accuracies_agree_with_an_independent_implementation(result):
    networks = [network(role, 2) for role in ("finetuned", "baseline")]
    scores, labels = predict(FOLDERS["val"], *networks)
    for name, probabilities in zip(("target.accuracy", "baseline.target_accuracy"), scores, strict=True):
        assert result[name].value == float((probabilities.argmax(1) == labels).double().mean())


def test_tells_the_story(result):
    """Hundreds of classes linger in the finetuned network, next to none in the from-scratch control."""
    assert result["lingering.count"].value > 200
    assert result["control.lingering_count"].value < 10
    assert result["target.accuracy"].value > 0.9
    assert result["source.source_top1"].value == pytest.approx(0.62, abs=0.02)
    assert not [finding for finding in result.findings if finding.severity != "info"]
