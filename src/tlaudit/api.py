"""The checks as functions: networks and folders in, a result with pandas tables out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tlaudit.checks.base import assemble
from tlaudit.checks.lingering import LingeringCheck
from tlaudit.config import settle

if TYPE_CHECKING:
    from pathlib import Path

    from tlaudit.models.pair import Pair
    from tlaudit.results import CheckResult


def lingering(
    pair: Pair,
    source_data: str | Path,
    target_data: str | Path,
    val_data: str | Path | None = None,
    *,
    class_map: str | Path | None = None,
    preprocess: dict[str, Any] | None = None,
    execution: dict[str, Any] | None = None,
    strict: bool = False,
    limit: int | None = None,
    **options: Any,
) -> CheckResult:
    """Find the source classes a finetuned network still recognises although its own data never shows them.

    Definitions: eqs. 1 to 3 of *Detrimental Memories in Transfer Learning*; docs/methods.md says where the defaults
    are ours.

    Args:
        pair: Networks from `load_pair`.
        source_data: Folder with one subfolder of images for each source class looked at.
        target_data: Folder of the images the network was finetuned on.
        val_data: Folder of held-out target images in class folders; without it no accuracy is measured.
        class_map: JSON or CSV file, source folder to class index or name.
        preprocess: Overrides as in ``[preprocess]`` of tlaudit.toml.
        execution: Device, precision, batch size, workers, seed as in ``[execution]``.
        strict: Whether an unreadable image is an error.
        limit: At most so many images of each set.
        **options: As in ``[lingering]``: k, v_lo or v_lo_count, p_lo, bootstrap, confidence.

    Returns:
        The result; ``result.table("classes")`` and ``result.summary_table()`` are pandas data frames.

    Raises:
        UsageError: If an option is unknown or out of range, a folder is missing or fits no class.
        DataError: If no image of a set can be read.
    """
    images = {"source": source_data, "target": target_data, "val": val_data, "class_map": class_map}
    settings = settle(
        {
            "data": {**images, "strict": strict, "limit": limit},
            "preprocess": preprocess or {},
            "execution": execution or {},
            "lingering": options,
        }
    )
    subject = assemble(pair, settings.data, preprocess=settings.preprocess, execution=settings.execution)
    return LingeringCheck().run(subject, settings.lingering)
