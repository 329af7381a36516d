"""`erosion` against naive loops, against planted truths, and the promises every check makes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import tiny
from tlaudit import CheckResult, erosion, load_pair
from tlaudit.errors import DataError, UsageError
from tlaudit.models.sources import load_model

SIDE, CLASSES, PER_CLASS = 64, 5, 8
PREPROCESS = {"resize": SIDE, "crop": SIDE, "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}
EXECUTION = {"device": "cpu", "workers": 0, "batch_size": 10}
STAGES = ("layer1", "layer2", "layer3", "layer4")


def paint(folder, classes=CLASSES, per_class=PER_CLASS, seed=0):
    """Patches of all sizes on a colour of each class, so that images of a class have something in common."""
    rng = np.random.default_rng(seed)
    for index in range(classes):
        (folder / str(index)).mkdir(parents=True)
        colour = rng.integers(0, 256, 3)
        for number in range(per_class):
            cells = 2 ** int(rng.integers(1, 7))
            patches = (
                rng.integers(0, 256, (cells, cells, 3)).repeat(SIDE // cells, axis=0).repeat(SIDE // cells, axis=1)
            )
            pixels = 0.5 * colour + 0.5 * patches
            Image.fromarray(pixels.astype(np.uint8)).save(folder / str(index) / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("erosion")
    paint(root / "images")
    source = tiny.network("resnet18", CLASSES, seed=1)
    torch.save(source.state_dict(), root / "source.pth")
    other = tiny.network("resnet18", CLASSES, seed=2).state_dict()
    mixed = {k: other[k] if k.startswith(("layer3", "fc")) else v for k, v in source.state_dict().items()}
    torch.save(mixed, root / "layer3.pth")
    torch.save(other, root / "other.pth")
    torch.save(tiny.network("resnet34", CLASSES, seed=3).state_dict(), root / "deeper.pth")
    return root


def audit(world, finetuned="layer3", baseline=None, data="images", execution=None, **options):
    alike = finetuned != "deeper"
    control = str(world / f"{baseline}.pth") if baseline else None
    pair = load_pair(str(world / "source.pth"), str(world / f"{finetuned}.pth"), control, alike=alike)
    given = {"preprocess": PREPROCESS, "bootstrap": 100} | options
    folder = None if data is None else world / data
    return erosion(pair, folder, execution=EXECUTION | (execution or {}), **given)


@pytest.fixture(scope="module")
def result(world):
    return audit(world, baseline="other", full_matrix=True)


def features_of(path, world, stages, size=EXECUTION["batch_size"], seed=0):
    """Each minibatch's output of each stage, in the documented order, by hooks of the test's own."""
    model = load_model(str(path))
    names = sorted((world / "images").rglob("*.png"))
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(seed)).tolist()
    pixels = np.stack([np.asarray(Image.open(names[index])) for index in order])
    inputs = (torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - 0.5) / 0.25
    seen = {stage: [] for stage in stages}
    for stage in stages:
        keep = seen[stage].append
        model.module.get_submodule(stage).register_forward_hook(lambda _m, _i, out, keep=keep: keep(out.double()))
    with torch.no_grad():
        for batch in inputs.split(size):
            model.module(batch)
    return seen


def hsic1(k, l):  # noqa: E741
    """Eq. 3 of Nguyen et al. 2021, entry by entry."""
    n = len(k)
    k, l = k - np.diag(np.diag(k)), l - np.diag(np.diag(l))  # noqa: E741
    total = np.trace(k @ l) + k.sum() * l.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (k @ l).sum()
    return total / (n * (n - 3))


def cka(xs, ys):
    pairs = [(x.flatten(1).numpy(), y.flatten(1).numpy()) for x, y in zip(xs, ys, strict=True) if len(x) >= 4]
    grams = [(x @ x.T, y @ y.T) for x, y in pairs]
    across = np.mean([hsic1(k, m) for k, m in grams])
    return across / np.sqrt(np.mean([hsic1(k, k) for k, _ in grams]) * np.mean([hsic1(m, m) for _, m in grams]))


def spectrum(xs, flat=False):
    rows = torch.cat([x.flatten(1) if flat else x.mean(dim=(2, 3)) for x in xs]).numpy()
    return np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False) ** 2 / (len(rows) - 1)


def test_agrees_with_naive_loops(world, result):
    ours, theirs = features_of(world / "source.pth", world, STAGES), features_of(world / "layer3.pth", world, STAGES)
    rows = {(row["stage"], row["network"]): row for row in result.tables["stages"].rows}
    matrix = {(row["source_stage"], row["finetuned_stage"]): row["cka"] for row in result.tables["cka_matrix"].rows}
    for stage in STAGES:
        assert result[f"erosion.cka.{stage}"].value == pytest.approx(cka(ours[stage], theirs[stage]), abs=1e-5)
        for network, xs in (("source", ours[stage]), ("finetuned", theirs[stage])):
            values, row = spectrum(xs), rows[stage, network]
            assert row["rank"] == (values > 1e-3 * values[0]).sum()
            singular = np.sqrt(values) / np.sqrt(values).sum()
            entropy = -(singular[singular > 0] * np.log(singular[singular > 0])).sum()
            assert row["effective_rank"] == pytest.approx(np.exp(entropy), rel=1e-3)
            assert row["participation_ratio"] == pytest.approx(values.sum() ** 2 / (values**2).sum(), rel=1e-4)
            assert (row["n"], row["d"]) == (CLASSES * PER_CLASS, xs[0].shape[1])
        for other in STAGES:
            assert matrix[stage, other] == pytest.approx(cka(ours[stage], theirs[other]), abs=1e-5)
    assert result["erosion.rank_ratio.layer3"].value == (
        rows["layer3", "finetuned"]["rank"] / rows["layer3", "source"]["rank"]
    )


def test_flat_features_go_through_the_gram_matrix(world):
    result = audit(world, features="flat", stages=("layer4",))
    values = spectrum(features_of(world / "source.pth", world, ["layer4"])["layer4"], flat=True)
    row = result.tables["stages"].rows[0]
    assert row["rank"] == (values > 1e-3 * values[0]).sum()
    assert row["d"] == 512 * 2 * 2
    assert row["participation_ratio"] == pytest.approx(values.sum() ** 2 / (values**2).sum(), rel=1e-4)


def test_the_replaced_stage_drops_and_the_earlier_ones_stay(result):
    for stage in ("layer1", "layer2"):
        assert result[f"erosion.cka.{stage}"].value == pytest.approx(1, abs=1e-6)
        assert result[f"erosion.rank_ratio.{stage}"].value == 1
    # Random networks nearly keep distances, so that another random stage moves them little; trained ones move far.
    assert result["erosion.cka.layer3"].value < 1 - 1e-3
    assert result["erosion.cka.min"].value == min(result[f"erosion.cka.{stage}"].value for stage in STAGES)
    assert result["erosion.cka.layer3"].interval_absent.startswith("interval: 4 minibatches")
    networks = [(row["stage"], row["network"]) for row in result.tables["stages"].rows]
    assert networks == [(s, n) for s in STAGES for n in ("source", "finetuned", "from scratch")]


def test_source_against_itself_says_nothing_wrong(world):
    result = audit(world, "source", probe=True, execution={"batch_size": 8})
    for stage in STAGES:
        assert result[f"erosion.cka.{stage}"].value == pytest.approx(1, abs=1e-9)
        assert result[f"erosion.rank_ratio.{stage}"].value == 1
    assert result["erosion.source_accuracy_drop"].value == 0
    assert result["erosion.delta_lp"].value == 0
    assert result.verdict == "clear"


class Narrow(nn.Module):
    """Features of rank `RANK` at `narrow`, whatever the images."""

    RANK = 3

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 24, 5, stride=4)
        self.narrow = nn.Conv2d(24, 24, 1)
        self.fc = nn.Linear(24, num_classes)

    def forward(self, x):
        return self.fc(self.narrow(self.stem(x).relu()).mean(dim=(2, 3)))


def test_planted_rank(world, tmp_path):
    torch.manual_seed(0)
    source, flattened = Narrow(CLASSES), Narrow(CLASSES)
    flattened.load_state_dict(source.state_dict())
    with torch.no_grad():
        basis = torch.linalg.qr(torch.randn(24, 24))[0]
        source.narrow.weight.copy_(basis[:, :, None, None])
        keep = torch.zeros(24)
        keep[: Narrow.RANK] = 1
        flattened.narrow.weight.copy_((torch.eye(24) * keep)[:, :, None, None])
    for name, net in (("source", source), ("narrow", flattened)):
        torch.save(net.state_dict(), tmp_path / f"{name}.pth")
    pair = load_pair(str(tmp_path / "source.pth"), str(tmp_path / "narrow.pth"), arch=f"{__file__}:Narrow")
    result = erosion(pair, world / "images", preprocess=PREPROCESS, execution=EXECUTION, stages=("stem", "narrow"))
    ranks = {(row["stage"], row["network"]): row["rank"] for row in result.tables["stages"].rows}
    assert ranks["narrow", "finetuned"] == Narrow.RANK
    assert ranks["narrow", "source"] > Narrow.RANK
    # A mean over space of a linear map of three colours.
    assert ranks["stem", "finetuned"] == ranks["stem", "source"] == 3
    assert result["erosion.rank_ratio.min"].value == Narrow.RANK / ranks["narrow", "source"]


@pytest.mark.slow
def test_source_accuracy_by_the_folders_of_the_images_or_by_source_images(world, tmp_path):
    own = audit(world)
    before = own["erosion.source_accuracy_before"]
    assert before.n == CLASSES * PER_CLASS
    drop = own["erosion.source_accuracy_drop"].value
    assert drop == pytest.approx(before.value - own["erosion.source_accuracy_after"].value)
    given = audit(world, data=None, source_data=world / "images")
    both = audit(world, source_data=world / "images")
    for name in ("before", "after", "drop"):
        wanted = own[f"erosion.source_accuracy_{name}"].value
        assert given[f"erosion.source_accuracy_{name}"].value == wanted
        assert both[f"erosion.source_accuracy_{name}"].value == wanted
    assert list(both.provenance.data) == ["data"], "the same images are not read twice"
    paint(tmp_path / "more", seed=7)
    apart = audit(world, source_data=tmp_path / "more")
    assert list(apart.provenance.data) == ["data", "source"]
    assert apart["erosion.cka.layer4"].value == own["erosion.cka.layer4"].value
    for folder in (tmp_path / "more").iterdir():
        folder.rename(folder.with_name(f"none such {folder.name}"))
    foreign = audit(world, data=tmp_path / "more")
    assert "give source images with --source-data" in foreign["erosion.source_accuracy_drop"].absent
    assert foreign["erosion.cka.layer4"].value is not None


@pytest.mark.slow
def test_probe_learns_the_folders_and_forgets_with_the_features(world):
    result = audit(world, probe=True)
    after, before = (result[f"erosion.probe_accuracy.{name}"] for name in ("finetuned", "source"))
    assert before.n == after.n == CLASSES * PER_CLASS // 2
    assert before.value > 2 / CLASSES, "colours are easy to tell apart"
    assert result["erosion.delta_lp"].value == pytest.approx(after.value - before.value)
    assert not [f for f in result.findings if "probe" in f.code]
    few = audit(world, probe=True, limit=CLASSES * 2)
    assert "erosion.probe_untried" in {f.code for f in few.findings}
    assert "--probe" in audit(world)["erosion.delta_lp"].absent


def test_networks_of_different_depth_have_a_matrix_and_no_diagonal(world):
    result = audit(world, "deeper", stages=("layer1.0", "layer1.1", "layer1.2", "layer4"))
    assert {row["source_stage"] for row in result.tables["cka_matrix"].rows} == {"layer1.0", "layer1.1", "layer4"}
    assert {row["finetuned_stage"] for row in result.tables["cka_matrix"].rows} == {
        "layer1.0", "layer1.1", "layer1.2", "layer4",
    }  # fmt: skip
    assert all(row["cka"] is not None for row in result.tables["cka_matrix"].rows)
    assert "no stages in common" in result["erosion.cka.min"].absent
    assert "erosion.cka.layer4" not in {m.name for m in result.measurements}
    assert "different backbones" in result["erosion.source_accuracy_drop"].absent
    assert [f.code for f in result.findings if "backbone" in f.code] == ["lineage.other_backbone"]
    assert [chart.kind for chart in result.charts] == ["lines", "lines", "heatmap"]


class Odd(nn.Module):
    """Stages that cannot be measured beside one that can."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 5, stride=4)
        self.constant, self.broken, self.twice, self.idle = (nn.Identity() for _ in range(4))
        self.pair, self.counted = Pairing(), Counting()
        self.fc = nn.Linear(6, num_classes)

    def forward(self, x):
        x = self.stem(x).relu()
        self.constant(x * 0 + 3)
        self.broken(x / 0)
        self.twice(self.twice(x))
        self.pair(x)
        self.counted(x)
        return self.fc(x.mean(dim=(2, 3)))


class Pairing(nn.Module):
    def forward(self, x):
        return x, x


class Counting(nn.Module):
    def forward(self, x):
        return (x > 0).flatten(1).long()


def test_a_stage_that_cannot_be_measured_is_absent_and_the_others_stand(world, tmp_path):
    torch.manual_seed(0)
    torch.save(Odd(CLASSES).state_dict(), tmp_path / "odd.pth")
    pair = load_pair(*[str(tmp_path / "odd.pth")] * 2, arch=f"{__file__}:Odd")
    stages = ("stem", "constant", "broken", "twice", "pair", "counted", "idle")
    result = erosion(
        pair, world / "images", preprocess=PREPROCESS, execution=EXECUTION, stages=stages, full_matrix=True, probe=True
    )
    reasons = {stage: result[f"erosion.cka.{stage}"].absent for stage in stages}
    assert result["erosion.cka.stem"].value == pytest.approx(1)
    assert result["erosion.cka.min"].value == pytest.approx(1)
    for stage, reason in {
        "constant": "constant", "broken": "NaN", "twice": "more than once", "pair": "tuple", "counted": "int64",
        "idle": "takes no part",
    }.items():  # fmt: skip
        assert reason in reasons[stage]
        assert result[f"erosion.rank_ratio.{stage}"].absent
        assert any(f"Stage {stage} of the source network" in f.message for f in result.findings)
    cells = {(row["source_stage"], row["finetuned_stage"]): row for row in result.tables["cka_matrix"].rows}
    assert cells["stem", "stem"]["cka"] == pytest.approx(1)
    assert cells["stem", "broken"]["cka"] is None
    assert cells["stem", "broken"]["absent"]
    assert result["erosion.delta_lp"].absent


def test_minibatches_make_an_interval_and_small_ones_are_left_out(world):
    many = audit(world, execution={"batch_size": 5})
    interval = many["erosion.cka.layer3"].interval
    assert interval.low < many["erosion.cka.layer3"].value < interval.high
    left = audit(world, execution={"batch_size": 37})
    assert left["erosion.cka.layer4"].n == 37
    assert [f.code for f in left.findings if "left_out" in f.code] == ["erosion.left_out"]
    rows = {row["stage"]: row["n"] for row in left.tables["stages"].rows}
    assert rows["layer4"] == 40


def test_same_seed_same_document_and_it_survives_json(world, result):
    again = audit(world, baseline="other", full_matrix=True)
    documents = [json.loads(r.to_json()) for r in (result, again)]
    for document in documents:
        document.pop("run")
    assert documents[0] == documents[1]
    assert CheckResult.model_validate_json(result.to_json()) == result
    for m in result.measurements:
        assert m.unit
        assert m.better
        assert m.n or m.absent


def test_networks_are_left_as_they_were(world):
    pair = load_pair(str(world / "source.pth"), str(world / "layer3.pth"))
    before = [{k: v.clone() for k, v in m.module.state_dict().items()} for m in (pair.source, pair.finetuned)]
    rng = torch.get_rng_state()
    erosion(pair, world / "images", preprocess=PREPROCESS, execution=EXECUTION, probe=True, bootstrap=100)
    assert torch.equal(rng, torch.get_rng_state())
    for model, old in zip((pair.source, pair.finetuned), before, strict=True):
        assert not model.module.training
        assert all(torch.equal(old[key], value) for key, value in model.module.state_dict().items())
        assert not any(child._forward_hooks for child in model.module.modules())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stages": ("layer1", "layer1")}, "layer1: named twice"),
        ({"stages": ("layer5",)}, "layer5: no network has such a module; nearest: layer"),
        ({"data": None}, "images are needed: --data DIR"),
        ({"features": "squashed"}, "features"),
        ({"data": "nowhere"}, "expected a folder of images"),
    ],
)
def test_refuses_bad_options(world, options, message):
    with pytest.raises(UsageError, match=message):
        audit(world, **options)


def test_refuses_fewer_than_four_images(world, tmp_path):
    paint(tmp_path / "few", classes=1, per_class=3)
    with pytest.raises(DataError, match="at least 4 images, found 3"):
        audit(world, data=tmp_path / "few")
    paint(tmp_path / "one", classes=1, per_class=6)
    probed = audit(world, data=tmp_path / "one", probe=True)
    assert "at least 2" in probed["erosion.delta_lp"].absent


class Flattened(nn.Module):
    """Stages without space, registered in another order than they run in, one of them overwritten by the next layer."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(10, num_classes)
        self.rectify = nn.ReLU(inplace=True)
        self.neck = nn.Linear(6, 10)
        self.stem = nn.Conv2d(3, 6, 5, stride=4)

    def forward(self, x):
        return self.fc(self.rectify(self.neck(self.stem(x).relu().mean(dim=(2, 3)))))


@pytest.fixture(scope="module")
def flattened(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flattened")
    torch.manual_seed(0)
    net = Flattened(CLASSES)
    torch.save(net.state_dict(), folder / "source.pth")
    with torch.no_grad():
        net.neck.weight.add_(0.3 * torch.randn(net.neck.weight.shape))
    torch.save(net.state_dict(), folder / "finetuned.pth")
    with torch.no_grad():
        net.stem.bias.fill_(-100)
    torch.save(net.state_dict(), folder / "dead.pth")
    return folder


def look(flattened, world, finetuned="finetuned", source="source", **options):
    paths = [str(flattened / f"{name}.pth") for name in (source, finetuned)]
    pair = load_pair(*paths, arch=f"{__file__}:Flattened", alike=True)
    given = {"stages": ("neck", "stem", "rectify"), "execution": EXECUTION, "bootstrap": 100} | options
    return erosion(pair, world / "images", preprocess=PREPROCESS, **given)


def test_stages_without_space_come_in_the_order_in_which_they_run(flattened, world, monkeypatch):
    probed = []
    from tlaudit.checks import probed as room

    real = room.linear_probe
    monkeypatch.setattr(room, "linear_probe", lambda x, *more: probed.append(x.shape[1]) or real(x, *more))
    result = look(flattened, world, stages=("neck", "stem"), probe=True)
    assert [row["stage"] for row in result.tables["stages"].rows if row["network"] == "source"] == ["stem", "neck"]
    assert probed == [10, 10], "the probe reads the stage that ends last, not the one registered last"
    ours = features_by_hand(flattened / "source.pth", world)
    values = np.linalg.svd(ours - ours.mean(axis=0), compute_uv=False) ** 2
    rank = {(row["stage"], row["network"]): row["rank"] for row in result.tables["stages"].rows}
    assert rank["neck", "source"] == (values > 1e-3 * values[0]).sum()


def features_by_hand(path, world):
    net = Flattened(CLASSES)
    net.load_state_dict(torch.load(path))
    files = sorted((world / "images").rglob("*.png"))
    pixels = torch.stack([torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1) for file in files])
    with torch.no_grad():
        return net.neck(net.stem((pixels / 255 - 0.5) / 0.25).relu().mean(dim=(2, 3))).numpy()


def test_the_probe_reads_a_stage_before_the_next_layer_overwrites_it(flattened, world):
    from tlaudit.checks.followed import Follower
    from tlaudit.models.sources import load_model

    module = load_model(str(flattened / "source.pth"), arch=f"{__file__}:Flattened").module
    follower = Follower(["neck"], "pooled", keep=True)
    with torch.no_grad():
        follower.look(module, torch.randn(6, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)))
    assert (follower.kept() < 0).any(), "of a ReLU nothing is below 0"


def test_a_stage_that_collapsed_is_a_concern_and_leaves_no_lowest(flattened, world):
    result = look(flattened, world, "dead")
    assert "constant" in result["erosion.cka.neck"].absent
    assert "in the source network and not in the finetuned one" in result["erosion.cka.min"].absent
    assert result["erosion.rank_ratio.min"].absent
    assert result.verdict == "concern"
    assert "do not vary" in result.summary
    backwards = look(flattened, world, "source", source="dead")
    absent = {f.message.split(" network")[0] for f in backwards.findings if f.code == "erosion.stage_absent"}
    assert absent == {"Stage neck of the source", "Stage rectify of the source"}
    assert backwards["erosion.cka.neck"].absent.startswith("source network: ")


def test_nothing_is_clear_where_nothing_was_known(world, tmp_path):
    (tmp_path / "map.json").write_text(json.dumps({str(index): (index + 1) % CLASSES for index in range(CLASSES)}))
    moved = audit(world, "other", data=None, source_data=world / "images", class_map=tmp_path / "map.json")
    assert moved["erosion.source_accuracy_before"].interval.low <= 1 / CLASSES
    assert moved.verdict != "clear"
    named = audit(world, class_map=tmp_path / "map.json")
    assert named["erosion.source_accuracy_before"].value == moved["erosion.source_accuracy_before"].value


def test_a_baseline_of_another_architecture_is_left_out_alone(world):
    pair = load_pair(*(str(world / f"{name}.pth") for name in ("source", "layer3", "deeper")), alike=False)
    assert pair.alike
    assert pair.baseline is None
    assert [f.code for f in pair.findings][:1] == ["lineage.other_backbone"]
    assert pair.findings[0].message.startswith("The baseline is left out")
    result = erosion(pair, world / "images", preprocess=PREPROCESS, execution=EXECUTION, bootstrap=100)
    assert result["erosion.cka.layer1"].value == pytest.approx(1, abs=1e-6)


def test_without_room_the_widest_stages_give_their_rank_up_and_nothing_else(world, monkeypatch):
    from tlaudit.checks import followed

    monkeypatch.setattr(followed.Room.__init__, "__defaults__", (4 * 40 * 2 * 512 * 5,))
    result = audit(world, features="flat")
    rows = {(row["stage"], row["network"]): row for row in result.tables["stages"].rows}
    assert rows["layer1", "source"]["rank"] is None
    assert "would have to be kept" in rows["layer1", "source"]["absent"]
    assert rows["layer4", "source"]["rank"] is not None
    assert all(result[f"erosion.cka.{stage}"].value is not None for stage in STAGES)
    assert "would have to be kept" in result["erosion.rank_ratio.layer1"].absent


def test_the_head_is_no_stage_and_small_batches_no_minibatch(world):
    with pytest.raises(UsageError, match="fc: lies in the head of the source network"):
        audit(world, stages=("layer4", "fc"))
    with pytest.raises(UsageError, match="--batch-size 3: a batch is a minibatch of CKA"):
        audit(world, execution={"batch_size": 3})
