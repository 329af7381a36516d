"""WiSE-FT: weights between those of the source and the finetuned ones (Wortsman et al. 2022). Nothing is trained."""

from __future__ import annotations

import copy
from itertools import chain
from typing import TYPE_CHECKING, ClassVar

import torch

from tlaudit.errors import UsageError
from tlaudit.models.heads import within
from tlaudit.repair.base import Bench, Init, Method, Need, Setup
from tlaudit.training.reestimation import with_statistics_of

if TYPE_CHECKING:
    from torch import Tensor, nn


class WiseFt(Method):
    """A share of the finetuned weights and the rest of the source's, under the finetuned head.

    What is no floating-point number is the finetuned network's. Between the two the statistics of batch norms are found
    anew on the training images; at either end each network's own are kept, so that a share of 1 is the finetuned
    network, bit for bit.
    """

    name = "wise-ft"
    summary = "weights between the source's and the finetuned ones, no training"
    inits: ClassVar[tuple[Init, ...]] = ()
    needs: ClassVar[frozenset[Need]] = frozenset({"finetuned"})

    def setup(self, bench: Bench) -> Setup:
        """Mix the weights, for the chosen share and all those of the sweep; see `Method.setup`."""
        options = bench.options.wise_ft
        networks = {alpha: _mixed(bench, alpha) for alpha in dict.fromkeys((options.alpha, *options.sweep))}
        swept = sorted(set(options.sweep))
        variants = tuple((f"{self.name} {alpha:g}", networks[alpha]) for alpha in swept)
        return Setup(networks[options.alpha], bench.training, None, variants)


def _mixed(bench: Bench, alpha: float) -> nn.Module:
    """One network on the way."""
    if bench.finetuned is None:
        raise UsageError(f"{WiseFt.name} mixes the source with a finetuned network: give it as --finetuned")
    network = copy.deepcopy(bench.finetuned)
    theirs = dict(_tensors(bench.source.module))
    with torch.no_grad():
        for name, tensor in _tensors(network):
            if within(name, bench.head) or not tensor.is_floating_point():
                continue
            if name not in theirs or theirs[name].shape != tensor.shape:
                raise UsageError(f"{WiseFt.name}: the source has no {name} of shape {tuple(tensor.shape)} to mix with")
            tensor.copy_(torch.lerp(theirs[name].to(tensor), tensor, alpha))
    if alpha in {0, 1}:
        return network
    return with_statistics_of(network, bench.training, execution=bench.execution, normalizer=bench.normalizer)


def _tensors(module: nn.Module) -> chain[tuple[str, Tensor]]:
    return chain(module.named_parameters(), module.named_buffers())
