"""What a look at composites found, kept for a later run that would look at the very same ones."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
import logging
from typing import TYPE_CHECKING

from tlaudit.cache.entry import Entry
from tlaudit.checks.remembered import Past
from tlaudit.checks.tally import Behaved, Tally
from tlaudit.checks.target_task import target_classes
from tlaudit.data.account import fingerprint, warn_of
from tlaudit.data.folders import printable
from tlaudit.exhibits import Exhibit
from tlaudit.results import DataRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from tlaudit.checks.base import Subject
    from tlaudit.checks.tally import Background
    from tlaudit.options import DistractionOptions

log = logging.getLogger(__name__)

LABEL = "composites"
_OF_NO_MATTER = {"lingering", "save_composites", "save_rows", "bootstrap", "confidence"}
"""Options that do not change what is seen of composites: what they change is made anew."""


@dataclasses.dataclass(frozen=True)
class Found:
    """What one pass over the composites leaves behind.

    Attributes:
        tallies: One for each class.
        exhibits: Pictures of the worst.
        records: What was read of source images (``composites``) and target images (``overlays``).
        layer: Whose output was explained.
        no_labels: Why no overlay has a known class, or None.
        overlays: How many target images could be pasted.
    """

    tallies: tuple[Tally, ...]
    exhibits: tuple[Exhibit, ...]
    records: dict[str, DataRecord]
    layer: str | None
    no_labels: str | None
    overlays: int


NOTHING = Found((), (), {}, None, None, 0)


def found_before(
    subject: Subject, options: DistractionOptions, chosen: Sequence[Background], look: Callable[[], Found]
) -> Found:
    """Give what an earlier run found in the same composites, or look at them and keep it.

    What is written while they are looked at, pictures and rows, is not kept, so that a run that writes always looks.

    Args:
        subject: Networks and images; ``earlier`` holds the result of ``lingering`` about them.
        options: How composites are made and maps compared.
        chosen: Classes they are made of.
        look: Looks at them.

    Raises:
        DataError: If files were skipped and none may be, or another process has ended.
    """
    if options.save_composites is not None or options.save_rows is not None:
        return look()
    models = {"source": subject.pair.source, "finetuned": subject.pair.finetuned, "baseline": subject.pair.baseline}
    networks = {role: subject.network(model.module, role) for role, model in models.items() if model is not None}
    past = Past(subject, subject.source.images, networks, LABEL)
    if not past.used:
        return look()
    question = past.question(LABEL, networks, **_details(subject, options, chosen))
    known = past.find({"maps and predictions": question})
    if known:
        return _read(known["maps and predictions"].told, subject, chosen)
    found = look()
    source = subject.earlier["lingering"].provenance.data["source"]
    halved = any(one.most is not None for one in subject.halvings.values())
    # Only if the files are still those that the result of `lingering`, and so the question, is about.
    same = _images(subject) == [source.fingerprint, subject.earlier["lingering"].provenance.data["target"].fingerprint]
    if same and not any(subject.group.gathered(halved)):
        past.keep([(question, Entry({}, _told(found)))], source)
    return found


def _images(subject: Subject) -> list[str]:
    return [fingerprint(images, subject.group) for images in (subject.source.images, subject.target)]


def _details(subject: Subject, options: DistractionOptions, chosen: Sequence[Background]) -> Mapping[str, object]:
    """What composites, maps and pictures depend on beside networks and source images."""
    lingering, targets, source = subject.earlier["lingering"], target_classes(subject), subject.pair.source
    names = [subject.classes.display(one.source.index) for one in chosen]
    texts = [subject.source.digest(), targets.labels.tolist(), targets.names, targets.unknown, names]
    return {
        "options": options.model_dump(mode="json", exclude=_OF_NO_MATTER),
        "classes": [(one.source.index, one.kind) for one in chosen],
        "named": hashlib.sha256(json.dumps(texts).encode()).hexdigest(),
        "target": lingering.provenance.data["target"].fingerprint,
        "unusable": [] if subject.strict else [one.file for one in lingering.provenance.data["source"].skipped],
        "seed": subject.seed,
        "strict": subject.strict,
        "family": source.record.family,
        "heads": [source.head, subject.pair.head],
        "processes": subject.group.size,
        "grad-cam": importlib.metadata.version("grad-cam"),
    }


def _told(found: Found) -> dict[str, Any]:
    return {
        "tallies": [
            {**dataclasses.asdict(one), "background": [one.background.source.index, one.background.kind]}
            for one in found.tallies
        ],
        "exhibits": [one.model_dump(mode="json") for one in found.exhibits],
        "records": {role: one.model_dump(mode="json") for role, one in found.records.items()},
        "layer": found.layer,
        "no_labels": found.no_labels,
        "overlays": found.overlays,
    }


def _read(told: Mapping[str, Any], subject: Subject, chosen: Sequence[Background]) -> Found:
    """Take it back, for images that may lie elsewhere now, with the warnings of then."""
    backgrounds = {(one.source.index, one.kind): one for one in chosen}
    roots = {"composites": subject.source.images.root, "overlays": subject.target.root}
    records = {
        role: DataRecord.model_validate({**one, "path": printable(str(roots[role]))})
        for role, one in told["records"].items()
    }
    for record in records.values():
        warn_of(record.skipped, record.path)
    tallies = [
        Tally(
            **{
                **one,
                "background": backgrounds[tuple(one["background"])],
                "behaved": {role: Behaved(**of_role) for role, of_role in one["behaved"].items()},
            }
        )
        for one in told["tallies"]
    ]
    exhibits = tuple(Exhibit.model_validate(one) for one in told["exhibits"])
    return Found(tuple(tallies), exhibits, records, told["layer"], told["no_labels"], told["overlays"])
