"""Weights that torchvision and timm publish, through those libraries' own download and cache."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import logging
import math
import sys
from typing import TYPE_CHECKING, Any

import torch
from pydantic import ValidationError
from torchvision import models

from tlaudit.errors import CheckpointError, UsageError
from tlaudit.models.blueprint import Blueprint, torchvision_blueprint
from tlaudit.models.checkpoint import DAMAGE, Checkpoint
from tlaudit.models.construction import shapes_of, undisturbed
from tlaudit.models.factories import TIMM, import_timm, refuse_unknown_timm, timm_head
from tlaudit.models.families import architecture_names
from tlaudit.models.unwrap import Reading
from tlaudit.models.wording import listed, nearest, shown
from tlaudit.results import Preprocessing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

log = logging.getLogger(__name__)


def torchvision_weights(spec: str) -> tuple[Checkpoint, Blueprint]:
    """Get weights that torchvision publishes.

    Args:
        spec: ``NAME`` or ``NAME:WEIGHTS``, for example ``resnet18:IMAGENET1K_V1``; ``DEFAULT`` where left out.

    Returns:
        The weights with class names and preprocessing from their metadata, and their architecture.

    Raises:
        UsageError: If torchvision has no such network or weights; the nearest names are given.
        CheckpointError: If they are not in the cache and cannot be downloaded, or the cached file is damaged.
    """
    name, _, wanted = spec.partition(":")
    spec = shown(spec)
    if name not in architecture_names():
        near = nearest(name, architecture_names())
        raise UsageError(f"torchvision:{spec}: torchvision has no classifier {shown(name)!r}; nearest: {near}")
    known = models.get_model_weights(name)
    try:
        weights = known[(wanted or "DEFAULT").removeprefix(f"{known.__name__}.")]
    except KeyError:
        raise UsageError(
            f"torchvision:{spec}: {name} has no weights {shown(wanted)!r}; there are {listed(list(known.__members__))}"
        ) from None
    state = _download(f"torchvision:{spec}", name, weights)
    checkpoint = Checkpoint(
        name=f"torchvision:{name}:{weights.name}",
        readings=(Reading(dict(state), ()),),
        sha256=fingerprint(state),
        format=f"torchvision weights {weights}",
        classes=tuple(weights.meta["categories"]) if weights.meta.get("categories") else None,
        preprocessing=_from_torchvision(weights),
        architecture=name,
    )
    shapes = {key: tuple(tensor.shape) for key, tensor in state.items()}
    return checkpoint, torchvision_blueprint(name, shapes, pretrained=True)


def _download(spec: str, name: str, weights: Any) -> Mapping[str, Tensor]:
    folder = f"{torch.hub.get_dir()}/checkpoints"
    cached = f"{folder}/{weights.url.rpartition('/')[2]}"
    try:
        # The hub announces a download on stdout, which is for results.
        with contextlib.redirect_stdout(sys.stderr):
            state: Mapping[str, Tensor] = weights.get_state_dict(
                progress=sys.stderr.isatty(), check_hash=True, map_location="cpu", weights_only=True
            )
    except OSError as error:
        fetch = f"python -c \"from torchvision.models import get_model; get_model('{name}', weights='{weights.name}')\""
        raise CheckpointError(
            f"{spec}: the weights are not in the cache ({folder}) and cannot be downloaded ({shown(str(error))}). "
            f"Fetch them where there is a network: {fetch}, and copy the folder or point TORCH_HOME to it"
        ) from None
    except DAMAGE as error:
        raise CheckpointError(
            f"{spec}: the downloaded or cached file is damaged ({shown(str(error))}); remove {cached} and try again"
        ) from None
    return state


def _from_torchvision(weights: Any) -> Preprocessing:
    preset = weights.transforms()
    return Preprocessing(
        resize=preset.resize_size[0],
        crop=preset.crop_size[0],
        interpolation=preset.interpolation.value,
        mean=tuple(preset.mean),
        std=tuple(preset.std),
        origin=f"metadata of {weights}",
    )


def timm_weights(name: str) -> tuple[Checkpoint, Blueprint]:
    """Get weights that timm publishes.

    Args:
        name: As timm has it, with or without a tag: ``resnet50``, ``resnet50.a1_in1k``.

    Returns:
        The weights with their preprocessing, and their architecture.

    Raises:
        UsageError: If timm is not installed, or has no such network or weights.
        CheckpointError: If they are not in the cache and cannot be downloaded.
    """
    spec = f"{TIMM}{name}"
    timm = import_timm()
    refuse_unknown_timm(name)
    try:
        with undisturbed(), contextlib.redirect_stdout(sys.stderr):
            module = timm.create_model(name, pretrained=True).float()
    except DAMAGE as error:
        raise CheckpointError(_not_there(spec, name, error)) from None
    state = module.state_dict()
    preprocessing, notes = _from_timm(module, spec)
    tag = module.pretrained_cfg.get("tag") or "default"
    checkpoint = Checkpoint(
        name=spec,
        readings=(Reading(dict(state), ()),),
        sha256=fingerprint(state),
        format=f"timm weights {tag}",
        preprocessing=preprocessing,
        architecture=spec,
        notes=notes,
    )
    return checkpoint, Blueprint(spec, (timm_head(module, spec),), shapes_of(module), lambda _: module)


def _not_there(spec: str, name: str, error: BaseException) -> str:
    # timm itself brings the hub's client, so that it is there wherever this line is reached.
    from huggingface_hub.constants import HF_HUB_CACHE

    reason = shown(next(iter(str(error).splitlines()), ""))
    return (
        f"{shown(spec)}: the weights cannot be loaded ({type(error).__name__}: {reason}). Looked in "
        f"{HF_HUB_CACHE} and in {torch.hub.get_dir()}/checkpoints; fetch them where there is a network: "
        f"python -c \"import timm; timm.create_model('{name}', pretrained=True)\", and copy the folder or point "
        "HF_HOME or TORCH_HOME to it. HF_HUB_OFFLINE=1 skips the retries"
    )


def _from_timm(module: torch.nn.Module, spec: str) -> tuple[Preprocessing | None, tuple[str, ...]]:
    timm_data: Any = importlib.import_module("timm.data")
    config = timm_data.resolve_model_data_config(module)
    crop = config["input_size"][-1]
    if config["crop_mode"] != "center" or config["input_size"][-2] != crop:
        return None, (
            f"{spec} wants crop mode {config['crop_mode']!r} at {config['input_size'][-2:]} pixels, which is no short "
            "side and centre crop: say how images are prepared",
        )
    try:
        preprocessing = Preprocessing(
            resize=math.floor(crop / config["crop_pct"]),
            crop=crop,
            interpolation=config["interpolation"],
            mean=config["mean"],
            std=config["std"],
            origin=f"metadata of {spec}",
        )
    except ValidationError as error:
        return None, (f"the preprocessing of {spec} is not understood ({error.errors()[0]['msg']})",)
    return preprocessing, ()


def fingerprint(state: Mapping[str, Tensor]) -> str:
    """Give the SHA-256 of tensors: of key, dtype, shape and bytes of each, in the order of the keys."""
    digest = hashlib.sha256()
    for key in sorted(state):
        tensor = state[key].detach().cpu().contiguous()
        digest.update(f"{key}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
