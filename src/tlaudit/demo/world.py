"""The embedded world: what there is in it, what is planted, and where its files lie. Imports no torch.

A network that knows 26 kinds of drawn things, cats and dogs of several breeds among them, is finetuned to tell
cats from dogs. The target images show those same breeds, some of them with a tennis ball or a ball of wool, and
nothing else that the network knows. So it is known, not estimated, which source classes the target data lack.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tlaudit.errors import InstallationError

SEED = 20260131
IMAGE_SIZE = 96
SOURCE_PICTURES = 10
"""Committed pictures of each source class; the source network was trained on others."""
TRAIN_PICTURES = 120
"""Pictures of each target class that the finetuned network and the baseline were trained on; all are committed."""
VAL_PICTURES = 60


class Role(StrEnum):
    """What a source class has to do with the target data."""

    CAT = "cat"
    DOG = "dog"
    COMPANION = "companion"
    ABSENT = "absent"


@dataclass(frozen=True)
class SourceClass:
    """One class of the source domain; `name` is its folder, its label and the name of its painter."""

    name: str
    role: Role

    @property
    def is_present(self) -> bool:
        """Whether target images show it."""
        return self.role is not Role.ABSENT


_ROLES = {
    Role.CAT: ("siamese_cat", "striped_cat", "tuxedo_cat"),
    Role.DOG: ("beagle", "shaggy_dog", "spotted_dog"),
    Role.COMPANION: ("tennis_ball", "yarn_ball"),
    Role.ABSENT: (
        "alarm_clock", "cactus", "dice", "door_key", "espresso_mug", "guitar", "hot_air_balloon", "ice_cream",
        "light_bulb", "lighthouse", "mushroom", "pencil", "pizza_slice", "sailing_boat", "strawberry", "sunflower",
        "traffic_light", "umbrella",
    ),
}  # fmt: skip

SOURCE_CLASSES: tuple[SourceClass, ...] = tuple(
    sorted((SourceClass(name, role) for role, names in _ROLES.items() for name in names), key=lambda each: each.name)
)
"""The source classes in the order of the source network's outputs."""

SOURCE_NAMES: tuple[str, ...] = tuple(each.name for each in SOURCE_CLASSES)
PRESENT: tuple[str, ...] = tuple(each.name for each in SOURCE_CLASSES if each.is_present)
"""Planted truth: the source classes that target images show."""
ABSENT: tuple[str, ...] = tuple(each.name for each in SOURCE_CLASSES if not each.is_present)
"""Planted truth: the source classes that no target image shows."""

TARGET_CLASSES: tuple[str, ...] = ("cat", "dog")
"""The target classes in the order of the finetuned network's outputs."""
BREEDS: dict[str, tuple[str, ...]] = {"cat": _ROLES[Role.CAT], "dog": _ROLES[Role.DOG]}
"""For each target class, the source classes that its images show."""
COMPANIONS: tuple[str, ...] = _ROLES[Role.COMPANION]
"""Source classes that lie beside the animal in some target images of either class."""

PREVALENCE_K = 1
"""The k of the prevalence that suits this world: a picture shows one thing, or an animal and its toy."""


@dataclass(frozen=True)
class WorldFiles:
    """Where the world's pictures and networks lie.

    Attributes:
        root: Folder that holds them all.
    """

    root: Path

    @property
    def source_data(self) -> Path:
        """One folder of pictures for each of `SOURCE_NAMES`."""
        return self.root / "source"

    @property
    def target_data(self) -> Path:
        """Pictures the finetuned network and the baseline were trained on, a folder for each of `TARGET_CLASSES`."""
        return self.root / "target" / "train"

    @property
    def val_data(self) -> Path:
        """Pictures of the target domain that no network has seen."""
        return self.root / "target" / "val"

    @property
    def source(self) -> Path:
        """The source network, trained from scratch on the source domain."""
        return self.root / "checkpoints" / "source.safetensors"

    @property
    def finetuned(self) -> Path:
        """The source network finetuned on the target data."""
        return self.root / "checkpoints" / "finetuned.safetensors"

    @property
    def baseline(self) -> Path:
        """The same architecture trained on the target data from scratch."""
        return self.root / "checkpoints" / "baseline.safetensors"


def world_root() -> Path:
    """Find the world: inside the installed package, or in the checkout of an editable installation.

    Returns:
        The folder with ``source``, ``target`` and ``checkpoints`` in it.

    Raises:
        InstallationError: If it is in neither place.
    """
    here = Path(__file__).resolve()
    places = (here.parent / "fixtures", here.parents[3] / "fixtures")
    for place in places:
        if WorldFiles(place).source.is_file():
            return place
    raise InstallationError(
        f"the embedded world is missing: expected its files in {places[0]} or {places[1]}. "
        "Install tlaudit again, or run `make fixtures` in a checkout"
    )


def world_files() -> WorldFiles:
    """Give the paths of the world's files.

    Raises:
        InstallationError: If they are not there.
    """
    return WorldFiles(world_root())
