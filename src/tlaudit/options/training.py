"""How networks are trained."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from tlaudit.options.base import Flag, Number, Options, Positive, Share

OPTIMIZER_SETTINGS = {
    "adamw": frozenset({"beta1", "beta2", "eps", "amsgrad"}),
    "sgd": frozenset({"momentum", "dampening", "nesterov"}),
}
"""Settings that mean something to one optimizer only."""

_Decay = Annotated[Number, Field(ge=0, lt=1)]


class TrainingOptions(Options):
    """How a network is trained (docs/methods.md)."""

    model_config = ConfigDict(allow_inf_nan=False)

    epochs: Positive = Field(default=3, description="Passes over the training images.")
    optimizer: Literal["adamw", "sgd"] = Field(default="adamw", description="adamw or sgd.")
    learning_rate: Annotated[Number, Field(gt=0, le=10)] = Field(default=3e-4, description="Highest learning rate.")
    weight_decay: Annotated[Number, Field(ge=0, le=10)] = Field(default=0.01, description="Decay of the weights.")
    beta1: _Decay = Field(default=0.9, description="Decay of adamw's mean of the gradient.")
    beta2: _Decay = Field(default=0.999, description="Decay of adamw's mean of its square.")
    eps: Annotated[Number, Field(gt=0, le=1)] = Field(default=1e-8, description="Added to the root of that square.")
    amsgrad: Flag = Field(default=False, description="Divide by the largest such root so far.")
    momentum: _Decay = Field(default=0.9, description="Momentum of sgd.")
    dampening: Share = Field(default=0.0, description="Share of the gradient that does not enter sgd's momentum.")
    nesterov: Flag = Field(default=False, description="Nesterov's momentum in sgd.")
    warmup: Annotated[Number, Field(ge=0, lt=1)] = Field(
        default=0.1, description="Share of the steps in which the learning rate rises; then it falls as a cosine."
    )
    clip: Annotated[Number, Field(ge=0)] = Field(default=1.0, description="Largest norm of the gradient; 0 for any.")
    batch_norm: Literal["train", "frozen"] = Field(
        default="train", description="Whether batch norms learn, statistics included, or stay as they are."
    )
    flip: Flag = Field(default=True, description="Mirror half of the training images, chosen anew each epoch.")
    crop_scale: Annotated[Number, Field(gt=0, le=1)] = Field(
        default=1.0, description="Least share of a training image in the window cut out of it at random; 1 for all."
    )
    jitter: Share = Field(
        default=0.0, description="Brightness, contrast and saturation change by factors of up to 1 ± this."
    )
    batch_size: Positive = Field(default=32, description="Training images in a step.")

    @model_validator(mode="after")
    def _settings_are_of_the_optimizer(self) -> Self:
        for other, settings in OPTIMIZER_SETTINGS.items():
            given = [name for name in type(self).model_fields if name in settings & self.model_fields_set]
            if other != self.optimizer and given:
                verb, them = ("is", "it") if len(given) == 1 else ("are", "them")
                raise ValueError(
                    f"{' and '.join(given)} {verb} of {other}, and the optimizer is {self.optimizer}: leave {them} out "
                    f"or take {other}"
                )
        if self.nesterov and (not self.momentum or self.dampening):
            raise ValueError("nesterov needs a momentum above 0 and a dampening of 0")
        return self
