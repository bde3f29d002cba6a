"""Lists of classes as many programs write them."""

from pathlib import Path

import pytest

from vitrail.data.formats.folders_classes import Entry, read_classes
from vitrail.data.formats.folders_space import ListOptions, coding
from vitrail.errors import DataError, ParameterError

TABLE = [Entry("sky", colour=(128, 128, 128)), Entry("traffic light", colour=(0, 64, 255))]


def read(tmp_path: Path, name: str, content: str | bytes) -> list[Entry]:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(read_classes(path).entries)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", ", "])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("heading", ["name r g b", "class red green blue", ""])
def test_class_dict_csv(tmp_path: Path, delimiter: str, bom: bytes, heading: str) -> None:
    lines = [heading.split(), ["sky", "128", "128", "128"], ["traffic light", "0", "64", "255"]]
    text = "\r\n".join(delimiter.join(line) for line in lines if line)
    assert read(tmp_path, "class_dict.csv", bom + text.encode()) == TABLE


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labelmap.txt", "# label:color_rgb:parts:actions\nsky:128,128,128::\n"
         "traffic light:0,64,255::\n"),
        ("label_colors.txt", "128 128 128\tsky\n0 64 255\t\ttraffic light\n\n"),
        ("colours.txt", "sky 128 128 128\ntraffic light 0 64 255"),
        ("swapped.csv", "128,128,128,sky\n0,64,255,traffic light"),
        ("columns.csv", "r;g;b;label\n128;128;128;sky\n0;64;255;traffic light"),
        ("a.json", '[{"name": "sky", "color": [128, 128, 128]},'
         ' {"label": "traffic light", "colour": "#0040ff"}]'),
        ("b.json", '{"sky": [128, 128, 128], "traffic light": "#0040FF"}'),
        ("c.json", '{"classes": {"sky": [128, 128, 128], "traffic light": [0, 64, 255]}}'),
    ],
)  # fmt: skip
def test_names_with_colours(tmp_path: Path, name: str, text: str) -> None:
    assert read(tmp_path, name, text) == TABLE


@pytest.mark.parametrize(
    ("name", "text", "values"),
    [
        ("classes.txt", "road\nbuilding\n\n", [None, None]),
        ("classes.txt", "road, building", [None, None]),
        ("classes.txt", "3: road\n7: building", [3, 7]),
        ("classes.txt", "3 road\r\n7 building\r\n", [3, 7]),
        ("classes.csv", "id,name\n3,road\n7,building\n", [3, 7]),
        ("classes.json", '["road", "building"]', [None, None]),
        ("classes.json", '{"3": "road", "7": "building"}', [3, 7]),
        ("classes.json", '{"road": 3, "building": 7}', [3, 7]),
        ("classes.json", '{"labels": [{"id": 3, "name": "road"}, {"id": 7, "title": "building"}]}',
         [3, 7]),
    ],
)  # fmt: skip
def test_names_with_values(tmp_path: Path, name: str, text: str, values: list[int | None]) -> None:
    found = read(tmp_path, name, text)
    assert [one.name for one in found] == ["road", "building"]
    assert [one.value for one in found] == values


def test_a_table_keeps_its_id_column(tmp_path: Path) -> None:
    found = read(tmp_path, "classes.csv", "id,name,r,g,b\n4,sky,1,2,3\n2,car,4,5,6\n")
    assert found == [Entry("sky", 4, (1, 2, 3)), Entry("car", 2, (4, 5, 6))]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("classes.txt", "", "lists 0 classes"),
        ("classes.txt", "road\nroad\n", "two classes have the name 'road'"),
        ("classes.txt", b"stra\xdfe\n", "byte 4 is 0xdf, which is not UTF-8"),
        ("classes.json", '{"3": "road", ', "not valid JSON at line 1"),
        ("classes.json", "[" * 100_000, "nested too deeply"),
        ("classes.json", "7", "expected a list of classes, got int"),
        ("classes.json", "[1, 2]", "class 0 is 1, expected a name"),
        ("classes.json", '[{"id": 1}]', "class 0 has the name None"),
        ("classes.json", '{"0": "a", "00": "b"}', "two classes have the id 0"),
        ("classes.json", '{"-1": "a"}', "id of 'a' is '-1', expected a whole number 0..65535"),
        ("classes.json", '{"a": 1e999}', "the colour of 'a' is inf"),
        ("classes.json", '{"a": [1, 2]}', r"the colour of 'a' is \[1, 2\]"),
        ("classes.json", '{"a": [1, 2, 256]}', "colour of 'a' is 256"),
        ("classes.json", '{"a": [1, 2, NaN]}', "colour of 'a' is nan"),
        ("classes.json", '{"a": ' + "9" * 30 + "}", "expected a whole number"),
        ("class_dict.csv", "name,r,g,b\nsky,1,2,3\ncar,1,2,300", "line 3: the colour is 1, 2, 300"),
        ("class_dict.csv", "name,r,g,b\nsky,1,2,3\ncar,1,x,3", "line 3: the colour is 1, x, 3"),
        ("class_dict.csv", "name,r,g,b\nsky,1,2,3\n,1,2,3", "line 3"),
        ("labelmap.txt", "sky:1,2,3::\ncar:1,2,999::", "line 2: the colour is 1, 2, 999"),
    ],
)
def test_faulty_lists(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path, name, content)
    assert name in str(caught.value)


def test_values_that_are_not_ids_from_0(tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_text("30: car\n10: background\n20: road\n0: unlabelled\n", "utf-8")
    made = coding(read_classes(path), ListOptions(ignore="unlabelled"))
    assert made.space.classes == ("background", "road", "car")
    assert made.space.original_ids == (10, 20, 30)
    assert (made.space.background, made.space.ignore, made.void) == (0, 255, 0)


@pytest.mark.parametrize(("given", "wanted"), [(0, 0), ("b", 1), ("1", 1)])
def test_background_by_name_or_value(tmp_path: Path, given: int | str, wanted: int) -> None:
    path = tmp_path / "classes.txt"
    path.write_text("a\nb\n", "utf-8")
    assert coding(read_classes(path), ListOptions()).space.background is None
    assert coding(read_classes(path), ListOptions(background=given)).space.background == wanted


@pytest.mark.parametrize("option", ["background", "ignore"])
def test_an_option_that_names_no_class(tmp_path: Path, option: str) -> None:
    path = tmp_path / "classes.txt"
    path.write_text("a\nb\n", "utf-8")
    with pytest.raises(ParameterError, match=rf"{option}='c'.*its classes are 0 a, 1 b"):
        coding(read_classes(path), ListOptions.model_validate({option: "c"}))


def test_only_some_classes_have_an_id(tmp_path: Path) -> None:
    path = tmp_path / "classes.json"
    path.write_text('[{"name": "a"}, {"name": "b", "id": 0}]', "utf-8")
    with pytest.raises(DataError, match="only some classes have an id"):
        coding(read_classes(path), ListOptions())


@pytest.mark.parametrize("name", ["classes.json", "classes.txt"])
def test_a_list_of_a_size_that_none_has(tmp_path: Path, name: str) -> None:
    with (tmp_path / name).open("wb") as file:
        file.truncate(5 << 20)
    with pytest.raises(DataError, match=rf"{name}: has 5,242,880 bytes, more than the limit"):
        read_classes(tmp_path / name)
