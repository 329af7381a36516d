"""Where in an image a network sees a class: class activation maps of whole batches, on the network's device."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it

from tlaudit.errors import ShapeError, UsageError
from tlaudit.models.families import FAMILIES, matches
from tlaudit.models.heads import within
from tlaudit.models.library_cam import LIBRARY_METHODS, LibraryCam
from tlaudit.models.runtime import class_scores
from tlaudit.models.taps import tapped
from tlaudit.models.token_grid import Grid, infer_grid
from tlaudit.models.wording import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor, nn

METHODS: tuple[str, ...] = ("gradcam", *LIBRARY_METHODS)
"""Names of the methods: ``gradcam`` is computed here, the others by pytorch-grad-cam."""


class Explanation(NamedTuple):
    """Class activation maps of a batch.

    Attributes:
        maps: ``(N, h, w)`` float32, at least 0, on the device; at the layer's own grid for ``gradcam``, at the size of
            the images for the library's methods. Higher = speaks more for the class; the scale means nothing.
        logits: ``(N, K)`` float32.
        explained: Class whose map it is, ``(N,)`` int64.
        dead: ``(N,)`` bool: the map is constant, as it is when the gradient is exactly zero. It says nothing and is
            zero everywhere. A map of the library's that is not finite is dead too; one of ours stays as it came out.
    """

    maps: Tensor
    logits: Tensor
    explained: Tensor
    dead: Tensor


class Attributor:
    """Explains batches by the output of one layer.

    Grad-CAM (Selvaraju et al. 2017, eqs. 1 and 2): ``relu(sum_k w_k A_k)``, where ``A_k`` are the layer's channels and
    ``w_k`` is the gradient of the class's logit by ``A_k``, averaged over the grid. The forward pass runs without
    gradients up to the layer, so only what follows is differentiated, and parameters may be frozen. Maps agree with
    pytorch-grad-cam's, up to the scaling of each map to [0, 1], which is left out here, and but for layers whose output
    is overwritten in place by the next one: there the library weighs what it was overwritten with. Prefix tokens of
    transformers and the grid come from the tensors' shapes.

    The network is left as it was: mode, parameters, gradients, hooks.
    """

    layer: str

    def __init__(self, module: nn.Module, layer: str, method: str = "gradcam") -> None:
        """Choose the layer and the method.

        Args:
            module: Network in eval mode, on its device.
            layer: Module path in it, such as `attribution_layer` gives.
            method: One of `METHODS`.

        Raises:
            UsageError: If there is no such layer, with the nearest names, or no such method.
        """
        if method not in METHODS:
            raise UsageError(f"--method {method}: no such method; known are {', '.join(METHODS)}")
        paths = [path for path, _ in module.named_modules(remove_duplicate=False) if path]
        if layer not in paths:
            raise UsageError(f"--layer {layer}: the network has no such module; nearest: {nearest(layer, paths)}")
        self.layer = layer
        self._module = module
        self._library = None if method == "gradcam" else LibraryCam(module, layer, method)

    def __call__(self, pixels: Tensor, classes: Tensor | None = None) -> Explanation:
        """Explain a batch; to be called inside `Execution.attribution`, because inference mode rules gradients out.

        Args:
            pixels: Normalised images, ``(N, 3, H, W)`` on the device.
            classes: Class to explain for each image, ``(N,)`` int64 on the device; the predicted one where left out.

        Returns:
            Maps, logits and the classes explained.

        Raises:
            UsageError: If the layer does not run exactly once in a forward pass, its output is no tensor or has no
                spatial extent, or the logits do not depend on it.
            ShapeError: If there is not one class for each image.
            ValueError: If the network gives anything but one vector of logits for each image.
        """
        if classes is not None and classes.shape != pixels.shape[:1]:
            raise ShapeError(f"expected classes ({len(pixels)},), one for each image, got {tuple(classes.shape)}")
        if self._library is not None:
            return self._explain_by_library(self._library, pixels, classes)
        activation, grid, scores = self._run(pixels, _with_gradients)
        explained = scores.argmax(dim=1) if classes is None else classes
        gradient = self._gradient(scores, explained, activation)
        weights = grid.arranged(gradient).float().mean(dim=(2, 3))
        # A product and a sum, because autocast would compute an einsum in half precision.
        maps = (weights[:, :, None, None] * grid.arranged(activation.detach()).float()).sum(dim=1).relu_()
        spread = maps.amax(dim=(1, 2)) - maps.amin(dim=(1, 2))
        # A gradient of zero makes a map of zeros. NaN and infinity are no equals of 0: whoever asked must see them.
        dead = spread == 0
        return Explanation(maps.masked_fill_(dead[:, None, None], 0), scores.detach().float(), explained, dead)

    def _run(self, pixels: Tensor, follow: Callable[[Tensor], tuple[Tensor, Tensor]]) -> tuple[Tensor, Grid, Tensor]:
        """Run the network without gradients up to the layer, and beyond it as `follow` has it.

        Args:
            pixels: The batch.
            follow: Given the layer's output, says what to keep of it and what goes on through the network.

        Returns:
            What was kept, its layout, and the logits.
        """
        kept: list[Tensor] = []
        grids: list[Grid] = []

        def visit(_path: str, output: object) -> Tensor:
            if kept:
                raise UsageError(
                    f"layer {self.layer} runs more than once in a forward pass, so it has no one map: give --layer "
                    "with a module that runs once, such as the block around it"
                )
            tensor, grid = _with_extent(self.layer, output, pixels)
            grids.append(grid)
            keep, onward = follow(tensor)
            kept.append(keep)
            return onward

        # Leaving no_grad also ends the gradients that `follow` switches on, whatever is raised in between.
        with torch.no_grad(), tapped(self._module, [self.layer], visit):
            scores = class_scores(self._module, pixels)
        if not kept:
            raise UsageError(f"layer {self.layer} takes no part in the forward pass: give another --layer")
        return kept[0], grids[0], scores

    def _gradient(self, scores: Tensor, explained: Tensor, activation: Tensor) -> Tensor:
        """Differentiate the logit of each image's class by the layer's output."""
        gradient = None
        if scores.requires_grad:
            chosen = torch.zeros_like(scores).scatter_(1, explained[:, None], 1)
            (gradient,) = torch.autograd.grad(scores, activation, chosen, allow_unused=True)
        if gradient is None:
            raise UsageError(
                f"the logits do not depend on layer {self.layer}, or the network cuts its gradients off (detach, "
                "no_grad): give another --layer"
            )
        return gradient

    def _explain_by_library(self, library: LibraryCam, pixels: Tensor, classes: Tensor | None) -> Explanation:
        """Find out the classes and the layout, and leave the maps to the library."""
        _, grid, scores = self._run(pixels, lambda output: (output, output))
        explained = scores.argmax(dim=1) if classes is None else classes
        maps, dead = library.maps(pixels, explained, grid)
        return Explanation(maps, scores.float(), explained, dead)


def _with_gradients(output: Tensor) -> tuple[Tensor, Tensor]:
    """Begin a graph at a layer's output, and switch gradients on for what follows."""
    leaf = output.detach().requires_grad_()
    torch.set_grad_enabled(True)
    # A copy goes on: an in-place ReLU may follow, which must change neither a leaf nor what the map is made of.
    return leaf, leaf.clone()


def _with_extent(layer: str, output: object, pixels: Tensor) -> tuple[Tensor, Grid]:
    """Give a layer's output and its layout.

    Raises:
        UsageError: If it is no tensor, or has no spatial extent.
    """
    if not isinstance(output, torch.Tensor):
        raise UsageError(f"layer {layer} gives a {type(output).__name__}, expected a tensor: give another --layer")
    grid = infer_grid(output.shape, _size(pixels)) if len(output) == len(pixels) else None
    if grid is None:
        raise UsageError(
            f"layer {layer} gives {tuple(output.shape)} for images {tuple(pixels.shape)}, which has no spatial extent: "
            "give --layer with one before the pooling"
        )
    return output, grid


def upsampled(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bring maps to the size of the images.

    Bilinear between the centres of cells, as OpenCV's ``INTER_LINEAR``.

    Args:
        maps: ``(N, h, w)`` float32.
        size: Height and width wanted.

    Returns:
        ``(N, H, W)`` float32; the given tensor where it has that size already.
    """
    if tuple(maps.shape[1:]) == tuple(size):
        return maps
    return F.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]


def attribution_layer(module: nn.Module, family: str | None, head: str, pixels: Tensor) -> str:
    """Find the layer whose output is to be explained.

    A family's row names it. For any other network one forward and backward pass finds out: of the modules that end
    before the head and run once, the last whose output has a grid on which the predicted logit's gradient is not zero
    everywhere, and as many channels as the last grid of all. Where the head reads a class token alone, that leaves the
    entrance of the last block, because later outputs matter at that token only.

    Args:
        module: Network in eval mode, on its device.
        family: Name of its row in the table of families, or None.
        head: Module path of its classification head.
        pixels: A few normalised images, ``(N, 3, H, W)`` on the device; not looked at where the family is known.
            As for an `Attributor`, inference mode must be off.

    Returns:
        Module path.

    Raises:
        UsageError: If no module will do.
        ValueError: If the network gives anything but one vector of logits for each image.
    """
    patterns = [row.attribution for row in FAMILIES if row.name == family]
    named: list[str] = [
        path for path, _ in module.named_modules() if any(matches(path, pattern) for pattern in patterns)
    ]
    if named:
        return named[-1]
    survey = _Survey(head, pixels)
    with torch.enable_grad(), tapped(module, [path for path, _ in module.named_modules() if path], survey.visit):
        images = pixels.clone().requires_grad_()
        # A copy goes in, because a network may normalise its input in place.
        best = class_scores(module, images.clone()).amax(dim=1).sum()
        if best.requires_grad:
            torch.autograd.grad(best, images, allow_unused=True)
    chosen = survey.chosen()
    if chosen is None:
        raise UsageError(
            "no layer was found whose output has rows and columns and a gradient: give --layer with a module path"
        )
    return chosen


class _Survey:
    """What each module gives in one forward pass, and whether the logits depend on it."""

    def __init__(self, head: str, pixels: Tensor) -> None:
        self._head, self._pixels = head, pixels
        self._ended = False
        self._runs: dict[str, int] = {}
        self._widths: dict[str, int] = {}
        self._alive: set[str] = set()
        self._token_counts: set[int] = set()

    def visit(self, path: str, output: object) -> None:
        """Take note of an output."""
        self._ended = self._ended or path == self._head
        self._runs[path] = self._runs.get(path, 0) + 1
        if self._ended or within(path, self._head) or not isinstance(output, torch.Tensor):
            return
        grid = infer_grid(output.shape, _size(self._pixels)) if len(output) == len(self._pixels) else None
        if grid is None or not output.requires_grad or self._is_attention(output.shape):
            return
        if output.ndim == 3:
            self._token_counts.add(output.shape[1])
        self._widths[path] = output.shape[grid.channels]

        def note(gradient: Tensor) -> None:
            if grid.arranged(gradient).any():
                self._alive.add(path)

        output.register_hook(note)  # type: ignore[no-untyped-call]

    def _is_attention(self, shape: Sequence[int]) -> bool:
        """Whether these are heads by tokens by something, which looks like channels of a picture."""
        return len(shape) == 4 and shape[2] in self._token_counts

    def chosen(self) -> str | None:
        """Give the layer, once the gradients have been seen."""
        widths = {path: width for path, width in self._widths.items() if self._runs[path] == 1}
        last = next(reversed(widths.values()), None)
        fit = [path for path, width in widths.items() if path in self._alive and width == last]
        return fit[-1] if fit else None


def _size(pixels: Tensor) -> tuple[int, int]:
    return pixels.shape[-2], pixels.shape[-1]
