"""Class activation maps of the pytorch-grad-cam library, for the methods that are not computed here.

The only importer of that library, and only when a map is asked for: it takes seconds to load.
"""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tlaudit.models.runtime import shared_copy

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from tlaudit.models.token_grid import Grid

LIBRARY_METHODS = {
    "gradcam++": "GradCAMPlusPlus",
    "layercam": "LayerCAM",
    "hirescam": "HiResCAM",
    "xgradcam": "XGradCAM",
    "gradcamelementwise": "GradCAMElementWise",
    "eigencam": "EigenCAM",
    "eigengradcam": "EigenGradCAM",
    "ablationcam": "AblationCAM",
    "scorecam": "ScoreCAM",
}
"""Our names and the library's classes.

Left out: RandomCAM and KPCA_CAM (another map at every call), ShapleyCAM (no token layouts, no half precision), FullGrad
(takes all layers), FinerCAM (explains the difference between classes), and what the oldest supported release lacks.
"""


class LibraryCam:
    """One method of the library at one layer of a network, which is left as it is.

    The library switches a network's mode, puts hooks on it and swaps layers, which it does not put back where something
    is raised; so each time it gets a new copy of the skeleton that shares the weights.
    """

    def __init__(self, module: nn.Module, layer: str, method: str) -> None:
        """Choose the layer and the method.

        Args:
            module: Network in eval mode, on its device.
            layer: Module path in it.
            method: A key of `LIBRARY_METHODS`.
        """
        self._module, self._layer, self._method = module, layer, method

    def maps(self, pixels: Tensor, classes: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
        """Explain a batch.

        The library scales every map to [0, 1], also one that is only rounding noise. Whether a map was constant is
        therefore decided on what the method gave before that.

        Args:
            pixels: Normalised images, ``(N, 3, H, W)`` on the device.
            classes: Class whose map is wanted, ``(N,)`` int64.
            grid: Layout of the layer's output.

        Returns:
            Maps ``(N, H, W)`` float32 in [0, 1] on the device, and ``(N,)`` bool: constant before scaling, or not
            finite; such a map is zero.
        """
        # One image at a time where the method makes an image of every channel, which fills the memory.
        step = 1 if self._method == "scorecam" else len(pixels)
        parts = [
            self._explain(pixels[start : start + step], classes[start : start + step], grid)
            for start in range(0, len(pixels), step)
        ]
        maps = np.concatenate([scaled for scaled, _ in parts])
        raw = np.maximum(np.concatenate([unscaled for _, unscaled in parts]), 0)
        spread = raw.max(axis=(1, 2)) - raw.min(axis=(1, 2))
        dead = ~(np.isfinite(spread) & (spread > 0))
        maps[dead] = 0
        return torch.from_numpy(maps).to(pixels.device), torch.from_numpy(dead).to(pixels.device)

    def _explain(self, pixels: Tensor, classes: Tensor, grid: Grid) -> tuple[Any, Any]:
        """Give the library's maps, ``(N, H, W)``, and those before clipping and scaling, ``(N, h, w)``."""
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        cam = self._build(grid)
        unscaled: list[Any] = []
        made = cam.get_cam_image

        def kept(*args: Any, **kwargs: Any) -> Any:
            unscaled.append(made(*args, **kwargs))
            return unscaled[-1]

        cam.get_cam_image = kept
        # Gradients flow because the images ask for them: the parameters stay frozen and take none.
        cam.compute_input_gradient = True
        try:
            # Some methods draw progress bars; some divide by scores that may be zero, which shows in the map.
            with torch.enable_grad(), contextlib.redirect_stderr(io.StringIO()), np.errstate(all="ignore"):
                scaled = cam(pixels.clone(), [ClassifierOutputTarget(int(index)) for index in classes])
        finally:
            cam.activations_and_grads.release()
        return scaled, np.float32(unscaled[0])

    def _build(self, grid: Grid) -> Any:
        import pytorch_grad_cam

        method = getattr(pytorch_grad_cam, LIBRARY_METHODS[self._method])
        options: dict[str, object] = {}
        if self._method == "ablationcam":
            ablation = pytorch_grad_cam.AblationLayer if grid.channels == 1 else pytorch_grad_cam.AblationLayerVit
            options["ablation_layer"] = ablation()
        module = shared_copy(self._module)
        return method(module, [module.get_submodule(self._layer)], reshape_transform=_in_float32(grid), **options)


def _in_float32(grid: Grid) -> Callable[[Tensor], Tensor]:
    """Arrange activations and gradients as the library wants them.

    NumPy knows no bfloat16; and without a copy an in-place ReLU after the layer would change what the library kept.
    """
    return lambda tensor: grid.arranged(tensor).detach().to(torch.float32, copy=True)
