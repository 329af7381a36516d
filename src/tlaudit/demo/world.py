"""The embedded world: what there is in it, what is planted, and where its files lie. Imports no torch.

A network that knows 26 kinds of drawn things, cats and dogs of several breeds among them, is finetuned to tell
cats from dogs. The target images show those same breeds, some of them beside a tennis ball or a ball of wool, and
nothing else that the network knows. So it is known, not estimated, which source classes the target data lack.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tlaudit.errors import InstallationError

WORLD_SEED = 20260131
IMAGE_SIZE = 96


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
    def present(self) -> bool:
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
PRESENT: tuple[str, ...] = tuple(each.name for each in SOURCE_CLASSES if each.present)
"""Planted truth: the source classes that target images show."""
ABSENT: tuple[str, ...] = tuple(each.name for each in SOURCE_CLASSES if not each.present)
"""Planted truth: the source classes that no target image shows."""

TARGET_CLASSES: tuple[str, ...] = ("cat", "dog")
BREEDS: dict[str, tuple[str, ...]] = {"cat": _ROLES[Role.CAT], "dog": _ROLES[Role.DOG]}
COMPANIONS: tuple[str, ...] = _ROLES[Role.COMPANION]
