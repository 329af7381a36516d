from __future__ import annotations

import pytest
import torch
from torchvision.transforms import Compose, ConvertImageDtype, Normalize, ToTensor
from torchvision.transforms.functional import to_pil_image

from tlaudit.errors import ShapeError, UsageError
from tlaudit.models.preprocess import IMAGENET, Normalizer, PreprocessOverrides, resolve_preprocessing
from tlaudit.options import PreprocessOptions
from tlaudit.results import Preprocessing

CPU = torch.device("cpu")
WEIGHTS = Preprocessing(
    resize=232, crop=224, interpolation="bicubic", mean=(0.5,) * 3, std=(0.25,) * 3, origin="the weights' metadata"
)


def test_nothing_known_is_imagenet() -> None:
    assert resolve_preprocessing(None) == IMAGENET
    assert (IMAGENET.geometry, IMAGENET.mean, IMAGENET.std) == (
        (256, 224, "bilinear"),
        (0.485, 0.456, 0.406),
        (0.229, 0.224, 0.225),
    )


def test_metadata_win_over_the_default() -> None:
    assert resolve_preprocessing(WEIGHTS) == WEIGHTS
    assert resolve_preprocessing(WEIGHTS, PreprocessOverrides(), PreprocessOptions()) == WEIGHTS


def test_the_first_override_wins_and_origin_says_what_came_from_where() -> None:
    line = PreprocessOverrides(resize=300, origin="command line")
    file = PreprocessOverrides(resize=400, crop=280, std=(1.0, 1.0, 1.0), origin="tlaudit.toml")
    found = resolve_preprocessing(WEIGHTS, line, file)
    assert found == Preprocessing(
        resize=300,
        crop=280,
        interpolation="bicubic",
        mean=(0.5,) * 3,
        std=(1.0,) * 3,
        origin="resize: command line; crop, std: tlaudit.toml; interpolation, mean: the weights' metadata",
    )


def test_options_of_the_configuration_are_overrides() -> None:
    found = resolve_preprocessing(None, PreprocessOptions(resize=64, crop=64))
    assert found.geometry == (64, 64, "bilinear")
    assert found.origin == "resize, crop: options; interpolation, mean, std: ImageNet's default"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (PreprocessOverrides(resize=0), r"resize \(options\): .* got 0"),
        (PreprocessOverrides(interpolation="magic"), r"interpolation \(options\): .* got magic"),
        (PreprocessOverrides(mean=(0.1, 0.2, float("nan"))), r"mean \(options\)"),
        (PreprocessOverrides(std=(1.0, 0.0, 1.0)), r"std \(options\): expected three numbers above 0"),
        (PreprocessOverrides(crop=299), r"crop of 299 \(options\) does not fit into a short side of 256 \(ImageNet's"),
    ],
)
def test_refuses_numbers_out_of_range(override: PreprocessOverrides, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        resolve_preprocessing(None, override)


def test_a_border_the_weights_were_trained_with_is_kept_and_one_from_the_user_refused() -> None:
    bordered = WEIGHTS.model_copy(update={"resize": 200})
    assert resolve_preprocessing(bordered).geometry == (200, 224, "bicubic")
    with pytest.raises(UsageError, match="crop of 224 .options. does not fit into a short side of 200"):
        resolve_preprocessing(None, PreprocessOverrides(resize=200, crop=224))


def every_value(side: int) -> torch.Tensor:
    """Pictures in which each channel takes each of the 256 values."""
    values = torch.arange(256, dtype=torch.uint8).repeat(3 * side * side * 2 // 256 + 1)[: 3 * side * side * 2]
    return values.view(2, side, side, 3).permute(0, 3, 1, 2)


@pytest.mark.parametrize("preprocessing", [IMAGENET, WEIGHTS], ids=["imagenet", "weights"])
def test_normalizer_agrees_with_torchvision_bit_for_bit(preprocessing: Preprocessing) -> None:
    preprocessing = preprocessing.model_copy(update={"crop": 32})
    transform = Compose([ToTensor(), Normalize(preprocessing.mean, preprocessing.std)])
    pixels = every_value(32)
    for given in (pixels, pixels.contiguous()):
        found = Normalizer(preprocessing, CPU)(given)
        assert torch.equal(found, torch.stack([transform(to_pil_image(picture)) for picture in pixels]))
        assert torch.equal(
            found, Normalize(preprocessing.mean, preprocessing.std)(ConvertImageDtype(torch.float)(pixels))
        )
        assert found.is_contiguous(memory_format=torch.channels_last)
        assert found.dtype == torch.float32


def test_normalizer_leaves_its_input() -> None:
    pixels = every_value(224)
    before = pixels.clone()
    normalize = Normalizer(IMAGENET, CPU)
    with torch.inference_mode():
        first = normalize(pixels)
    assert torch.equal(pixels, before)
    assert torch.equal(normalize(pixels), first)


@pytest.mark.parametrize(
    "pixels",
    [
        torch.zeros(2, 3, 224, 224),
        torch.zeros(3, 224, 224, dtype=torch.uint8),
        torch.zeros(2, 3, 32, 32, dtype=torch.uint8),
    ],
    ids=["floats", "one picture", "another size"],
)
def test_normalizer_refuses_other_shapes(pixels: torch.Tensor) -> None:
    with pytest.raises(ShapeError, match=r"expected pixels \(N, 3, 224, 224\) uint8, got \("):
        Normalizer(IMAGENET, CPU)(pixels)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_normalizer_puts_pictures_on_the_device() -> None:
    pixels = every_value(224)
    found = Normalizer(IMAGENET, torch.device("cuda"))(pixels)
    assert found.is_cuda
    assert torch.allclose(found.cpu(), Normalizer(IMAGENET, CPU)(pixels), rtol=0, atol=1e-6)
