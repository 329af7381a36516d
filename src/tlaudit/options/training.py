"""How networks are trained."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from tlaudit.options.base import Flag, Options, Positive


class TrainingOptions(Options):
    """How a network is trained (docs/methods.md)."""

    model_config = ConfigDict(allow_inf_nan=False)

    epochs: Positive = Field(default=3, description="Passes over the training images.")
    optimizer: Literal["adamw", "sgd"] = Field(default="adamw", description="adamw or sgd.")
    learning_rate: Annotated[float, Field(gt=0, le=10)] = Field(default=3e-4, description="Highest learning rate.")
    weight_decay: Annotated[float, Field(ge=0, le=10)] = Field(default=0.01, description="Decay of the weights.")
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(default=0.9, description="Momentum of sgd.")
    warmup: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.1, description="Share of the steps in which the learning rate rises; then it falls as a cosine."
    )
    clip: Annotated[float, Field(ge=0)] = Field(default=1.0, description="Largest norm of the gradient; 0 for any.")
    batch_norm: Literal["train", "frozen"] = Field(
        default="train", description="Whether batch norms learn, statistics included, or stay as they are."
    )
    flip: Flag = Field(default=True, description="Mirror half of the training images, chosen anew each epoch.")
    batch_size: Positive = Field(default=32, description="Training images in a step.")

    @model_validator(mode="after")
    def _momentum_is_of_sgd(self) -> Self:
        if self.optimizer == "adamw" and "momentum" in self.model_fields_set:
            raise ValueError("momentum is of sgd, and the optimizer is adamw: leave it out or take sgd")
        return self
