"""Results of earlier runs: believed only if they are about the very same networks and images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlaudit.data.account import fingerprint
from tlaudit.documents import read_result, source_classes
from tlaudit.errors import UsageError
from tlaudit.measure.prevalence import default_v_lo
from tlaudit.models.recorded import other_networks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tlaudit.checks.base import Subject
    from tlaudit.options import LingeringOptions
    from tlaudit.results import CheckResult, Preprocessing


def read_lingering(path: Path, subject: Subject, options: LingeringOptions) -> CheckResult:
    """Read what `tlaudit lingering` wrote about this subject.

    Args:
        path: JSON document.
        subject: Whose networks and images it has to be about.
        options: What is asked of `lingering` now; what is given must be what was used then.

    Raises:
        UsageError: If the file is no such document, or is about other checkpoints, data, preprocessing or definitions;
            all differences are named.
    """
    result = read_result(path, "lingering")
    refuse_other_subject(result, subject, options, what=str(path))
    return result


def refuse_other_subject(result: CheckResult, subject: Subject, options: LingeringOptions, *, what: str) -> None:
    """Refuse a result of `lingering` that is about something else.

    Args:
        result: That result.
        subject: Whose networks and images it has to be about.
        options: What is asked of `lingering` now.
        what: What to call the result.

    Raises:
        UsageError: With all differences.
    """
    classes = source_classes(result)
    differences = [*other_networks(result, subject.pair), *_other_inputs(result, subject)]
    if not differences and [one.images for one in classes] != _readable(result, subject):
        differences = ["other numbers of source images in its table than it says it read"]
    differences += [*_other_definitions(result, options)]
    if differences:
        raise UsageError(
            f"{what} is about something else: {'; '.join(differences)}. Run tlaudit lingering again, or leave "
            "--lingering out"
        )


def _other_inputs(result: CheckResult, subject: Subject) -> Iterator[str]:
    for role in ("source", "finetuned"):
        theirs = result.provenance.models.get(role)
        then = theirs.preprocessing if theirs else None
        if then is None or _numbers(then) != _numbers(subject.preprocessing[role]):
            yield f"another preprocessing of the {role} network"
    for role, images in (("source", subject.source.images), ("target", subject.target)):
        data = result.provenance.data.get(role)
        if data is None or data.fingerprint != fingerprint(images):
            count = f"then {data.images + len(data.skipped)} images, now {len(images.items)}" if data else "none then"
            yield f"other {role} images ({count})"
        elif role == "source" and data.labels != subject.source.digest():
            yield "other classes of the same source images (--class-map, or renamed classes)"


def _readable(result: CheckResult, subject: Subject) -> list[int]:
    """Source images of each class, without those that could not be read then."""
    skipped = {one.file for one in result.provenance.data["source"].skipped}
    counts = [0] * subject.pair.source.num_classes
    for item, label in zip(subject.source.images.items, subject.source.labels.tolist(), strict=True):
        counts[label] += item.name not in skipped
    return counts


def _numbers(preprocessing: Preprocessing) -> dict[str, object]:
    return preprocessing.model_dump(exclude={"origin"})


def _other_definitions(result: CheckResult, options: LingeringOptions) -> Iterator[str]:
    """What was said about `lingering` in this run, and is not what that one used."""
    then = result.provenance.options
    now: dict[str, object] = {key: getattr(options, key) for key in ("k", "p_lo") if key in options.model_fields_set}
    if options.v_lo_count is not None:
        now["v_lo_count"] = options.v_lo_count
    elif options.v_lo is not None and "target" in result.provenance.data:
        now["v_lo_count"] = default_v_lo(result.provenance.data["target"].images, options.v_lo)
    for key, value in now.items():
        if value is not None and then.get(key) != value:
            yield f"another {key} (then {then.get(key)}, now {value})"
