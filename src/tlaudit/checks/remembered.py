"""What earlier passes over the same images found, and what this one leaves for later ones.

A question holds all that the bits of its answer depend on, so that an answer that is found is the one this very run
would have computed. Of several processes the first reads and writes, and tells the others.
"""

from __future__ import annotations

import hashlib
import logging
from array import array
from dataclasses import fields
from typing import TYPE_CHECKING

from tlaudit.cache.entry import Entry
from tlaudit.cache.surroundings import surroundings
from tlaudit.data.account import Account, fingerprint
from tlaudit.models.identity import identity
from tlaudit.results import SkippedImage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from torch import Tensor

    from tlaudit.checks.asking import Network
    from tlaudit.checks.base import Subject
    from tlaudit.data.images import ImageSet
    from tlaudit.results import DataRecord

    Question = Mapping[str, object]

log = logging.getLogger(__name__)

_OF_NO_MATTER = {"device", "workers"}
"""What of an execution does not move a bit; of the device it is said elsewhere what matters."""


class Past:
    """What is known of one pass before it is made: all processes ask it the same, in the same order.

    Attributes:
        used: Whether there is a cache; the same in all processes.
        fingerprint: Of the images; None as long as nothing was found that could be about them.
    """

    used: bool
    fingerprint: str | None

    def __init__(
        self,
        subject: Subject,
        images: ImageSet,
        networks: Mapping[str, Network],
        label: str,
        order: Sequence[int] | None = None,
    ) -> None:
        """Describe the pass; nothing is looked up yet.

        Args:
            subject: Whose cache and execution are used.
            images: What the networks see.
            networks: By name, all that see them.
            label: Of the pass, for what is said.
            order: In which the images come; theirs where left out.
        """
        self.fingerprint = None
        self._images, self._networks, self._label, self._order = images, networks, label, order
        self._execution, self._strict, self._group = subject.execution, subject.strict, subject.group
        self.used = self._group.told(subject.cache is not None)
        self._cache = subject.cache if self._group.leads else None
        self._identities: dict[str, str | None] = {}
        self._circumstances: dict[str, object] = {}

    def question(self, kind: str, names: Iterable[str], **details: object) -> Question | None:
        """Put into words what is asked of some of the networks.

        Args:
            kind: Of answer.
            names: The networks that the answer depends on, in the order of their names in it.
            details: What else it depends on, made of what JSON knows.

        Returns:
            The question; None where nothing is looked up, or a network cannot be told from others.
        """
        if self._cache is None:
            return None
        networks = []
        for name in names:
            preprocessing = self._networks[name].preprocessing
            if name not in self._identities:
                self._identities[name] = identity(self._networks[name].module)
            networks.append((self._identities[name], preprocessing.geometry, preprocessing.mean, preprocessing.std))
        if any(found is None for found, *_ in networks):
            log.info("%s: not kept for later runs: a network cannot be told by what it is made of", self._label)
            return None
        return {"kind": kind, **details, "networks": networks, **self._common()}

    def _common(self) -> Mapping[str, object]:
        """What the answers to all questions of a pass depend on."""
        if not self._circumstances:
            order = None if self._order is None else hashlib.sha256(array("q", self._order).tobytes()).hexdigest()
            execution = {one.name: getattr(self._execution, one.name) for one in fields(self._execution)}
            self._circumstances = {
                "images": len(self._images.items),
                # Whether a picture has room to be resized depends on all sizes asked for.
                "geometries": list(dict.fromkeys(n.preprocessing.geometry for n in self._networks.values())),
                "order": order,
                "execution": {name: value for name, value in execution.items() if name not in _OF_NO_MATTER},
                "surroundings": surroundings(self._execution.device),
            }
        return self._circumstances

    def find(self, questions: Mapping[str, Question | None]) -> dict[str, Entry]:
        """Look up answers.

        The images are read and hashed only where there is an answer that could be about them.

        Args:
            questions: By name; None has no answer.

        Returns:
            Those that are known, by name.

        Raises:
            DataError: If another process has ended.
        """
        if not self.used:
            return {}
        cache, asked = self._cache, {name: one for name, one in questions.items() if one is not None}
        if not self._group.told(cache is not None and any(cache.asked_before(one) for one in asked.values())):
            return {}
        self.fingerprint = fingerprint(self._images, self._group)
        found: dict[str, Entry] = {}
        if cache is not None:
            for name, one in asked.items():
                entry = cache.find(one, self.fingerprint)
                if entry is not None:
                    log.info("%s: %s from the cache", self._label, name)
                    found[name] = entry
        return self._group.gathered(found)[0]

    def record(self, entry: Entry) -> DataRecord:
        """Say what was read when an answer was given, with the warnings of then.

        Args:
            entry: An answer that `find` gave.

        Raises:
            DataError: If files were skipped and none may be.
        """
        account = Account(self._images)
        account.recall(
            entry.told["decoded"], [SkippedImage(file=file, reason=why) for file, why in entry.told["skipped"]]
        )
        account.conclude(strict=self._strict)
        return account.record(self.fingerprint)

    def keep(self, answers: Iterable[tuple[Question | None, Entry]], record: DataRecord) -> None:
        """Leave answers for later runs.

        Nothing is left where memory was too short for a batch: sums of parts differ from those of the whole in the last
        digits.

        Args:
            answers: Questions and their answers; what has no question is not kept.
            record: Which images were read.

        Raises:
            DataError: If another process has ended.
        """
        if not self.used:
            return
        halved = any(network.halving.most is not None for network in self._networks.values())
        if any(self._group.gathered(halved)) or self._cache is None:
            return
        skipped = [(one.file, one.reason) for one in record.skipped if one not in self._images.unread]
        for question, entry in answers:
            if question is not None:
                told = {**entry.told, "decoded": record.images, "skipped": skipped}
                self._cache.keep(question, record.fingerprint, Entry(entry.tensors, told))


def answer(**tensors: Tensor) -> Entry:
    """Give an answer that is nothing but tensors."""
    return Entry(tensors, {})
