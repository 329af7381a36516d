"""What the commands under fault work on: networks, pictures and reports so small that a command takes a second."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]

SETTINGS = """
[models]
source = "source.pth"
finetuned = "finetuned.pth"
baseline = "baseline.pth"
arch = "{arch}"

[data]
source = "images"
target = "target"
val = "val"

[preprocess]
resize = 16
crop = 16

[execution]
device = "cpu"
workers = 0
batch_size = 8
cache = false

[lingering]
k = 1
v_lo = 1.0
p_lo = 0.01
bootstrap = 100

[distraction]
layer = "features.3"
per_class = 2
bootstrap = 100
gallery = 1

[erosion]
stages = ["features.0", "features.3"]
bootstrap = 100

[stress]
stages = ["features.0", "features.3"]
ratios = [0.0, 0.5, 1.0]
bootstrap = 100
training = {{ epochs = 1, batch_size = 8 }}

[screen]
lingering = "lingering.json"
per_class = 2
bootstrap = 100

[audit]
checks = ["lingering", "distraction", "erosion"]
"""

REPAIR = """
[models]
source = "source.pth"
arch = "{arch}"

[data]
val = "val"

[preprocess]
resize = 16
crop = 16

[execution]
device = "cpu"
workers = 0
batch_size = 8

[repair]
methods = ["plain", "l2sp"]
train = "target"
save_every = 1
training = {{ epochs = 2, batch_size = 8 }}
judge = {{ bootstrap = 100 }}
"""
"""Without images of the source task, about which much would be asked."""

POLICY = """
[[policy.rules]]
metric = "lingering.fraction"
max = 1.0
severity = "error"
"""


@dataclass(frozen=True)
class World:
    """Networks, pictures and reports in a folder, named relative to it in its ``tlaudit.toml``.

    Attributes:
        root: The folder. Commands run in it.
    """

    root: Path

    @property
    def settings(self) -> Path:
        """The configuration of all commands."""
        return self.root / "tlaudit.toml"

    @property
    def repair(self) -> Path:
        """That of a repair."""
        return self.root / "repair.toml"

    @property
    def policy(self) -> Path:
        """Rules that the report fulfils."""
        return self.root / "policy.toml"

    @property
    def lingering(self) -> Path:
        """Result of `tlaudit lingering`."""
        return self.root / "lingering.json"

    @property
    def other(self) -> Path:
        """The same about another network."""
        return self.root / "other.json"

    @property
    def report(self) -> Path:
        """Report of `tlaudit audit`."""
        return self.root / "audit.json"

    @property
    def demo(self) -> Path:
        """A few pictures of the embedded world, with its networks."""
        return self.root / "demo"


def build(root: Path) -> World:
    """Make the world in a new folder: a few seconds, most of them for importing torch."""
    sys.path[:0] = [str(ROOT / "tests")] * (str(ROOT / "tests") not in sys.path)
    import several
    from hardening import forked

    root.mkdir(parents=True)
    world = World(several.build(root))
    world.settings.write_text(SETTINGS.format(arch=several.ARCH), encoding="utf-8")
    world.repair.write_text(REPAIR.format(arch=several.ARCH), encoding="utf-8")
    world.policy.write_text(POLICY, encoding="utf-8")
    _shrink_demo(world.demo)
    for place, *words in (
        (world.lingering, "lingering"),
        (world.other, "lingering", "--finetuned", "baseline.pth", "--baseline", "finetuned.pth"),
        (world.report, "audit"),
    ):
        process = forked.started([*words, "-q", "-o", str(place)], root / "said.txt", folder=root)
        if status := process.wait(120):
            raise RuntimeError(f"tlaudit {' '.join(words)} ended with {status}: {process.said()}")
    return world


def _shrink_demo(place: Path) -> None:
    """One picture of each class of the embedded world; the networks are links."""
    fixtures = ROOT / "fixtures"
    place.mkdir()
    (place / "checkpoints").symlink_to(fixtures / "checkpoints")
    for folder in ("source", "target/train", "target/val"):
        for name in sorted(entry.name for entry in (fixtures / folder).iterdir()):
            picture = min((fixtures / folder / name).iterdir())
            (place / folder / name).mkdir(parents=True)
            shutil.copy(picture, place / folder / name)
