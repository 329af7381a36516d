"""A training that takes milliseconds: 22 coloured pictures, a network with batch norm and dropout."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import nn

from tlaudit.data.images import ImageSet
from tlaudit.data.training import TrainingImages
from tlaudit.models.preprocess import Normalizer
from tlaudit.models.runtime import Execution
from tlaudit.options import TrainingOptions
from tlaudit.results import Preprocessing
from tlaudit.training.loop import Training, train
from tlaudit.training.state import SavedState
from tlaudit.training.steps import StepFile

CPU = torch.device("cpu")
SMALL = Preprocessing(resize=8, crop=8, interpolation="bilinear", mean=(0.5,) * 3, std=(0.25,) * 3, origin="test")
EXECUTION = Execution(CPU, "fp32", 8, 0)
CLASSES = ("red", "blue")


class Net(nn.Module):
    def __init__(self, classes=2, dropout=0.0):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(dropout))
        self.fc = nn.Linear(6, classes)

    def forward(self, x):
        return self.fc(self.features(x).mean(dim=(2, 3)))


def net(classes=2, dropout=0.0, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Net(classes, dropout).eval().requires_grad_(False)


def draw(root):
    """22 noisy pictures, one class reddish and one bluish."""
    rng = np.random.default_rng(0)
    for number in range(22):
        values = rng.integers(0, 180, (8, 8, 3), dtype=np.uint8)
        values[..., 2 * (number % 2)] += 60
        place = root / CLASSES[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).save(place / f"{number:02d}.png")
    return root


def images_in(root, **more):
    images = ImageSet.scan(root, labelled=True)
    labels = torch.tensor([CLASSES.index(item.folder) for item in images.items])
    return TrainingImages(images, labels, SMALL, workers=0, **more)


def options(**given):
    return TrainingOptions(**{"epochs": 2, "batch_size": 8, "learning_rate": 0.01, **given})


def training(data, given, network=None, **more):
    return Training(
        network or net(dropout=0.3), data, given, execution=EXECUTION, normalizer=Normalizer(SMALL, CPU), seed=0, **more
    )


def state(module):
    return {key: value.clone() for key, value in module.state_dict().items()}


def same(ours, theirs):
    assert ours.keys() == theirs.keys()
    return all(torch.equal(ours[key], theirs[key]) for key in ours)


def train_safely(folder, place):
    """Train with all that can be saved in a folder, or go on with it: the work of a process that may be killed."""
    torch.set_num_threads(1)
    trained = train(
        net(dropout=0.3),
        images_in(folder),
        options(epochs=20, crop_scale=0.5),
        execution=EXECUTION,
        normalizer=Normalizer(SMALL, CPU),
        seed=0,
        validate=lambda network: float(network.fc.weight.sum()) % 0.1,
        saved=SavedState(place / "a.state", {"epochs": 20}, every=1),
        resume=True,
        step_file=StepFile(place / "a.csv"),
    )
    torch.save(trained.network.state_dict(), place / "done.tmp")
    (place / "done.tmp").rename(place / "done.pth")
