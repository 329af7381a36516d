from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pytest

from tlaudit.data.classes import ClassNames, imagenet_names, imagenet_wordnet_ids, match_folders, target_labels
from tlaudit.data.images import ImageSet
from tlaudit.errors import ClassMatchError

PETS = ClassNames.of_model(4, ["Persian cat", "golden_retriever", "Shih-Tzu", "goldfish"])
IMAGENET = ClassNames.of_model(1000)


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# The classes of a model


def test_a_thousand_unknown_classes_are_taken_for_imagenet() -> None:
    assert (IMAGENET.count, IMAGENET.assumed) == (1000, True)
    assert [IMAGENET.display(index) for index in (0, 207, 999)] == ["tench", "golden retriever", "toilet tissue"]
    assert [IMAGENET.wordnet_id(index) for index in (0, 207, 999)] == ["n01440764", "n02099601", "n15075141"]


def test_wordnet_ids_are_sorted_and_unique() -> None:
    ids = imagenet_wordnet_ids()
    assert len(ids) == 1000
    assert list(ids) == sorted(set(ids))


@pytest.mark.parametrize(
    "names",
    [
        imagenet_names(),
        imagenet_wordnet_ids(),
        [f"{name.lower().replace(' ', '_')}, and a synonym" for name in imagenet_names()],
    ],
    ids=["torchvision's", "ids", "with synonyms"],
)
def test_imagenet_is_recognised_by_its_names(names: list[str]) -> None:
    classes = ClassNames.of_model(1000, names)
    assert classes.wordnet_ids == imagenet_wordnet_ids()
    assert not classes.assumed
    assert classes.display(0).split(",")[0] == "tench"


def test_another_thousand_classes_are_not_imagenet() -> None:
    classes = ClassNames.of_model(1000, list(reversed(imagenet_names())))
    assert classes.wordnet_ids is None
    assert classes.display(0) == "toilet tissue"
    assert classes.wordnet_id(0) is None


def test_unnamed_classes_show_their_index() -> None:
    classes = ClassNames.of_model(7)
    assert (classes.names, classes.display(5), classes.wordnet_id(5)) == (None, "5", None)


def test_refuses_names_that_do_not_fit_the_network() -> None:
    with pytest.raises(ClassMatchError, match="names 3 classes, but the network has 2"):
        ClassNames.of_model(2, ["a", "b", "c"])


# Matching


@pytest.mark.parametrize(
    ("folder", "index", "how"),
    [
        ("1", 1, "index"),
        ("003", 3, "index"),
        ("golden_retriever", 1, "name"),
        ("Golden Retriever", 1, "name"),
        ("GOLDEN-RETRIEVER", 1, "name"),
        ("shih tzu", 2, "name"),
        ("persian__cat", 0, "name"),
    ],
)
def test_by_index_and_name(folder: str, index: int, how: str) -> None:
    match = match_folders([folder], PETS)
    assert (match.indices, match.how, match.by_order) == ({folder: index}, {folder: how}, False)


@pytest.mark.parametrize(
    ("folder", "index", "how"),
    [
        ("n02099601", 207, "wordnet id"),
        ("N02099601", 207, "wordnet id"),
        ("207", 207, "index"),
        ("golden_retriever", 207, "name"),
        ("crane bird", 134, "name"),
        ("n03126707", 517, "wordnet id"),
    ],
)
def test_imagenet_by_index_name_and_wordnet_id(folder: str, index: int, how: str) -> None:
    match = match_folders([folder], IMAGENET)
    assert (match.indices, match.how) == ({folder: index}, {folder: how})


def test_synonyms_of_a_name() -> None:
    classes = ClassNames.of_model(2, ["tench, Tinca tinca", "goldfish, Carassius auratus"])
    assert match_folders(["tinca_tinca", "goldfish"], classes).indices == {"tinca_tinca": 0, "goldfish": 1}


def test_names_that_are_their_own_indices() -> None:
    digits = ClassNames.of_model(10, [str(digit) for digit in range(10)])
    assert match_folders(["7", "3"], digits).indices == {"7": 7, "3": 3}


@pytest.mark.parametrize(
    ("folder", "first", "second"), [("crane", 134, 517), ("maillot", 638, 639), ("cardigan", 264, 474)]
)
def test_refuses_a_name_of_two_imagenet_classes(folder: str, first: int, second: int) -> None:
    ids = imagenet_wordnet_ids()
    with pytest.raises(ClassMatchError) as caught:
        match_folders(["tench", folder], IMAGENET)
    message = str(caught.value)
    assert f"1 folder may be more than one class: '{folder}' (class " in message
    for index in (first, second):
        assert f"{index} " in message
        assert ids[index] in message
    assert "--class-map FILE" in message
    assert "tench" not in message


def test_refuses_a_number_that_is_one_class_by_index_and_another_by_name() -> None:
    shuffled = ClassNames.of_model(3, ["2", "0", "1"])
    with pytest.raises(ClassMatchError, match=r"'0' \(class 0 2 or 1 0\)"):
        match_folders(["0"], shuffled)


def test_refuses_unmatched_folders_and_names_them_all() -> None:
    with pytest.raises(ClassMatchError) as caught:
        match_folders(["goldfsh", "4", "99999999999999999999", "Shih-Tzu", "n02099601"], PETS)
    message = str(caught.value)
    assert message.startswith(
        "4 folders are no index from 0 to 3 and no name of a class: 'goldfsh' (nearest: goldfish), '4'"
    )
    assert "'Shih-Tzu'" not in message
    many = [f"what{number:02d}" for number in range(14)]
    with pytest.raises(ClassMatchError, match=r"14 folders are .*'what09' and 4 more\. What to do: rename"):
        match_folders(many, PETS)


def test_refuses_two_folders_for_one_class() -> None:
    with pytest.raises(
        ClassMatchError, match=r"several folders show the same class: '3' and 'goldfish' \(class 3 goldfish\)"
    ):
        match_folders(["3", "goldfish", "1"], PETS)


def test_unnamed_classes_are_matched_by_index() -> None:
    match = match_folders(["0", "2"], ClassNames.of_model(3))
    assert (match.indices, match.by_order) == ({"0": 0, "2": 2}, False)


def test_unnamed_classes_fall_back_to_sorted_order_and_say_so(caplog: pytest.LogCaptureFixture) -> None:
    match = match_folders(["dog", "ant", "cat"], ClassNames.of_model(3))
    assert match.indices == {"ant": 0, "cat": 1, "dog": 2}
    assert match.by_order
    assert set(match.how.values()) == {"sorted order"}
    assert "in sorted order" in caplog.text


@pytest.mark.parametrize("folders", [["dog", "ant"], ["dog", "ant", "cat", "eel"], ["dog", "ant", "1"]])
def test_order_is_no_way_out_if_it_does_not_fit(folders: list[str]) -> None:
    with pytest.raises(ClassMatchError, match="the checkpoint names no classes"):
        match_folders(folders, ClassNames.of_model(3))


# The class map


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("map.csv", "folder,class\nvogel,1\nfisch,goldfish\n"),
        ("map.csv", "vogel,golden retriever\r\n\r\nfisch , 3\r\n"),
        ("map.csv", b'\xef\xbb\xbfFolder,Class\n"vogel",1\n"fisch","goldfish"\n'),
        ("map.txt", "vogel,1\nfisch,3"),
        ("map.json", '{"vogel": 1, "fisch": "goldfish"}'),
        ("map", b'\xef\xbb\xbf {"vogel": "1", "fisch": 3}'),
    ],
)
def test_class_map(tmp_path: Path, name: str, content: str | bytes) -> None:
    match = match_folders(["fisch", "Persian cat", "vogel"], PETS, write(tmp_path / name, content))
    assert match.indices == {"fisch": 3, "Persian cat": 0, "vogel": 1}
    assert match.how == {"fisch": "class map", "Persian cat": "name", "vogel": "class map"}


def test_class_map_has_the_first_word(tmp_path: Path) -> None:
    file = write(tmp_path / "map.csv", "crane,517\n0,n01443537\n")
    assert match_folders(["crane", "0"], IMAGENET, file).indices == {"crane": 517, "0": 1}


def test_class_map_may_give_one_class_several_folders(tmp_path: Path) -> None:
    file = write(tmp_path / "map.json", json.dumps({"a": 3, "b": "goldfish"}))
    assert match_folders(["a", "b"], PETS, file).indices == {"a": 3, "b": 3}
    with pytest.raises(ClassMatchError, match="'a' and 'b' and 'goldfish'"):
        match_folders(["a", "b", "goldfish"], PETS, file)


def test_class_map_of_folders_that_are_not_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = write(tmp_path / "map.csv", "gone,1\ngoldfish,3\n")
    with caplog.at_level(logging.WARNING):
        assert match_folders(["goldfish"], PETS, file).indices == {"goldfish": 3}
    assert "no such folder: 'gone'" in caplog.text


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.csv", "a,1\nb,4\n", r"m\.csv, line 2: expected the name of a class or an index from 0 to 3, got '4'"),
        ("m.csv", "a,goldfsh\n", r"line 1: expected .* got 'goldfsh' \(nearest: goldfish\)"),
        ("m.csv", "folder,class\na\n", r"line 2: expected folder,class \(names with commas in quotes\), got \['a'\]"),
        ("m.csv", "a,1,2\n", "line 1: expected folder,class"),
        ("m.csv", "a,\n", "line 1: expected folder,class"),
        ("m.csv", "a,1\na,2\n", r"line 2: folder 'a' has a class already \(class map .*m\.csv, line 1\)"),
        ("m.csv", 'a,1\n"b,2\n', "line 2: not valid CSV"),
        ("m.csv", "", "expected at least one folder"),
        ("m.csv", "folder,class\n", "expected at least one folder"),
        ("m.csv", b"a,\xff\n", "expected UTF-8"),
        ("m.json", "", "not valid JSON"),
        ("m.json", '{"a": 1', "not valid JSON"),
        ("m.json", "[" * 100_000, "not valid JSON"),
        ("m.json", '{"a": ' + "9" * 5000 + "}", "not valid JSON"),
        ("m.json", "[]", "expected a JSON object"),
        ("m.json", '[["a", 1]]', "expected a JSON object"),
        ("m.json", "3", "expected a JSON object"),
        ("m.json", "{}", "expected at least one folder"),
        ("m.json", '{"a": true}', "folder 'a': expected a class index or name, got true"),
        ("m.json", '{"a": 1.0}', "folder 'a': expected a class index or name, got 1.0"),
        ("m.json", '{"a": {"b": 1}}', "folder 'a': expected a class index or name"),
        ("m.json", '{"a": -1}', "folder 'a': expected the name of a class or an index from 0 to 3, got -1"),
        ("m.json", '{"a": 4}', "folder 'a': expected the name of a class or an index from 0 to 3, got 4"),
        ("m.json", '{"a": "99999999999999999999"}', "folder 'a': expected the name"),
        ("m.json", '{"a": 1, "a": 2}', "folder 'a' has a class already"),
    ],
)
def test_refuses_a_bad_class_map(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    with pytest.raises(ClassMatchError, match=message):
        match_folders(["a"], PETS, write(tmp_path / name, content))


def test_refuses_an_ambiguous_entry_and_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ClassMatchError, match=r"line 1: 'crane' may be class 134 .* or 517 .*: give the index"):
        match_folders(["a"], IMAGENET, write(tmp_path / "m.csv", "a,crane"))
    with pytest.raises(ClassMatchError, match="cannot be read: No such file"):
        match_folders(["a"], PETS, tmp_path / "none.csv")


# Target labels


def test_target_labels_by_the_checkpoints_names() -> None:
    labels = target_labels(["batch-1", "batch-2"], ["dog", "Cat"], 2, ["dog", "cat"])
    assert labels == {"dog": 0, "Cat": 1}
    with pytest.raises(ClassMatchError, match="'mouse'"):
        target_labels([], ["dog", "mouse"], 2, ["dog", "cat"])


@pytest.mark.parametrize(
    ("train", "val"),
    [(["dog", "cat"], ["cat"]), (["dog", "cat"], ["cat", "dog"]), ([], ["dog", "cat"]), (["cat"], ["cat", "dog"])],
)
def test_target_labels_by_order(train: list[str], val: list[str]) -> None:
    assert target_labels(train, val, 2, None) == {"cat": 0, "dog": 1}


def test_target_labels_by_exact_names_that_are_numbers() -> None:
    assert target_labels([], ["2", "1"], 2, ["1", "2"]) == {"2": 1, "1": 0}


def test_target_labels_cannot_be_had() -> None:
    with pytest.raises(ClassMatchError, match="has 3 classes .* got 0 of training and 2 of held-out"):
        target_labels([], ["cat", "dog"], 3, None)
    with pytest.raises(ClassMatchError, match=r"no class of the finetuned network: 'mouse'; .* 'cat', 'dog'"):
        target_labels(["cat", "dog"], ["cat", "mouse"], 2, None)


@pytest.mark.realdata
@pytest.mark.skipif("TLAUDIT_REAL_DATA" not in os.environ, reason="TLAUDIT_REAL_DATA does not say where real data lie")
def test_real_folders_are_the_imagenet_classes() -> None:
    images = ImageSet.scan(Path(os.environ["TLAUDIT_REAL_DATA"]) / "imagenet-samples", labelled=True)
    match = match_folders(images.folders, IMAGENET)
    assert match.indices == {folder: index for index, folder in enumerate(images.folders)}
    assert len(match.indices) == 1000
    # The file beside each id is named after the class: two sources that agree.
    agreeing = sum(
        IMAGENET.display(match.indices[item.folder or ""]).casefold() == item.path.stem.replace("_", " ").casefold()
        for item in images.items
    )
    assert agreeing > 900
