"""Composites per second of Grad-CAM, beside the bare forward pass, pytorch-grad-cam and captum.

Ours is all that the distraction check makes of a batch: the maps, their upsampling, the top pixels over the background
and their overlap with given masks, batch norms folded into convolutions as the check folds them. The bare forward pass,
nothing folded, gives logits and nothing else; forward and backward is what an explanation by gradients takes where
nobody stops at the layer that is explained. The other two give maps at the size of the images. All explain one network
with random weights on one batch. Network and batch lie channels-last in memory, as the checks have them;
pytorch-grad-cam is timed both with that and with what torchvision and a data loader give, which is how it is used.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch

from tlaudit.measure.overlap import overlap, top_pixels
from tlaudit.models.attribution import Attributor, upsampled
from tlaudit.models.folding import folded

from .networks import execution, network, noise
from .rounds import take_turns
from .rows import missing

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlaudit.models.runtime import Execution

    from .options import Options
    from .rows import Row

LAYER = "layer4"
BARE, BACKWARD = "bare forward pass", "forward and backward"
LIBRARY, LIBRARY_LAST, CAPTUM = "pytorch-grad-cam", "pytorch-grad-cam, channels-last", "captum"


def measure(options: Options) -> list[Row]:
    rows = []
    for precision in ("fp32", "bf16"):
        given = execution(options.device, precision, options.size(32, 4))
        contest = Contest(given, options.size(224, 96))
        peers = {CAPTUM: missing("captum"), LIBRARY: missing("pytorch_grad_cam")}
        absent = peers | {LIBRARY_LAST: peers[LIBRARY]}
        runs: dict[str, Callable[[], object]] = {
            "ours": contest.ours,
            "maps": contest.maps_alone,
            BARE: contest.bare,
            BACKWARD: contest.forward_and_backward,
        }
        runs |= contest.pytorch_grad_cam() if absent[LIBRARY] is None else {}
        runs |= contest.captum() if absent[CAPTUM] is None else {}
        rounds = take_turns(
            runs, rounds=options.size(5, 1), warmup=options.size(1, 0), device=options.kind, absent=absent
        )
        row = partial(rounds.row, "attribution", unit="composites/s", work=given.batch_size)
        maps, all_of_it = f"maps, {precision}", f"maps, top pixels, overlap, {precision}"
        rows += [
            row(all_of_it, "ours", peer=LIBRARY, bound=BARE),
            row(all_of_it, "ours", peer=LIBRARY_LAST, bound=BACKWARD),
            row(maps, "maps", peer=CAPTUM, bound=BARE),
        ]
    return rows


class Contest:
    """The passes over one batch, each a method without arguments."""

    def __init__(self, given: Execution, side: int) -> None:
        plain = network("resnet18")
        self.execution, self.size = given, (side, side)
        self.frozen = given.place(plain)
        # The libraries need parameters that ask for gradients.
        self.trainable = given.place(plain).requires_grad_(requires_grad=True)
        self.usual = plain.to(given.device).requires_grad_(requires_grad=True)
        self.pixels = noise(given, side)
        self.usual_pixels = self.pixels.contiguous()
        # Overlays of 0.4 of width and height, as the check pastes them.
        self.background = torch.ones(given.batch_size, side, side, dtype=torch.bool, device=given.device)
        self.background[:, : int(0.4 * side), : int(0.4 * side)] = False
        generator = torch.Generator().manual_seed(0)
        given_maps = torch.rand(self.background.shape, generator=generator).to(given.device)
        self.given = top_pixels(given_maps, self.background)
        self.attributor = Attributor(folded(self.frozen, self.pixels[:2], keep=(LAYER,)), LAYER)
        with given.attribution():
            self.predicted = self.frozen(self.pixels).argmax(1)

    def bare(self) -> torch.Tensor:
        with self.execution.inference():
            return self.frozen(self.pixels)

    def forward_and_backward(self) -> None:
        pixels = self.pixels.clone().requires_grad_(requires_grad=True)
        with self._autocast():
            scores = self.frozen(pixels).gather(1, self.predicted[:, None]).sum()
        scores.backward()

    def ours(self) -> torch.Tensor:
        with self.execution.attribution():
            maps = upsampled(self.attributor(self.pixels).maps, self.size)
            return overlap(top_pixels(maps, self.background), self.given).values

    def maps_alone(self) -> torch.Tensor:
        with self.execution.attribution():
            return upsampled(self.attributor(self.pixels).maps, self.size)

    def pytorch_grad_cam(self) -> dict[str, Callable[[], object]]:
        """Give the passes of the library, which has to be installed."""
        from pytorch_grad_cam import GradCAM
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        # It turns activations to NumPy as they are, and NumPy has no bfloat16: it gets float32 there.
        arrange = None if self.execution.precision == "fp32" else torch.Tensor.float

        def run(library: GradCAM, pixels: torch.Tensor) -> None:
            targets = [ClassifierOutputTarget(index) for index in self.predicted.tolist()]
            with self._autocast():
                library(pixels, targets)

        usual, last = (
            GradCAM(net, [net.get_submodule(LAYER)], reshape_transform=arrange) for net in (self.usual, self.trainable)
        )
        return {LIBRARY: partial(run, usual, self.usual_pixels), LIBRARY_LAST: partial(run, last, self.pixels)}

    def captum(self) -> dict[str, Callable[[], object]]:
        """Give the pass of the library, which has to be installed."""
        from captum.attr import LayerAttribution, LayerGradCam

        explained = LayerGradCam(self.trainable, self.trainable.get_submodule(LAYER))

        def run() -> None:
            with self._autocast():
                maps = explained.attribute(self.pixels, target=self.predicted, relu_attributions=True)
                LayerAttribution.interpolate(maps, self.size, "bilinear").detach()

        return {CAPTUM: run}

    def _autocast(self) -> torch.autocast:
        half = self.execution.precision != "fp32"
        return torch.autocast(self.execution.device.type, dtype=torch.bfloat16, enabled=half)
