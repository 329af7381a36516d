"""From what the user names to a network with every tensor in its place."""

import os
from pathlib import Path

import pytest
import torch
from torch import nn

import tiny
from tlaudit.errors import ArchitectureError, CheckpointError, MismatchError, UsageError
from tlaudit.models.checkpoint import write_checkpoint
from tlaudit.models.sources import load_model
from tlaudit.results import ModelRecord, Preprocessing

PIXELS = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def outputs(module):
    with torch.inference_mode():
        return module(PIXELS)


@pytest.fixture(scope="module")
def shuffle():
    return tiny.network("shufflenet_v2_x0_5", 5)


def test_model_and_record(tmp_path, shuffle):
    path = tiny.saved(tmp_path / "net.pth", shuffle)
    model = load_model(path)
    assert torch.equal(outputs(model.module), outputs(shuffle))
    assert not model.module.training
    assert not any(parameter.requires_grad for parameter in model.module.parameters())
    assert (model.architecture, model.head, model.num_classes) == ("shufflenet_v2_x0_5", "fc", 5)
    assert model.stages == ("stage2", "stage3", "stage4", "conv5")
    record = model.record
    assert record.spec == str(path)
    assert (record.family, record.dtype, record.classes_known, record.notes) == ("shufflenet", "float32", False, ())
    assert record.parameters == sum(parameter.numel() for parameter in shuffle.parameters())
    assert record.keys.matched == len(shuffle.state_dict())
    assert ModelRecord.model_validate_json(record.model_dump_json()) == record


def test_torchvision_families_with_older_layers_of_state(tmp_path):
    # MNASNet refuses a state without a version, which neither safetensors nor a dict comprehension keeps.
    reference = tiny.network("mnasnet0_5", 3)
    write_checkpoint(tmp_path / "net.safetensors", reference.state_dict())
    assert torch.equal(outputs(load_model(tmp_path / "net.safetensors").module), outputs(reference))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_held_as_float32(tmp_path, dtype):
    reference = tiny.own(3).to(dtype)
    model = load_model(tiny.saved(tmp_path / "net.pth", reference), arch=tiny.OWN)
    assert {tensor.dtype for tensor in model.module.parameters()} == {torch.float32}
    assert model.record.dtype == f"{str(dtype).removeprefix('torch.')} (held as float32)"
    assert torch.equal(outputs(model.module), outputs(reference.float()))


def test_metadata_of_our_own(tmp_path):
    preparation = Preprocessing(
        resize=64, crop=64, interpolation="bilinear", mean=(0, 0, 0), std=(1, 1, 1), origin="checkpoint metadata"
    )
    path = tmp_path / "net.safetensors"
    state = tiny.network("squeezenet1_1", 2).state_dict()
    write_checkpoint(path, state, classes=["cat", "dog"], preprocessing=preparation, architecture="squeezenet1_1")
    model = load_model(path)
    assert (model.classes, model.preprocessing) == (("cat", "dog"), preparation)
    assert model.record.preprocessing == preparation
    assert model.record.classes_known

    write_checkpoint(path, state, architecture="squeezenet1_0")
    with pytest.raises(MismatchError, match="is no squeezenet1_0, which the file's own metadata says.*squeezenet1_1"):
        load_model(path)
    write_checkpoint(path, state, architecture="shutil:rmtree")
    model = load_model(path)
    assert model.architecture == "squeezenet1_1"
    assert model.record.notes == ("the file says that it is shutil:rmtree; give --arch if that is to be believed",)
    write_checkpoint(path, tiny.own(3).state_dict(), architecture="shutil:rmtree")
    with pytest.raises(ArchitectureError, match="for your own; the file says that it is shutil:rmtree"):
        load_model(path)
    write_checkpoint(path, state, classes=["cat", "dog", "cow"])
    with pytest.raises(CheckpointError, match=r"names 3 classes, but the head classifier\.1 has 2"):
        load_model(path)


def test_class_names_of_a_training_script(tmp_path, shuffle):
    content = {"state_dict": shuffle.state_dict(), "class_to_idx": {c: i for i, c in enumerate("abcde")}, "epoch": 9}
    assert load_model(tiny.saved(tmp_path / "net.pth", content)).classes == tuple("abcde")


def test_lightning_checkpoint(tmp_path, shuffle):
    state = {f"model.{key}": tensor for key, tensor in shuffle.state_dict().items()}
    content = {
        "state_dict": {**state, "loss.weight": torch.ones(5)},
        "pytorch-lightning_version": "2.4.0",
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(3)}}}],
        "hyper_parameters": {"lr": 0.1},
    }
    model = load_model(tiny.saved(tmp_path / "last.ckpt", content))
    assert torch.equal(outputs(model.module), outputs(shuffle))
    assert model.record.keys.ignored == ("loss.weight",)


def test_averaged_weights(tmp_path, shuffle):
    average = tiny.nudged(shuffle)
    path = tiny.saved(
        tmp_path / "net.pth",
        {"model": shuffle.state_dict(), "model_ema": {f"module.{k}": t for k, t in average.items()}},
    )
    plain, averaged = load_model(path), load_model(path, use_ema=True)
    assert torch.equal(plain.module.fc.weight, shuffle.fc.weight)
    assert torch.equal(averaged.module.fc.weight, average["fc.weight"])
    assert "--use-ema" in plain.record.notes[0]


def test_missing_counters_are_listed(tmp_path, shuffle):
    state = {key: tensor for key, tensor in shuffle.state_dict().items() if "num_batches" not in key}
    model = load_model(tiny.saved(tmp_path / "net.pth", state))
    assert len(model.record.keys.missing) == 56
    assert "56 num_batches_tracked counters are missing" in model.record.notes[0]
    assert torch.equal(outputs(model.module), outputs(shuffle))


def test_googlenet_says_what_a_file_cannot(tmp_path):
    model = load_model(tiny.saved(tmp_path / "net.pth", tiny.network("googlenet", 3)))
    assert model.module.transform_input is False
    assert "transform_input=False, torchvision's default" in model.record.notes[0]

    parent = load_model(tiny.saved(tmp_path / "net.pth", tiny.network("googlenet", 3)))
    parent.module.transform_input = True
    child = load_model(tmp_path / "net.pth", like=parent)
    assert child.module.transform_input is True
    assert "transform_input=True, taken from the source network" in child.record.notes[0]


def test_vit_of_another_image_size(tmp_path):
    reference = tiny.network("vit_b_32", 3, image_size=64)
    model = load_model(tiny.saved(tmp_path / "net.pth", reference))
    assert torch.equal(outputs(model.module), outputs(reference))
    assert model.stages[0] == "encoder.layers.encoder_layer_0"
    assert model.preprocessing.geometry == (64, 64, "bilinear"), "other images it cannot take"


def test_grown_head(tmp_path):
    reference = tiny.network("resnet18", 3)
    reference.fc = nn.Sequential(nn.Linear(512, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 4)).eval()
    model = load_model(tiny.saved(tmp_path / "net.pth", reference))
    assert (model.head, model.num_classes) == ("fc", 4)
    assert torch.equal(outputs(model.module), outputs(reference))
    assert "ReLU was assumed at 1" in model.record.notes[0]


def test_own_architecture(tmp_path):
    reference = tiny.own(4)
    path = tiny.saved(tmp_path / "net.pth", reference)
    model = load_model(path, arch=tiny.OWN)
    assert torch.equal(outputs(model.module), outputs(reference))
    assert (model.architecture, model.head, model.num_classes) == (tiny.OWN, "fc", 4)
    assert model.stages == ("stem", "blocks.0", "blocks.1")
    assert model.record.family is None


def test_own_architecture_with_a_child_called_model(tmp_path):
    path = tmp_path / "wrapper.py"
    path.write_text(
        "from torch import nn\nclass Net(nn.Module):\n"
        "    def __init__(self, num_classes):\n        super().__init__()\n"
        "        self.model = nn.Sequential(nn.Flatten(), nn.Linear(12, 4))\n"
        "        self.out = nn.Linear(4, num_classes)\n"
        "    def forward(self, x):\n        return self.out(self.model(x))\n"
    )
    state = {
        "model.1.weight": torch.ones(4, 12),
        "model.1.bias": torch.ones(4),
        "out.weight": torch.ones(3, 4),
        "out.bias": torch.ones(3),
    }
    for number, prefix in enumerate(["", "module.", "model."]):
        file = tiny.saved(tmp_path / f"{number}.pth", {f"{prefix}{key}": tensor for key, tensor in state.items()})
        model = load_model(file, arch=f"{path}:Net")
        assert (model.head, model.num_classes, model.record.keys.ignored) == ("out", 3, ())


def test_tied_weights_stay_tied(tmp_path):
    path = tmp_path / "tied.py"
    path.write_text(
        "from torch import nn\nclass Net(nn.Module):\n"
        "    def __init__(self, num_classes):\n        super().__init__()\n"
        "        self.a = nn.Linear(4, 4)\n        self.b = nn.Linear(4, 4)\n        self.b.weight = self.a.weight\n"
        "        self.out = nn.Linear(4, num_classes)\n"
    )
    weight = torch.randn(4, 4)
    state = {"a.weight": weight, "b.weight": weight, "a.bias": torch.ones(4), "b.bias": torch.ones(4)}
    state |= {"out.weight": torch.ones(3, 4), "out.bias": torch.ones(3)}
    model = load_model(tiny.saved(tmp_path / "net.pth", state), arch=f"{path}:Net")
    assert model.module.a.weight is model.module.b.weight


def test_timm_architecture(tmp_path):
    timm = pytest.importorskip("timm")
    reference = tiny.stirred(timm.create_model("test_resnet", num_classes=3))
    model = load_model(tiny.saved(tmp_path / "net.pth", reference), arch="timm:test_resnet")
    assert torch.equal(outputs(model.module), outputs(reference))
    assert (model.architecture, model.head) == ("timm:test_resnet", "fc")
    assert "layer4" in model.stages
    assert "fc" not in model.stages


def test_named_torchvision_architecture_may_have_a_grown_head(tmp_path):
    reference = tiny.network("squeezenet1_1", 3)
    path = tiny.saved(tmp_path / "net.pth", reference)
    assert load_model(path, arch="squeezenet1_1").num_classes == 3
    assert load_model(path, arch="torchvision:squeezenet1_1").num_classes == 3


def test_architecture_that_does_not_fit(tmp_path, shuffle):
    path = tiny.saved(tmp_path / "net.pth", shuffle)
    with pytest.raises(MismatchError) as caught:
        load_model(path, arch="squeezenet1_1")
    message = str(caught.value)
    assert f"{path}: is no squeezenet1_1, which --arch says: 0 tensors match, 50 missing (features.0.weight" in message
    assert "unexpected (conv1.0.weight" in message
    assert message.endswith("By keys and shapes it is shufflenet_v2_x0_5")
    with pytest.raises(MismatchError, match="0 tensors match") as caught:
        load_model(path, arch=tiny.OWN)
    with pytest.raises(UsageError, match="torchvision has no such classifier; nearest: shufflenet_v2_x0_5"):
        load_model(path, arch="shufflenet_v2_x0_6")


def test_a_name_without_its_library():
    with pytest.raises(UsageError, match="no such file; torchvision's weights of that name are torchvision:resnet18"):
        load_model("resnet18")


def test_head_by_name(tmp_path):
    path = tiny.saved(tmp_path / "net.pth", tiny.network("mobilenet_v3_small", 3))
    model = load_model(path, head="classifier")
    assert (model.head, model.record.head, model.num_classes) == ("classifier", "classifier", 3)
    with pytest.raises(
        UsageError, match="--head clasifier: mobilenet_v3_small has no such module.*nearest: classifier"
    ):
        load_model(path, head="clasifier")
    with pytest.raises(UsageError, match=r"--head features leaves out classifier\.3"):
        load_model(path, head="features")


def test_head_of_an_own_architecture_by_name(tmp_path):
    path = tiny.saved(tmp_path / "net.pth", tiny.own(4))
    assert load_model(path, arch=tiny.OWN, head="fc").head == "fc"
    with pytest.raises(UsageError, match=r"no such module.*nearest: stem"):
        load_model(path, arch=tiny.OWN, head="steam")


def test_like_an_own_source(tmp_path):
    source = load_model(tiny.saved(tmp_path / "source.pth", tiny.own(9)), arch=tiny.OWN)
    path = tiny.saved(tmp_path / "finetuned.pth", tiny.own(2, seed=1))
    with pytest.raises(ArchitectureError, match="Give --arch"):
        load_model(path)
    model = load_model(path, like=source)
    assert (model.architecture, model.num_classes) == (tiny.OWN, 2)
    assert "taken from the source network" in model.record.notes[0]


def test_like_an_own_source_wins_over_a_look_alike(tmp_path):
    own = tmp_path / "blurred.py"
    own.write_text(
        "from torchvision.models import SqueezeNet\ndef net(num_classes):\n    return SqueezeNet('1_1', num_classes)\n"
    )
    path = tiny.saved(tmp_path / "net.pth", tiny.network("squeezenet1_1", 3))
    source = load_model(path, arch=f"{own}:net")
    assert load_model(path).architecture == "squeezenet1_1"
    assert load_model(path, like=source).architecture == f"{own}:net"


def test_like_something_else_changes_nothing(tmp_path, shuffle):
    source = load_model(tiny.saved(tmp_path / "source.pth", tiny.own(9)), arch=tiny.OWN)
    path = tiny.saved(tmp_path / "net.pth", shuffle)
    assert load_model(path, like=source).architecture == "shufflenet_v2_x0_5"
    alien = tiny.saved(tmp_path / "alien.pth", {"w.weight": torch.ones(2, 2)})
    with pytest.raises(ArchitectureError, match="Give --arch"):
        load_model(alien, like=source)


def test_names_what_is_not_finite(tmp_path):
    state = tiny.own(3).state_dict()
    state["stem.0.weight"][0, 0, 0, 0] = float("nan")
    state["stem.1.running_var"][2] = float("inf")
    model = load_model(tiny.saved(tmp_path / "net.pth", state), arch=tiny.OWN)
    assert model.record.non_finite == ("stem.0.weight", "stem.1.running_var")


def test_refuses_a_head_without_classes(tmp_path):
    state = {**tiny.own(3).state_dict(), "fc.weight": torch.ones(0, 6), "fc.bias": torch.ones(0)}
    path = tiny.saved(tmp_path / "net.pth", state)
    with pytest.raises(CheckpointError, match="the head fc has no classes"):
        load_model(path, arch=tiny.OWN)


def test_refuses_integers_where_numbers_should_be(tmp_path):
    state = tiny.own(3).state_dict()
    state["fc.weight"] = state["fc.weight"].to(torch.int8)
    with pytest.raises(CheckpointError, match=r"fc\.weight holds torch\.int8, expected torch\.float32"):
        load_model(tiny.saved(tmp_path / "net.pth", state), arch=tiny.OWN)


def test_random_numbers_are_as_they_were(tmp_path, shuffle):
    path = tiny.saved(tmp_path / "net.pth", shuffle)
    before = torch.get_rng_state()
    load_model(path)
    load_model(tiny.saved(tmp_path / "own.pth", tiny.own(3)), arch=tiny.OWN)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.realdata
@pytest.mark.parametrize(("name", "classes"), [("imagenet", 1000), ("dogs-vs-cats", 2), ("dogs-vs-cats-scratch", 2)])
def test_real_checkpoints(name, classes):
    if "TLAUDIT_REAL_DATA" not in os.environ:
        pytest.skip("TLAUDIT_REAL_DATA is not set")
    model = load_model(Path(os.environ["TLAUDIT_REAL_DATA"]) / "checkpoints" / f"squeezenet1_1-{name}.pth")
    assert (model.architecture, model.head, model.num_classes) == ("squeezenet1_1", "classifier.1", classes)
    assert model.record.keys.matched == 52
    assert model.record.non_finite == ()
    assert len(model.stages) == 9
