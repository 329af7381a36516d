"""Several processes audit one subject: whether they see the same networks and images is found out before the work."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tlaudit.checks.base import Subject
    from tlaudit.data.images import ImageSet


def refuse_different(subject: Subject) -> None:
    """Stop where the processes that share a subject, perhaps on several machines, see different things.

    Names of images are compared and not what the files hold, which is seen by the one process that reads them.

    Raises:
        DataError: If networks, names or classes of images differ.
    """
    if subject.group.size == 1:
        return
    pair = subject.pair
    models = {"source": pair.source, "finetuned": pair.finetuned, "baseline": pair.baseline}
    found = {f"{role} network (SHA-256)": model.record.sha256 for role, model in models.items() if model is not None}
    found["source images (digest)"] = subject.source.digest()
    found["target images (digest)"] = _names(subject.target)
    found["validation images (digest)"] = subject.val.digest() if subject.val is not None else "none"
    subject.group.refuse_different(found, "before the work")


def _names(images: ImageSet) -> str:
    names = hashlib.sha256()
    for item in images.items:
        names.update(f"{item.name}\n".encode())
    return names.hexdigest()
