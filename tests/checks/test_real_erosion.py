"""`erosion` on the real pair, beside an independent implementation in float64 NumPy."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import models
from torchvision.transforms import v2

from tlaudit import erosion, load_pair

REAL = Path(os.environ.get("TLAUDIT_REAL_DATA", "/nonexistent"))
pytestmark = [
    pytest.mark.realdata,
    pytest.mark.slow,
    pytest.mark.skipif(not REAL.is_dir(), reason="TLAUDIT_REAL_DATA does not say where real data lie"),
]
STAGES, COUNT, BATCH = ("features.3", "features.7", "features.11", "features.12"), 120, 32


@pytest.fixture(scope="module")
def result():
    checkpoints = REAL / "checkpoints"
    pair = load_pair(*(str(checkpoints / f"squeezenet1_1-{name}.pth") for name in ("imagenet", "dogs-vs-cats")))
    how = {"device": "cpu", "batch_size": BATCH, "workers": 1}
    return erosion(pair, REAL / "imagenet-samples", limit=COUNT, execution=how, stages=STAGES, full_matrix=True)


def by_hand(name, classes, result):
    """Features of each minibatch in the documented order, by torchvision's own network and transforms."""
    net = models.squeezenet1_1(num_classes=classes).eval()
    net.load_state_dict(torch.load(REAL / "checkpoints" / f"squeezenet1_1-{name}.pth", weights_only=True))
    prepare = v2.Compose([
        v2.PILToTensor(), v2.Resize(256, antialias=True), v2.CenterCrop(224), v2.ToDtype(torch.float32, scale=True),
        v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ])  # fmt: skip
    from tlaudit.data.images import ImageSet

    files = [item.path for item in ImageSet.scan(REAL / "imagenet-samples", labelled=False, limit=COUNT).items]
    assert len(files) == result.provenance.data["data"].images
    order = torch.randperm(len(files), generator=torch.Generator().manual_seed(0)).tolist()
    images = torch.stack([prepare(Image.open(files[index]).convert("RGB")) for index in order])
    seen = {stage: [] for stage in STAGES}
    for stage in STAGES:
        net.get_submodule(stage).register_forward_hook(lambda _m, _i, out, s=stage: seen[s].append(out.numpy()))
    with torch.no_grad():
        for batch in images.split(BATCH):
            net(batch)
    return seen


def hsic1(k, l):  # noqa: E741
    n = len(k)
    k, l = k - np.diag(np.diag(k)), l - np.diag(np.diag(l))  # noqa: E741
    total = np.trace(k @ l) + k.sum() * l.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (k @ l).sum()
    return total / (n * (n - 3))


def test_cka_and_ranks_of_the_real_pair(result):
    ours, theirs = by_hand("imagenet", 1000, result), by_hand("dogs-vs-cats", 2, result)
    grams = [
        {stage: [x @ x.T for x in (x.reshape(len(x), -1).astype(np.float64) for x in seen[stage])] for stage in STAGES}
        for seen in (ours, theirs)
    ]
    own = [{s: np.mean([hsic1(k, k) for k in of[s]]) for s in STAGES} for of in grams]
    cells = {(row["source_stage"], row["finetuned_stage"]): row["cka"] for row in result.tables["cka_matrix"].rows}
    for one in STAGES:
        for two in STAGES:
            across = np.mean([hsic1(k, m) for k, m in zip(grams[0][one], grams[1][two], strict=True)])
            assert cells[one, two] == pytest.approx(across / np.sqrt(own[0][one] * own[1][two]), abs=1e-4)
    rows = {(row["stage"], row["network"]): row["rank"] for row in result.tables["stages"].rows}
    for network, seen in (("source", ours), ("finetuned", theirs)):
        for stage in STAGES:
            pooled = np.concatenate([x.mean(axis=(2, 3), dtype=np.float64) for x in seen[stage]])
            values = np.linalg.eigvalsh(np.cov(pooled, rowvar=False))[::-1]
            assert rows[stage, network] == (values > 1e-3 * values[0]).sum()


def test_similarity_falls_with_depth(result):
    values = [result[f"erosion.cka.{stage}"].value for stage in STAGES]
    assert values == sorted(values, reverse=True)
    assert values[0] > 0.99
    assert values[-1] < 0.7
    # 120 images bound the ranks of all networks; over all 1000 the lowest ratio is 0.32.
    assert result["erosion.rank_ratio.min"].value < 1
    assert result["erosion.source_accuracy_drop"].interval.low > 0.2
