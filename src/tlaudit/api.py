"""The checks as functions: networks and folders in, a result with pandas tables out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlaudit.auditing.session import run_audit
from tlaudit.checks import run_check
from tlaudit.checks.assembly import assemble
from tlaudit.checks.earlier import refuse_other_subject
from tlaudit.config import settle
from tlaudit.documents import read_result
from tlaudit.errors import DivergedError
from tlaudit.models.pair import join
from tlaudit.repair.places import Places
from tlaudit.repair.session import run as run_repair
from tlaudit.results import CheckResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tlaudit.models.pair import Pair
    from tlaudit.models.sources import Model
    from tlaudit.results import AuditReport


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
        execution: Device, precision, batch size, workers, seed, cache as in ``[execution]``.
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
    sections = {"data": {**images, "strict": strict, "limit": limit}, "lingering": options}
    return _run("lingering", pair, {**sections, "preprocess": preprocess or {}, "execution": execution or {}}, {})


def distraction(
    pair: Pair,
    source_data: str | Path,
    target_data: str | Path,
    *,
    lingering: CheckResult | str | Path,
    class_map: str | Path | None = None,
    preprocess: dict[str, Any] | None = None,
    execution: dict[str, Any] | None = None,
    strict: bool = False,
    limit: int | None = None,
    **options: Any,
) -> CheckResult:
    """Measure how far pictures of lingering classes distract a finetuned network from what it is asked about.

    Definitions: eq. 4 of *Detrimental Memories in Transfer Learning*; docs/methods.md says where the defaults are ours.

    Args:
        pair: Networks from `load_pair`, with a baseline if there is one.
        source_data: Folder with one subfolder of images for each source class looked at.
        target_data: Folder of the images the network was finetuned on, in class folders if accuracies are wanted.
        lingering: What `lingering` found about the same networks and images, or the JSON file that holds it.
        class_map: JSON or CSV file, source folder to class index or name.
        preprocess: Overrides as in ``[preprocess]`` of tlaudit.toml.
        execution: Device, precision, batch size, workers, seed, cache as in ``[execution]``.
        strict: Whether an unreadable image is an error.
        limit: At most so many images of each set.
        **options: As in ``[distraction]``: per_class, max_classes, overlay_scale, percentile, method, layer …

    Returns:
        The result; ``result.table("classes")`` has one row for each class.

    Raises:
        UsageError: If an option is unknown or out of range, a folder is missing or fits no class, or `lingering` is
            about other networks or images.
        DataError: If no image of a set can be read.
    """
    images = {"source": source_data, "target": target_data, "class_map": class_map}
    sections = {"data": {**images, "strict": strict, "limit": limit}, "distraction": options}
    sections |= {"preprocess": preprocess or {}, "execution": execution or {}}
    known = lingering if isinstance(lingering, CheckResult) else read_result(Path(lingering), "lingering")
    return _run("distraction", pair, sections, {"lingering": known})


def erosion(
    pair: Pair,
    data: str | Path | None = None,
    source_data: str | Path | None = None,
    *,
    class_map: str | Path | None = None,
    preprocess: dict[str, Any] | None = None,
    execution: dict[str, Any] | None = None,
    strict: bool = False,
    limit: int | None = None,
    **options: Any,
) -> CheckResult:
    """Measure how far finetuning moved the features, stage by stage, and what was lost with them.

    Definitions: unbiased minibatch CKA (Nguyen, Raghu & Kornblith 2021) and numerical rank; docs/methods.md.

    Args:
        pair: Networks from `load_pair`; with ``alike=False`` their backbones may differ.
        data: Folder of the images that are compared, of the original task or any; the source images where left out.
        source_data: Folder with one subfolder of images for each source class looked at, for the accuracies.
        class_map: JSON or CSV file, source folder to class index or name.
        preprocess: Overrides as in ``[preprocess]`` of tlaudit.toml.
        execution: Device, precision, batch size (that of the minibatches of CKA), workers, seed as in ``[execution]``.
        strict: Whether an unreadable image is an error.
        limit: At most so many images of each set.
        **options: As in ``[erosion]``: stages, full_matrix, features, probe, bootstrap, confidence.

    Returns:
        The result; ``result.table("stages")`` has one row for each stage and network.

    Raises:
        UsageError: If an option is unknown or out of range, a stage is named twice or missing, a folder is missing.
        DataError: If there are fewer than 4 images, or none can be read.
    """
    images = {"source": source_data, "class_map": class_map, "strict": strict, "limit": limit}
    sections = {"data": images, "erosion": {"data": data, **options}}
    sections |= {"preprocess": preprocess or {}, "execution": execution or {}}
    return _run("erosion", pair, sections, {}, needed=())


def stress(
    network: Model,
    source_data: str | Path,
    test_data: str | Path | None = None,
    *,
    class_map: str | Path | None = None,
    preprocess: dict[str, Any] | None = None,
    execution: dict[str, Any] | None = None,
    training: dict[str, Any] | None = None,
    strict: bool = False,
    limit: int | None = None,
    **options: Any,
) -> CheckResult:
    """Train a network on with squares that give the class away, share by share, and measure what it forgets.

    Definitions: the feature-erosion experiment of arXiv 2310.19537; docs/methods.md.

    Args:
        network: From `load_model`; it is left as it is.
        source_data: Folder with one subfolder of images for each class of the network, of the task it knows.
        test_data: The same for the clean images it is asked about; a fifth of the source images where left out.
        class_map: JSON or CSV file, folder to class index or name.
        preprocess: Overrides as in ``[preprocess]`` of tlaudit.toml.
        execution: Device, precision, batch size, workers, seed, cache as in ``[execution]``.
        training: Schedule as in ``[stress.training]``: epochs, optimizer, learning_rate …
        strict: Whether an unreadable image is an error.
        limit: At most so many images of each set.
        **options: As in ``[stress]``: ratios, square, bisect, plasticity, stages, runs, bootstrap, confidence.

    Returns:
        The result; ``result.table("runs")`` has one row for each ratio.

    Raises:
        UsageError: If an option is unknown or out of range, a folder is missing or fits no class.
        DataError: If there are too few test images, none can be read, or a training diverges.
    """
    images = {"source": source_data, "class_map": class_map, "strict": strict, "limit": limit}
    sections = {"data": images, "stress": {"test": test_data, "training": training or {}, **options}}
    sections |= {"preprocess": preprocess or {}, "execution": execution or {}}
    return _run("stress", join(network, network), sections, {}, needed=("source",))


def audit(
    pair: Pair,
    source_data: str | Path | None = None,
    target_data: str | Path | None = None,
    val_data: str | Path | None = None,
    *,
    checks: Sequence[str] | None = None,
    lingering: dict[str, Any] | None = None,
    distraction: dict[str, Any] | None = None,
    erosion: dict[str, Any] | None = None,
    stress: dict[str, Any] | None = None,
    class_map: str | Path | None = None,
    preprocess: dict[str, Any] | None = None,
    execution: dict[str, Any] | None = None,
    strict: bool = False,
    limit: int | None = None,
) -> AuditReport:
    """Make several checks of a finetuned network in one go, and read once what they share.

    Every number is that of the check's own function. A check that cannot be made does not stop the others:
    ``report["distraction"].failure`` says why, and its measurements are absent.

    Args:
        pair: Networks from `load_pair`, with a baseline if there is one; with ``alike=False`` their backbones may
            differ, and only `erosion` and `stress` can be made.
        source_data: Folder with one subfolder of images for each source class looked at.
        target_data: Folder of the images the network was finetuned on.
        val_data: Folder of held-out target images in class folders; without it no accuracy is measured.
        checks: Which of lingering, distraction, erosion and stress; the first three where left out, and stress where
            options of it are given.
        lingering: Options as in ``[lingering]`` of tlaudit.toml.
        distraction: As in ``[distraction]``.
        erosion: As in ``[erosion]``; with ``data`` it needs no `source_data`.
        stress: As in ``[stress]``, ``training`` a table in it; an empty one asks for the check as it is.
        class_map: JSON or CSV file, source folder to class index or name.
        preprocess: Overrides as in ``[preprocess]``.
        execution: Device, precision, batch size, workers, seed, cache as in ``[execution]``.
        strict: Whether an unreadable image is an error.
        limit: At most so many images of each set.

    Returns:
        The report; ``report["lingering"]`` is the result of that check.

    Raises:
        UsageError: If an option is unknown or out of range, images are missing, a folder or file does not exist, or a
            folder fits no class. What images and networks do not give, such as a folder without an image, fails the
            checks that need it instead.
        MismatchError: If the baseline does not fit networks that fit each other, and lingering or distraction are made.
    """
    images = {"source": source_data, "target": target_data, "val": val_data, "class_map": class_map}
    sections: dict[str, dict[str, Any] | None] = {
        "data": {**images, "strict": strict, "limit": limit},
        "audit": {"checks": checks},
        "lingering": lingering,
        "distraction": distraction,
        "erosion": erosion,
        "stress": stress,
        "preprocess": preprocess,
        "execution": execution,
    }
    return run_audit(pair, settle({name: section for name, section in sections.items() if section is not None}))


def repair(
    source: Model,
    train_data: str | Path,
    val_data: str | Path | None = None,
    source_data: str | Path | None = None,
    *,
    finetuned: Model | None = None,
    methods: str | Sequence[str] = ("ldifs",),
    output: str | Path | None = None,
    steps: str | Path | None = None,
    resume: bool = False,
    class_map: str | Path | None = None,
    preprocess: dict[str, Any] | None = None,
    execution: dict[str, Any] | None = None,
    strict: bool = False,
    limit: int | None = None,
    **options: Any,
) -> CheckResult:
    """Finetune a network again in ways that keep, or remove, what its source knows, and compare before and after.

    Definitions: docs/methods.md, "Repair".

    Args:
        source: The pretrained network, from `load_model`; it is left as it is.
        train_data: Folder with one subfolder of training images for each class.
        val_data: The same for held-out images.
        source_data: Folder with one subfolder of images for each source class looked at.
        finetuned: A network finetuned for the same classes; without it the network before is the source with a linear
            probe for a head.
        methods: Names: plain, linear-probe, lp-ft, ldifs, l2sp, lwf, wise-ft, composites, unlearn, l1, prune.
        output: Checkpoint to write, ``.safetensors`` or ``.pth``; of several methods one each, ``NAME.METHOD.SUFFIX``.
        steps: CSV or JSONL file, one row a step.
        resume: Go on where the same call was stopped; needs `output`.
        class_map: JSON or CSV file, source folder to class index or name.
        preprocess: Overrides as in ``[preprocess]`` of tlaudit.toml.
        execution: Device, precision, batch size, workers, seed, cache as in ``[execution]``.
        strict: Whether an unreadable image is an error.
        limit: At most so many images of each set.
        **options: As in ``[repair]``: init, keep, patience, save_every; tables training, judge, ldifs, l2sp, …

    Returns:
        The result; ``result.table("before_after")`` has one row for each method and axis, ``result.table("pareto")``
        one for each network, ``result.table("versus_plain")``, where plain ran, one for each other method and axis.

    Raises:
        UsageError: If an option is unknown or out of range, a folder is missing or fits no class.
        DataError: If no image can be read, a file cannot be written, or a training diverges.
    """
    images = {"source": source_data, "val": val_data, "class_map": class_map, "strict": strict, "limit": limit}
    chosen = {"methods": methods if isinstance(methods, str) else tuple(methods), "train": train_data, **options}
    sections = {"data": images, "repair": chosen, "preprocess": preprocess or {}, "execution": execution or {}}
    settings = settle(sections)
    places = Places(_path(output), _path(steps), resume=resume)
    result = run_repair(source, finetuned, settings, places)
    assert result is not None  # one process alone leads
    diverged = [finding.message for finding in result.findings if finding.code == "repair.diverged"]
    if diverged:
        raise DivergedError("; ".join(diverged))
    places.forget(settings.repair.methods)
    return result


def _path(named: str | Path | None) -> Path | None:
    return None if named is None else Path(named)


def _run(
    check: str,
    pair: Pair,
    sections: dict[str, dict[str, Any]],
    earlier: dict[str, CheckResult],
    needed: Sequence[str] = ("source", "target"),
) -> CheckResult:
    """Settle the options, put the subject together, run the check."""
    settings = settle(sections)
    subject = assemble(pair, settings.data, preprocess=settings.preprocess, execution=settings.execution, needed=needed)
    for result in earlier.values():
        refuse_other_subject(result, subject, settings.lingering, what=f"the result of {result.check}")
    return run_check(check, replace(subject, earlier=earlier), settings)
