"""Options of `tlaudit repair` and of its methods."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field

from tlaudit.options.base import (
    Count,
    IntervalOptions,
    Number,
    Options,
    Place,
    Positive,
    Share,
    Stages,
    listed,
    listed_numbers,
)
from tlaudit.options.training import TrainingOptions

Methods = Annotated[tuple[str, ...], Field(min_length=1), BeforeValidator(listed)]
Weight = Annotated[Number, Field(ge=0, le=1e6)]


class MethodOptions(Options):
    """Base of the options of one repair method."""

    model_config = ConfigDict(allow_inf_nan=False)


class LdifsOptions(MethodOptions):
    """LDIFS: features at several stages stay near the source's (Mukhoti et al. 2023)."""

    weight: Weight = Field(default=10.0, description="Weight of the distance; means nothing without the reduction.")
    reduction: Literal["channel", "official", "sum"] = Field(
        default="channel",
        description="What distance is meant: channel (as LPIPS), official (the released code) or sum.",
    )
    stages: Stages | None = Field(default=None, description="Module paths; default those of the architecture's family.")


class L2spOptions(MethodOptions):
    """L2-SP: weights stay near the source's (Li et al. 2018)."""

    alpha: Weight = Field(default=0.1, description="Weight of the squared distance of the backbone's weights.")
    beta: Weight = Field(default=0.01, description="Weight of the squared weights of the new head.")


class LwfOptions(MethodOptions):
    """Learning without forgetting: answers to the source's task stay near the source's (Li & Hoiem 2017)."""

    weight: Weight = Field(default=1.0, description="Weight of the divergence of the answers.")
    temperature: Annotated[Number, Field(gt=0, le=100)] = Field(
        default=2.0, description="Temperature of the compared answers."
    )


class WiseFtOptions(MethodOptions):
    """WiSE-FT: weights between the source's and the finetuned ones (Wortsman et al. 2022)."""

    alpha: Share = Field(default=0.5, description="Share of the finetuned weights in the network that is written.")
    sweep: Annotated[tuple[Share, ...], BeforeValidator(listed_numbers)] = Field(
        default=tuple(step / 10 for step in range(11)), description="Shares that are tried beside it."
    )


class CompositesOptions(MethodOptions):
    """Training images pasted over images of lingering classes ("expanding the training data")."""

    share: Share = Field(default=0.5, description="Share of each batch that is shown as composites.")
    overlay_scale: Annotated[Number, Field(gt=0, lt=1)] = Field(
        default=0.4, description="Side of the overlay as a share of the picture's."
    )


class UnlearnOptions(MethodOptions):
    """Answers to images of lingering classes, through the source's head, become uniform."""

    weight: Weight = Field(default=1.0, description="Weight of the divergence from uniform answers.")


class L1Options(MethodOptions):
    """Activations of the last stage become sparse."""

    weight: Weight = Field(default=1e-4, description="Weight of the mean size of an activation.")


class PruneOptions(MethodOptions):
    """Channels that lingering classes use and the target classes never do are taken out (eqs. 6 and 7)."""

    percentile: Annotated[Number, Field(gt=0, lt=100)] = Field(
        default=90.0, description="A channel is active above this percentile of all activations of its layer."
    )
    stages: Stages | None = Field(default=None, description="Module paths; default the last stage.")


class JudgeOptions(IntervalOptions):
    """How networks are judged before and after a repair."""

    classes: Positive = Field(default=100, description="At most so many classes that linger before, best known first.")
    per_class: Positive = Field(default=5, description="Composites of each.")
    probe: Place | None = Field(
        default=None, description="Class folders that linear probes are fitted on; default the source images."
    )


class RepairOptions(Options):
    """The choices `tlaudit repair` leaves open (docs/methods.md)."""

    methods: Methods = Field(default=("ldifs",), description="Names of methods.")
    init: Literal["source-lp", "source", "finetuned"] | None = Field(
        default=None, description="Network a training begins with; default by method."
    )
    train: Place | None = Field(
        default=None, description="Class folders of training images; default the target images."
    )
    keep: Literal["best", "last"] = Field(
        default="best", description="Which epoch is kept: the best on the validation images, or the last."
    )
    patience: Count = Field(default=0, description="Stop after so many epochs without a better one; 0 for never.")
    save_every: Count = Field(default=50, description="Steps between two saved states; 0 for once an epoch.")
    training: TrainingOptions = TrainingOptions()
    judge: JudgeOptions = JudgeOptions()
    ldifs: LdifsOptions = LdifsOptions()
    l2sp: L2spOptions = L2spOptions()
    lwf: LwfOptions = LwfOptions()
    wise_ft: WiseFtOptions = WiseFtOptions()
    composites: CompositesOptions = CompositesOptions()
    unlearn: UnlearnOptions = UnlearnOptions()
    l1: L1Options = L1Options()
    prune: PruneOptions = PruneOptions()
