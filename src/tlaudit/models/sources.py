"""Models from whatever the user named: a file, torchvision's weights, or timm's."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from tlaudit.errors import CheckpointError, UsageError
from tlaudit.models.architecture import identify
from tlaudit.models.checkpoint import Checkpoint, read_checkpoint
from tlaudit.models.families import architecture_names, matches
from tlaudit.models.fitting import Fit, fit, non_finite, realise
from tlaudit.models.heads import refuse_wrong_head, within
from tlaudit.models.preprocess import IMAGENET
from tlaudit.models.pretrained import timm_weights, torchvision_weights
from tlaudit.models.wording import shown
from tlaudit.results import KeyMatch, ModelRecord, Preprocessing

if TYPE_CHECKING:
    from collections.abc import Iterable

_LIBRARIES = {"torchvision": torchvision_weights, "timm": timm_weights}


@dataclass(frozen=True, eq=False)
class Model:
    """A classifier with its weights.

    Attributes:
        module: The network: eval mode, no gradients, on the CPU, float32.
        architecture: As ``--arch`` takes it: ``squeezenet1_1``, ``timm:resnet50``, ``file.py:factory``.
        head: Module path of the classification head.
        num_classes: Outputs.
        classes: Class names in index order, where the checkpoint or the weights' metadata has them.
        preprocessing: Where the checkpoint or the weights' metadata has it.
        stages: Module paths in order of depth at which features can be taken; none lies in the head.
        record: What it is and where it came from.
    """

    module: nn.Module
    architecture: str
    head: str
    num_classes: int
    classes: tuple[str, ...] | None
    preprocessing: Preprocessing | None
    stages: tuple[str, ...]
    record: ModelRecord


def load_model(
    spec: str | os.PathLike[str],
    *,
    arch: str | None = None,
    head: str | None = None,
    use_ema: bool = False,
    allow_pickle: bool = False,
    like: Model | None = None,
) -> Model:
    """Load a classifier, every tensor in its place, or say what is in the way.

    Args:
        spec: A file (``.pt .pth .th .ckpt .safetensors``), ``torchvision:NAME[:WEIGHTS]`` or ``timm:NAME``.
        arch: Architecture of a file; detected from keys and shapes where left out.
        head: Module path of the classification head, where another one is meant than the one found.
        use_ema: Take averaged weights where the file holds both.
        allow_pickle: Run code that the file may contain.
        like: A model whose architecture is tried too.

    Returns:
        The model and its record. Weights that are NaN or infinite are named in ``record.non_finite``.

    Raises:
        UsageError: If a name, path or option cannot be what was meant.
        CheckpointError: If the weights cannot be had or do not fit; its kinds say why.
    """
    text = os.fspath(spec)
    library, _, name = text.partition(":")
    if library in _LIBRARIES:
        if arch is not None or use_ema:
            raise UsageError(
                f"{shown(text)}: --arch and --use-ema are for files; this names its architecture and weights"
            )
        checkpoint, blueprint = _LIBRARIES[library](name)
        found, notes = fit(checkpoint.readings[0], blueprint), tuple[str, ...]()
        if not found.is_exact:
            raise CheckpointError(
                f"{shown(text)}: the weights do not fit their own architecture: {found.differences()}"
            )
    else:
        if text in architecture_names() and not Path(text).exists():
            raise UsageError(f"{text}: no such file; torchvision's weights of that name are torchvision:{text}")
        checkpoint = read_checkpoint(text, use_ema=use_ema, allow_pickle=allow_pickle)
        resembled = (like.architecture, like.head, like.module) if like is not None else None
        found, notes = identify(checkpoint, arch=arch, head=head, like=resembled)
    return _assemble(checkpoint, found, head, notes)


def is_published(spec: str | os.PathLike[str]) -> bool:
    """Say whether a library publishes what is named, as opposed to a file."""
    return os.fspath(spec).partition(":")[0] in _LIBRARIES


def _assemble(checkpoint: Checkpoint, found: Fit, head: str | None, notes: Iterable[str]) -> Model:
    """Build the network and write down what it is."""
    file, num_classes = shown(checkpoint.name, None), found.num_classes or 0
    if num_classes < 1:
        raise CheckpointError(f"{file}: the head {found.head} has no classes")
    module, built = realise(found, file)
    if head is not None:
        refuse_wrong_head(module, head, (found.head,), found.blueprint.name)
    if checkpoint.classes is not None and len(checkpoint.classes) != num_classes:
        raise CheckpointError(
            f"{file}: names {len(checkpoint.classes)} classes, but the head {found.head} has {num_classes}"
        )
    preprocessing = checkpoint.preprocessing or _sized(module, found)
    record = ModelRecord(
        spec=checkpoint.name,
        format=checkpoint.format,
        sha256=checkpoint.sha256,
        architecture=found.blueprint.name,
        family=found.blueprint.family.name if found.blueprint.family else None,
        head=head or found.head,
        num_classes=num_classes,
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        dtype=_dtype(found),
        keys=KeyMatch(matched=found.matched, missing=found.counters, ignored=tuple(map(shown, found.ignored))),
        non_finite=non_finite(module),
        classes_known=checkpoint.classes is not None,
        preprocessing=preprocessing,
        blocked=checkpoint.blocked,
        notes=(*checkpoint.notes, *notes, *_remarks(found), *built),
    )
    return Model(
        module=module,
        architecture=found.blueprint.name,
        head=record.head,
        num_classes=num_classes,
        classes=checkpoint.classes,
        preprocessing=preprocessing,
        stages=_stages(module, found.blueprint.family.stages if found.blueprint.family else None, record.head),
        record=record,
    )


def _remarks(found: Fit) -> Iterable[str]:
    yield from found.blueprint.notes
    if found.counters:
        yield f"{len(found.counters)} num_batches_tracked counters are missing, as in old files; nothing reads them"
    if found.renamed:
        yield f"{found.renamed} keys of an older torchvision were renamed"


def _dtype(found: Fit) -> str:
    kinds = sorted({str(t.dtype).removeprefix("torch.") for t in found.state.values() if t.is_floating_point()})
    return "float32" if kinds == ["float32"] else f"{', '.join(kinds)} (held as float32)"


def _stages(module: nn.Module, patterns: tuple[str, ...] | None, head: str) -> tuple[str, ...]:
    """Give the stages outside the head: by the family's patterns, else the children that have parameters."""
    if patterns is None:
        return tuple(_children_with_parameters(module, "", head))
    return tuple(
        path
        for path, child in module.named_modules()
        if any(matches(path, pattern) for pattern in patterns)
        and not within(path, head)
        and any(parameter.dim() >= 2 for parameter in child.parameters())
    )


def _children_with_parameters(module: nn.Module, path: str, head: str) -> Iterable[str]:
    """Descend only where a child contains the head, or is a mere list, which is never called."""
    for name, child in module.named_children():
        inner = f"{path}.{name}" if path else name
        if within(inner, head) or not any(True for _ in child.parameters()):
            continue
        if within(head, inner) or isinstance(child, nn.ModuleList | nn.ModuleDict):
            yield from _children_with_parameters(child, inner, head)
        else:
            yield inner


def _sized(module: nn.Module, found: Fit) -> Preprocessing | None:
    """Give the preprocessing of a network that was built for one size of images, where it is not the usual one."""
    side = getattr(module, "image_size", None)
    family = found.blueprint.family
    if family is None or family.sized is None or side in {None, IMAGENET.crop}:
        return None
    origin = f"image size of the position embedding, else {IMAGENET.origin}"
    return IMAGENET.model_copy(update={"resize": side, "crop": side, "origin": origin})
