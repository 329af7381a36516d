"""A network that a repair made, as a model like those that are loaded from files."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from tlaudit.models.checkpoint import write_checkpoint
from tlaudit.models.heads import within
from tlaudit.models.pretrained import fingerprint
from tlaudit.models.runtime import shared_copy
from tlaudit.reading import is_file
from tlaudit.results import KeyMatch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from tlaudit.models.sources import Model
    from tlaudit.records import Cell
    from tlaudit.results import Preprocessing


def candidate(
    form: Model, network: nn.Module, *, name: str, head: str, classes: tuple[str, ...], preprocessing: Preprocessing
) -> Model:
    """Make a model of a network.

    Args:
        form: A model of the same architecture.
        network: In eval mode; it is shared, not copied, where it lies on the CPU.
        name: What it is called in reports.
        head: Module path of its head.
        classes: Names in the order of its outputs.
        preprocessing: How pictures become its inputs.

    Returns:
        The model, on the CPU. Its hash is that of the weights.
    """
    module = shared_copy(network).to("cpu")
    state = module.state_dict()
    record = form.record.model_copy(
        update={
            "spec": name,
            "format": "made in this run",
            "sha256": fingerprint(state),
            "head": head,
            "num_classes": len(classes),
            "parameters": sum(parameter.numel() for parameter in module.parameters()),
            "dtype": "float32",
            "keys": KeyMatch(matched=len(state)),
            "classes_known": True,
            "preprocessing": preprocessing,
            "blocked": (),
            "notes": (),
        }
    )
    return dataclasses.replace(
        form,
        module=module,
        head=head,
        num_classes=len(classes),
        classes=classes,
        preprocessing=preprocessing,
        stages=tuple(stage for stage in form.stages if not within(stage, head)),
        record=record,
    )


def files_of(*models: Model | None) -> dict[str, Path]:
    """Give the files that models were loaded from, by the option that names them: the source's, the finetuned one's."""
    named = zip(("--source", "--finetuned"), models, strict=False)
    return {option: Path(model.record.spec) for option, model in named if model and is_file(Path(model.record.spec))}


def write_candidate(path: Path, model: Model, *, parents: Mapping[str, str], recipe: Mapping[str, Cell]) -> None:
    """Write a model as a checkpoint that every command reads and torchvision loads.

    Args:
        path: ``.safetensors`` or ``.pth``.
        model: From `candidate`.
        parents: SHA-256 of what the weights were made from, by what it was.
        recipe: How they were made.

    Raises:
        UsageError: If the extension is another one.
        OSError: If it cannot be written; an old file then is as it was.
    """
    write_checkpoint(
        path,
        model.module.state_dict(),
        classes=model.classes,
        preprocessing=model.preprocessing,
        architecture=model.architecture,
        parents=parents,
        recipe=recipe,
    )
