"""Distraction on the real pair, recomputed by pytorch-grad-cam from the pictures and the manifest that were saved."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
from PIL import Image
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

from tlaudit import distraction, lingering, load_pair

pytestmark = [
    pytest.mark.realdata,
    pytest.mark.slow,
    pytest.mark.skipif("TLAUDIT_REAL_DATA" not in os.environ, reason="$TLAUDIT_REAL_DATA is not set"),
]

DATA = Path(os.environ.get("TLAUDIT_REAL_DATA", ""))
CHECKPOINTS = {
    "source": ("squeezenet1_1-imagenet.pth", 1000),
    "finetuned": ("squeezenet1_1-dogs-vs-cats.pth", 2),
    "baseline": ("squeezenet1_1-dogs-vs-cats-scratch.pth", 2),
}
MEAN = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
STD = torch.tensor([0.229, 0.224, 0.225])[:, None, None]


@pytest.fixture(scope="module")
def audit(tmp_path_factory):
    """The result, the folder of composites and the rows, of the 30 best recognised lingering classes of a sample."""
    folder = tmp_path_factory.mktemp("real")
    pair = load_pair(*(DATA / "checkpoints" / name for name, _ in CHECKPOINTS.values()))
    data = (DATA / "imagenet-samples", DATA / "dogs-vs-cats/train")
    known = lingering(pair, *data, limit=300, v_lo_count=1)
    files = {"save_composites": folder / "composites", "save_rows": folder / "rows.csv"}
    result = distraction(
        pair, *data, lingering=known, limit=300, per_class=3, max_classes=30, common_classes=2, **files
    )
    return result, folder / "composites", pd.read_csv(folder / "rows.csv").set_index("id")


def recomputed(folder):
    nets = {}
    for role, (name, classes) in CHECKPOINTS.items():
        nets[role] = torchvision.models.squeezenet1_1(num_classes=classes).eval()
        nets[role].load_state_dict(torch.load(DATA / "checkpoints" / name))
    cams = {role: GradCAM(net, [net.features[-1]]) for role, net in nets.items()}
    with (folder / "composites.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        pixels = torch.tensor(np.asarray(Image.open(folder / row["file"]))).permute(2, 0, 1) / 255
        image = ((pixels - MEAN) / STD)[None]
        x, y, width, height = (int(row[name]) for name in ("x", "y", "width", "height"))
        region = np.ones((224, 224), bool)
        region[y : y + height, x : x + width] = False
        top, right = {}, {}
        for role, cam in cams.items():
            with torch.no_grad():
                predicted = int(nets[role](image).argmax())
            explained = int(row["class_index"]) if role == "source" else predicted
            heat = cam(input_tensor=image, targets=[ClassifierOutputTarget(explained)])[0]
            top[role] = region & (heat > np.percentile(heat[region], 80))
            right[role] = predicted == ("cat", "dog").index(row["target_label"])
        for role in ("finetuned", "baseline"):
            value = (top[role] & top["source"]).sum() / (top[role] | top["source"]).sum()
            yield row["id"], role, value, right[role]


def test_values_are_those_of_an_independent_implementation(audit):
    result, folder, rows = audit
    found = list(recomputed(folder))
    assert len(found) == 2 * len(rows) == 2 * 3 * 32
    differences = [abs(rows.loc[key, f"{role}_distraction"] - value) for key, role, value, _ in found]
    assert np.mean(np.array(differences) <= 0.02) >= 0.99
    for role, name in (("finetuned", "distraction.mean"), ("baseline", "distraction.baseline_mean")):
        values = {key: value for key, of, value, _ in found if of == role and rows.loc[key, "kind"] == "lingering"}
        by_class = pd.Series(values).groupby(lambda key: key.split("-")[0]).mean()
        assert result[name].value == pytest.approx(by_class.mean(), abs=0.002)
    for key, role, _, right in found:
        assert rows.loc[key, f"{role}_right"] == right


def test_the_finetuned_network_is_distracted_more(audit):
    result, _, _ = audit
    assert result["distraction.mean"].value > result["distraction.baseline_mean"].value
    assert result["distraction.mean"].value > result["distraction.null_mean"].value
