"""Which class of a network a folder shows: by index, name, WordNet id, the user's map, or, failing all, by order."""

from __future__ import annotations

import difflib
import functools
import importlib.resources
import logging
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

from tlaudit.data.class_map import read_class_map
from tlaudit.data.folders import printable, shortened
from tlaudit.errors import ClassMatchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from tlaudit.data.class_map import Entry

log = logging.getLogger(__name__)

How = Literal["class map", "index", "name", "wordnet id", "sorted order"]

SHOWN = 10
"""So many folders are named for each thing that is wrong with them."""

_MOST_DIGITS = 9
"""Longer numbers are no class index; Python refuses to read very long ones."""

_IMAGENET_CLASSES = 1000
_IMAGENET_AGREEMENT = 0.9
"""Lists of ImageNet's names differ in a few; from this share of equal names in equal places on it is ImageNet."""

_IMAGENET_HOMONYMS = {134: "crane", 639: "maillot"}
"""ImageNet gives two classes the name "crane" and two "maillot"; torchvision renamed one of each."""


@functools.cache
def imagenet_wordnet_ids() -> tuple[str, ...]:
    """WordNet ids of the 1000 ImageNet classes, in index order."""
    file = importlib.resources.files("tlaudit.data").joinpath("imagenet_wordnet_ids.txt")
    return tuple(file.read_text(encoding="ascii").split())


@functools.cache
def imagenet_names() -> tuple[str, ...]:
    """Names of the 1000 ImageNet classes in index order, as torchvision writes them."""
    from torchvision.models import ResNet18_Weights  # takes a second, and few commands need it

    return tuple(ResNet18_Weights.IMAGENET1K_V1.meta["categories"])


@dataclass(frozen=True)
class ClassNames:
    """The classes of a network and what they are called.

    Attributes:
        count: Number of classes K.
        names: A name for each class in index order; None if unknown.
        wordnet_ids: The same for WordNet ids; None unless these are the ImageNet classes.
        assumed: Whether the names are a guess: 1000 classes of which nothing is known are taken for ImageNet's.
    """

    count: int
    names: tuple[str, ...] | None = None
    wordnet_ids: tuple[str, ...] | None = None
    assumed: bool = False

    @classmethod
    def of_model(cls, count: int, names: Sequence[str] | None = None) -> Self:
        """Name the classes of a network.

        Args:
            count: Number of classes.
            names: What the checkpoint says they are called, in index order; None if it says nothing.

        Raises:
            ClassMatchError: If there are more or fewer names than classes.
        """
        if names is not None and len(names) != count:
            raise ClassMatchError(f"the checkpoint names {len(names)} classes, but the network has {count}")
        if count == _IMAGENET_CLASSES and (names is None or _is_imagenet(names)):
            known = None if names is None or tuple(names) == imagenet_wordnet_ids() else tuple(names)
            return cls(count, known or imagenet_names(), imagenet_wordnet_ids(), assumed=names is None)
        return cls(count, None if names is None else tuple(names))

    def display(self, index: int) -> str:
        """Give the name of a class, or its index where it has none."""
        return str(index) if self.names is None else self.names[index]

    def wordnet_id(self, index: int) -> str | None:
        """Give the WordNet id of a class, or None where it is unknown."""
        return None if self.wordnet_ids is None else self.wordnet_ids[index]

    @functools.cached_property
    def _by_name(self) -> dict[str, list[int]]:
        """Classes by the normalised names under which folders are known here: as they are printed."""
        return self._spelt(printable)

    @functools.cached_property
    def _by_raw_name(self) -> dict[str, list[int]]:
        """Classes by normalised name as the checkpoint writes it, which a user's map may repeat."""
        return self._spelt(str)

    def _spelt(self, spell: Callable[[str], str]) -> dict[str, list[int]]:
        """Classes by name, and by each part of a name that lists synonyms ("tench, Tinca tinca")."""
        table: dict[str, list[int]] = defaultdict(list)
        for index, name in enumerate(self.names or ()):
            spellings = {_normalise(spell(spelling)) for spelling in (name, *name.split(", "))}
            if self.wordnet_ids is not None and index in _IMAGENET_HOMONYMS:
                spellings.add(_IMAGENET_HOMONYMS[index])
            for spelling in spellings:
                table[spelling].append(index)
        return dict(table)

    def find(self, text: str) -> dict[int, How]:
        """Find the classes a text may mean, as an index, a name or a WordNet id; by index, how it was found."""
        found: dict[int, How] = {}
        if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS and int(text) < self.count:
            found[int(text)] = "index"
        key = _normalise(text)
        for index in self._by_name.get(key) or self._by_raw_name.get(key) or ():
            found.setdefault(index, "name")
        if self.wordnet_ids is not None and text.lower() in self.wordnet_ids:
            found.setdefault(self.wordnet_ids.index(text.lower()), "wordnet id")
        return found

    def nearest(self, text: str) -> list[str]:
        """Give up to three class names that look like a text."""
        near = difflib.get_close_matches(_normalise(text), list(self._by_name), n=3)
        return list(dict.fromkeys(self.display(self._by_name[name][0]) for name in near))

    def describe(self, indices: Iterable[int]) -> str:
        """Tell classes apart in a message: index, name, WordNet id."""
        return " or ".join(self._describe(index) for index in indices)

    def _describe(self, index: int) -> str:
        name = None if self.names is None else shortened(printable(self.names[index]))
        return " ".join(str(fact) for fact in (index, name, self.wordnet_id(index)) if fact is not None)


def _is_imagenet(names: Sequence[str]) -> bool:
    if tuple(names) == imagenet_wordnet_ids():
        return True
    pairs = zip(names, imagenet_names(), strict=True)
    return sum(_normalise(a.split(",")[0]) == _normalise(b) for a, b in pairs) >= _IMAGENET_AGREEMENT * len(names)


def _normalise(name: str) -> str:
    """Make case, spaces, underscores and hyphens not matter."""
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())


@dataclass(frozen=True)
class ClassMatch:
    """Which class each folder shows.

    Attributes:
        indices: Class index by folder.
        how: By folder, what it was matched by.
        by_order: Whether nothing but the sorted order of the folders was there to go by, which the reader must be told.
    """

    indices: dict[str, int]
    how: dict[str, How]
    by_order: bool = False


def match_folders(folders: Sequence[str], classes: ClassNames, class_map: Path | None = None) -> ClassMatch:
    """Find the class each folder shows.

    A class map has the first word. A folder it does not mention is matched by class index ("207"), class name (case,
    spaces, underscores and hyphens do not matter) or WordNet id. If the network has no class names, there are as many
    folders as classes, no map is given and no folder is an index, folders are taken in sorted order, as torchvision's
    ``ImageFolder`` does. Folders may cover some of the classes only.

    Args:
        folders: Names of class folders.
        classes: Classes of the network.
        class_map: JSON or CSV file, see `tlaudit.data.class_map.read_class_map`.

    Returns:
        Class and way of matching for every folder.

    Raises:
        ClassMatchError: If folders fit no class or several, if several folders fit one class and it is not the map that
            says so, or if the map is malformed or names a class that is not there. All folders are named, up to ten of
            each kind.
    """
    mapped = _resolve_map(class_map, folders, classes) if class_map is not None else {}
    found: dict[str, dict[int, How]] = {
        folder: {mapped[folder]: "class map"} if folder in mapped else classes.find(folder) for folder in folders
    }
    if classes.names is None and class_map is None and len(folders) == classes.count and not any(found.values()):
        log.warning("no class names are known: %d folders are taken for the classes in sorted order", len(folders))
        indices = {folder: index for index, folder in enumerate(sorted(folders))}
        return ClassMatch(indices, dict.fromkeys(indices, "sorted order"), by_order=True)
    problems = [_unmatched(found, classes), _ambiguous(found, classes), _shared(found, classes)]
    if any(problems):
        advice = "rename the folders, or give --class-map FILE with lines folder,class (index or name)"
        raise ClassMatchError(f"{'; '.join(filter(None, problems))}. What to do: {advice}")
    matches = {folder: next(iter(candidates.items())) for folder, candidates in found.items()}
    return ClassMatch({f: index for f, (index, _) in matches.items()}, {f: how for f, (_, how) in matches.items()})


def _unmatched(found: Mapping[str, Mapping[int, How]], classes: ClassNames) -> str:
    """Name the folders that fit no class; empty if there is none."""
    folders = [folder for folder, candidates in found.items() if not candidates]
    if not folders:
        return ""
    name = "name or WordNet id of a class" if classes.wordnet_ids else "name of a class"
    known = name if classes.names is not None else "other name to go by (the checkpoint names no classes)"
    verb = "1 folder is" if len(folders) == 1 else f"{len(folders)} folders are"
    shown = _first([_with_nearest(folder, classes) for folder in folders[:SHOWN]], len(folders))
    return f"{verb} no index from 0 to {classes.count - 1} and no {known}: {shown}"


def _ambiguous(found: Mapping[str, Mapping[int, How]], classes: ClassNames) -> str:
    """Name the folders that fit several classes; empty if there is none."""
    folders = [folder for folder, candidates in found.items() if len(candidates) > 1]
    if not folders:
        return ""
    shown = [f"{shortened(folder)!r} (class {classes.describe(found[folder])})" for folder in folders[:SHOWN]]
    verb = "1 folder may be" if len(folders) == 1 else f"{len(folders)} folders may be"
    return f"{verb} more than one class: {_first(shown, len(folders))}"


def _shared(found: Mapping[str, Mapping[int, How]], classes: ClassNames) -> str:
    """Name the folders that fit the same class, unless the map says so of each of them; empty if there is none."""
    claims: dict[int, list[str]] = defaultdict(list)
    for folder, candidates in found.items():
        if len(candidates) == 1:
            claims[next(iter(candidates))].append(folder)
    clashes = [
        f"{_named(folders, ' and ')} (class {classes.describe([index])})"
        for index, folders in claims.items()
        if len(folders) > 1 and any(found[folder][index] != "class map" for folder in folders)
    ]
    return f"several folders show the same class: {_first(clashes, len(clashes))}" if clashes else ""


def _first(shown: Sequence[str], total: int, between: str = ", ") -> str:
    """Join the first few of a number of things, and say how many more there are."""
    shown = shown[:SHOWN]
    return between.join(shown) + (f" and {total - len(shown)} more" if total > len(shown) else "")


def _named(folders: Sequence[str], between: str = ", ") -> str:
    return _first([repr(shortened(folder)) for folder in folders[:SHOWN]], len(folders), between)


def _with_nearest(text: str, classes: ClassNames) -> str:
    near = [shortened(printable(name)) for name in classes.nearest(text)]
    return f"{shortened(text)!r} (nearest: {', '.join(near)})" if near else repr(shortened(text))


def _resolve_map(path: Path, folders: Sequence[str], classes: ClassNames) -> dict[str, int]:
    """Look up every entry of a class map, also those of folders that are not there."""
    indices = {folder: _resolve_entry(entry, classes) for folder, entry in read_class_map(path).items()}
    strangers = sorted(indices.keys() - set(folders))
    if strangers:
        log.warning("class map %s: no such folder: %s", printable(str(path)), _named(strangers))
    return indices


def _resolve_entry(entry: Entry, classes: ClassNames) -> int:
    if isinstance(entry.written, int):
        candidates: list[int] = [entry.written] if 0 <= entry.written < classes.count else []
    else:
        candidates = list(classes.find(entry.written))
    if len(candidates) > 1:
        meant = classes.describe(candidates)
        raise ClassMatchError(f"{entry.place}: {shortened(str(entry.written))!r} may be class {meant}: give the index")
    if not candidates:
        wrong = _with_nearest(entry.written, classes) if isinstance(entry.written, str) else entry.written
        expected = f"the name of a class or an index from 0 to {classes.count - 1}"
        raise ClassMatchError(f"{entry.place}: expected {expected}, got {wrong}")
    return candidates[0]


def target_labels(
    target_folders: Sequence[str], val_folders: Sequence[str], num_classes: int, names: Sequence[str] | None
) -> dict[str, int]:
    """Find the class of the finetuned network each folder of target images shows.

    If the checkpoint names its classes, the held-out folders are matched to them; folders that bear exactly such names
    are those classes, also where a name is a number. Otherwise the classes are the sorted
    folders of the first set, training images before held-out ones, that has as many folders as the network has
    classes: so torchvision's ``ImageFolder`` numbered them when the network was trained. Folders that are the numbers
    from 0 on are taken at their word, as those of source images are.

    Args:
        target_folders: Class folders of the training images; empty if they are not labelled.
        val_folders: Class folders of the held-out images.
        num_classes: Classes of the finetuned network.
        names: What its checkpoint says they are called, in index order; None if it says nothing.

    Returns:
        Class index by folder, for the held-out images at least.

    Raises:
        ClassMatchError: If a folder fits no class, or no set has as many folders as there are classes.
    """
    if names is not None:
        exact = {printable(name): index for index, name in enumerate(names)}
        if len(exact) == len(names) and exact.keys() >= set(val_folders):
            return {folder: exact[folder] for folder in val_folders}
        classes = ClassNames.of_model(num_classes, names)
        return match_folders(val_folders, classes).indices
    sets = [folders for folders in (target_folders, val_folders) if folders]
    reference = next((folders for folders in sets if len(folders) == num_classes), None)
    if reference is None:
        raise ClassMatchError(
            f"the finetuned network has {num_classes} classes and its checkpoint does not name them; expected as many "
            f"class folders, got {len(target_folders)} of training and {len(val_folders)} of held-out images"
        )
    numbered = {str(index): index for index in range(num_classes)}
    in_order = {folder: index for index, folder in enumerate(sorted(reference))}
    indices = numbered if set(reference) == numbered.keys() else in_order
    taken = f"its classes were taken to be {_named(sorted(reference))}"
    strangers = [folder for folder in val_folders if folder not in indices]
    if strangers:
        raise ClassMatchError(f"folders that are no class of the finetuned network: {_named(strangers)}; {taken}")
    log.info("the finetuned network's checkpoint names no classes; %s", taken)
    return indices
