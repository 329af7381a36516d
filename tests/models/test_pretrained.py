"""Published weights, through the libraries' own cache: the tests put files there, nothing is downloaded."""

import hashlib
import urllib.error

import pytest
import safetensors.torch
import torch
from torchvision import models

import tiny
from tlaudit.errors import CheckpointError, UsageError
from tlaudit.models.pretrained import fingerprint, timm_weights
from tlaudit.models.sources import load_model


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty cache of torch's, and no network."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def offline(*args, **kwargs):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr("torch.hub.urlopen", offline)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def cache(folder, name, module, weights="DEFAULT"):
    url = models.get_model_weights(name)[weights].url
    path = folder / url.rpartition("/")[2]
    torch.save(module.state_dict(), path)
    return path


def test_torchvision_weights_from_the_cache(hub):
    reference = tiny.network("squeezenet1_1", 1000)
    cache(hub, "squeezenet1_1", reference)
    model = load_model("torchvision:squeezenet1_1")
    assert model.architecture == "squeezenet1_1"
    assert model.record.spec == "torchvision:squeezenet1_1:IMAGENET1K_V1"
    assert model.record.format == "torchvision weights SqueezeNet1_1_Weights.IMAGENET1K_V1"
    assert model.record.sha256 == fingerprint(reference.state_dict())
    assert model.record.classes_known
    assert (len(model.classes), model.classes[0]) == (1000, "tench")
    preset = models.SqueezeNet1_1_Weights.DEFAULT.transforms()
    assert (model.preprocessing.resize, model.preprocessing.crop) == (preset.resize_size[0], preset.crop_size[0])
    assert model.preprocessing.interpolation == "bilinear"
    assert model.preprocessing.mean == tuple(preset.mean)
    assert model.preprocessing.origin == "metadata of SqueezeNet1_1_Weights.IMAGENET1K_V1"
    with torch.inference_mode():
        pixels = torch.randn(2, 3, 64, 64)
        assert torch.equal(model.module(pixels), reference(pixels))


@pytest.mark.parametrize("weights", ["IMAGENET1K_V2", "MobileNet_V2_Weights.IMAGENET1K_V2"])
def test_torchvision_weights_by_name(hub, weights):
    cache(hub, "mobilenet_v2", tiny.network("mobilenet_v2", 1000), "IMAGENET1K_V2")
    model = load_model(f"torchvision:mobilenet_v2:{weights}")
    assert model.record.spec == "torchvision:mobilenet_v2:IMAGENET1K_V2"
    assert model.preprocessing.resize == 232


def test_torchvision_weights_with_auxiliary_heads(hub):
    name = "googlenet"  # inception_v3 has the same row, and takes five times as long
    full = models.get_model(name, aux_logits=True, init_weights=False)
    tiny.stirred(full)
    cache(hub, name, full)
    model = load_model(f"torchvision:{name}")
    reference = models.get_model(name, weights="DEFAULT").eval()
    assert model.module.transform_input
    assert "transform_input=True, set as torchvision's own weights need it" in model.record.notes[0]
    assert all(key.startswith("aux") for key in model.record.keys.ignored)
    assert model.record.keys.ignored
    with torch.inference_mode():
        pixels = torch.randn(1, 3, 96, 96)
        assert torch.equal(model.module(pixels), reference(pixels))


def test_torchvision_weights_offline(hub):
    with pytest.raises(CheckpointError) as caught:
        load_model("torchvision:resnet18:IMAGENET1K_V1")
    message = str(caught.value)
    assert "not in the cache" in message
    assert str(hub) in message
    assert "get_model('resnet18', weights='IMAGENET1K_V1')" in message


def test_announcement_of_a_download_stays_off_stdout(hub, capsys):
    with pytest.raises(CheckpointError):
        load_model("torchvision:resnet18")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Downloading" in captured.err


def test_download_with_a_wrong_hash(hub, monkeypatch):
    def wrong(url, *args, **kwargs):
        raise RuntimeError('invalid hash value (expected "f37072fd", got "00000000")')

    monkeypatch.setattr("torch.hub.download_url_to_file", wrong)
    with pytest.raises(CheckpointError, match="damaged.*invalid hash value.*remove .*resnet18-f37072fd.pth"):
        load_model("torchvision:resnet18")


def test_damaged_cache(hub):
    path = cache(hub, "squeezenet1_1", tiny.network("squeezenet1_1", 1000))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=f"damaged.*remove {path}"):
        load_model("torchvision:squeezenet1_1")


def test_cache_of_another_network(hub):
    cache(hub, "squeezenet1_1", tiny.network("squeezenet1_0", 1000))
    with pytest.raises(CheckpointError, match="do not fit their own architecture"):
        load_model("torchvision:squeezenet1_1")


def test_unknown_torchvision_names():
    with pytest.raises(UsageError, match="torchvision has no classifier 'resnet19'; nearest: resnet1"):
        load_model("torchvision:resnet19")
    with pytest.raises(UsageError, match="resnet18 has no weights 'V7'; there are IMAGENET1K_V1"):
        load_model("torchvision:resnet18:V7")
    with pytest.raises(UsageError, match="torchvision has no classifier ''"):
        load_model("torchvision:")


@pytest.mark.parametrize("options", [{"arch": "resnet18"}, {"use_ema": True}])
def test_options_of_files_are_refused(options):
    with pytest.raises(UsageError, match="are for files"):
        load_model("torchvision:resnet18", **options)


@pytest.fixture
def timm_file(tmp_path, monkeypatch):
    """A tiny network of timm's whose published weights are a file of ours; timm's own loading code runs."""
    import timm

    reference = tiny.stirred(timm.create_model("test_resnet"))
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(reference.state_dict(), path)
    create = timm.create_model

    def with_file(name, pretrained, **options):
        return create(name, pretrained=pretrained, pretrained_cfg_overlay={"file": str(path), **overlay}, **options)

    overlay = {}
    monkeypatch.setattr(timm, "create_model", with_file)
    return reference, overlay


def test_timm_weights(timm_file):
    reference, _ = timm_file
    model = load_model("timm:test_resnet.r160_in1k")
    assert (model.architecture, model.head, model.num_classes) == ("timm:test_resnet.r160_in1k", "fc", 1000)
    assert model.record.format == "timm weights r160_in1k"
    assert model.record.sha256 == fingerprint(reference.state_dict())
    assert (model.preprocessing.crop, model.preprocessing.resize) == (160, 168)
    assert model.preprocessing.interpolation == "bilinear"
    assert not model.record.notes
    with torch.inference_mode():
        pixels = torch.randn(2, 3, 64, 64)
        assert torch.equal(model.module(pixels), reference(pixels))


def test_timm_preprocessing_that_is_no_centre_crop(timm_file):
    timm_file[1]["crop_mode"] = "squash"
    model = load_model("timm:test_resnet.r160_in1k")
    assert model.preprocessing is None
    assert "crop mode 'squash'" in model.record.notes[0]


def test_timm_preprocessing_of_an_unknown_kind(timm_file):
    timm_file[1]["interpolation"] = "random"
    model = load_model("timm:test_resnet.r160_in1k")
    assert model.preprocessing is None
    assert "not understood" in model.record.notes[0]


def test_timm_offline(hub, monkeypatch):
    import timm

    def offline(*args, **kwargs):
        raise OSError("cannot find the requested files in the local cache\nmore")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(
        CheckpointError, match=r"OSError: cannot find the requested files in the local cache\)"
    ) as caught:
        timm_weights("resnet18.a1_in1k")
    assert "timm.create_model('resnet18.a1_in1k', pretrained=True)" in str(caught.value)
    assert str(hub) in str(caught.value)
    assert "HF_HUB_OFFLINE=1" in str(caught.value)


def test_timm_really_offline(tmp_path, monkeypatch):
    """The hub's own client, told to stay offline, with an empty cache."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match="timm:test_resnet.r160_in1k: the weights cannot be loaded") as caught:
        timm_weights("test_resnet.r160_in1k")
    assert str(tmp_path) in str(caught.value)


def test_timm_unknown_names():
    with pytest.raises(UsageError, match="timm has no network 'resnet19'"):
        load_model("timm:resnet19")


def test_fingerprint_depends_on_everything_and_on_no_order():
    state = {"a": torch.ones(2, 3), "b": torch.zeros(4, dtype=torch.bfloat16), "n": torch.tensor(3)}
    first = fingerprint(state)
    assert first == fingerprint(dict(reversed(state.items())))
    others = [
        {**state, "a": torch.ones(3, 2)},
        {**state, "a": torch.ones(2, 3).double()},
        {**state, "n": torch.tensor(4)},
        {"A": state["a"], "b": state["b"], "n": state["n"]},
    ]
    assert len({first, *(fingerprint(other) for other in others)}) == 5
    assert len(first) == len(hashlib.sha256().hexdigest())
