"""`repair` on real photographs: what LDIFS keeps that plain finetuning from the same start loses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from PIL import Image
from torchvision import models
from torchvision.transforms import v2

from tlaudit import load_model
from tlaudit.api import repair
from tlaudit.models.checkpoint import read_checkpoint

REAL = Path(os.environ.get("TLAUDIT_REAL_DATA", "/nonexistent"))
pytestmark = [
    pytest.mark.realdata,
    pytest.mark.slow,
    pytest.mark.skipif(not REAL.is_dir(), reason="TLAUDIT_REAL_DATA does not say where real data lie"),
]
LIMIT = 160


@pytest.fixture(scope="module")
def repaired(tmp_path_factory):
    output = tmp_path_factory.mktemp("repaired") / "net.pth"
    result = repair(
        load_model(str(REAL / "checkpoints" / "squeezenet1_1-imagenet.pth")),
        REAL / "dogs-vs-cats" / "train",
        REAL / "dogs-vs-cats" / "val",
        REAL / "imagenet-samples",
        methods=("lp-ft", "ldifs"),
        output=output,
        execution={"device": "cpu", "workers": 1},
        limit=LIMIT,
        training={"epochs": 2},
        judge={"classes": 10, "per_class": 2},
    )
    return result, output


def test_ldifs_keeps_what_finetuning_from_the_same_start_loses(repaired):
    result, _ = repaired
    values = {one.name: one.value for one in result.measurements}
    assert values["repair.ldifs.source_kept"] >= 0.9
    assert values["repair.lp-ft.source_kept"] < values["repair.ldifs.source_kept"]
    assert values["repair.before.source_kept"] == 1
    assert values["repair.ldifs.target_accuracy"] >= values["repair.lp-ft.target_accuracy"] - 0.03


def test_the_written_network_is_as_good_in_torchvision(repaired):
    result, output = repaired
    path = output.with_name("net.ldifs.pth")
    network = models.squeezenet1_1(num_classes=2)
    network.load_state_dict(torch.load(path, weights_only=True))
    network.eval()
    assert read_checkpoint(path).classes == ("cat", "dog")
    transform = v2.Compose(
        [
            v2.PILToTensor(),
            v2.Resize(256, antialias=True),
            v2.CenterCrop(224),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    right = total = 0
    with torch.inference_mode():
        for index, name in enumerate(("cat", "dog")):
            files = sorted((REAL / "dogs-vs-cats" / "val" / name).glob("*.jpg"))[:100]
            batch = torch.stack([transform(Image.open(file).convert("RGB")) for file in files])
            right += int((network(batch).argmax(dim=1) == index).sum())
            total += len(files)
    assert abs(right / total - result["repair.ldifs.target_accuracy"].value) < 0.05
