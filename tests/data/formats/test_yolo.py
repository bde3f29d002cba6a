import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.data.formats.annotation_tools import (
    ListSource,
    blob,
    drawn_masks,
    drawn_rings,
    picture,
    same_objects,
    same_set,
    sources,
    star,
    varied,
    write_picture,
)
from vitrail.data.formats.base import Dataset
from vitrail.data.formats.yolo import FORMAT, YoloOptions, open_yolo
from vitrail.data.formats.yolo_write import YoloWriteOptions
from vitrail.data.sample import Instance, LabelSpace, Sample
from vitrail.errors import DataError
from vitrail.result.masks import Masks

SIZE = (48, 64)
DEFAULTS = YoloWriteOptions()


def written(folder: Path, options: YoloWriteOptions = DEFAULTS, **splits: list[Sample]) -> Dataset:
    folder.mkdir(exist_ok=True)
    assert FORMAT.write is not None
    FORMAT.write(sources(**splits), folder, options)
    return open_yolo(folder, YoloOptions())


def outlined(samples: list[Sample]) -> list[Sample]:
    """Samples whose bare boxes are outlines of four points."""
    made: list[Sample] = []
    for sample in samples:
        found: list[Instance] = []
        for one in sample.instances or ():
            if one.polygons is None and one.stored is None:
                x1, y1, x2, y2 = one.box
                ring = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])
                one = Instance.from_polygons(one.class_id, [ring], one.size)
            found.append(one)
        made.append(replace(sample, instances=tuple(found)))
    return made


def columns(root: Path) -> set[int]:
    """How many columns the lines of all label files have."""
    texts = [path.read_text() for path in root.glob("labels/**/*.txt")]
    return {len(line.split()) for text in texts for line in text.splitlines()}


def yolo_set(root: Path, labels: str | bytes, name: str = "images/train/a.png") -> Path:
    """A set of one image of 20 x 10 px with these labels."""
    write_picture(root / name, (10, 20))
    path = (root / name.replace("images", "labels")).with_suffix(".txt")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(labels if isinstance(labels, bytes) else labels.encode())
    (root / "data.yaml").write_text("train: images/train\nnames: [cat, dog]\n")
    return root


def test_everything_an_object_is_survives(tmp_path):
    splits = {"train": varied(SIZE), "val": varied(SIZE, "sub/folder/")}
    expected = {split: outlined(samples) for split, samples in splits.items()}
    same_set(sources(**expected), written(tmp_path, train=splits["train"], val=splits["val"]))


BOX = Instance.from_box(0, (1.0, 2.25, 17.5, 30.0), SIZE)


def test_boxes_beside_outlines_become_outlines_in_the_whole_set(tmp_path):
    """Ultralytics 8.3 takes a file with a line of more than six columns for outlines, all of it."""
    ring = Instance.from_polygons(1, [star(SIZE)], SIZE)
    mixed = [Sample("a", picture(SIZE), SIZE, instances=(BOX, ring))]
    bare = [Sample("b", picture(SIZE, 1), SIZE, instances=(BOX,))]
    back = written(tmp_path, train=mixed, val=bare)
    assert min(columns(tmp_path)) == 9 and back.problems == []
    for split in ("train", "val"):
        found = back[split][0].instances
        assert found and found[0].polygons is not None and found[0].class_id == 0
        assert found[0].polygons[0].tolist() == [[1, 2.25], [17.5, 2.25], [17.5, 30], [1, 30]]


@pytest.mark.parametrize("objects", ["auto", "boxes"])
def test_a_set_of_boxes_alone_stays_one(tmp_path, objects):
    crowd = Instance.from_masks(1, blob(SIZE), crowd=True)  # is left out, and so does not count
    samples = [
        Sample("a", picture(SIZE), SIZE, instances=(BOX, crowd)),
        Sample("b", picture(SIZE, 1), SIZE, instances=()),
    ]
    back = written(tmp_path, YoloWriteOptions(objects=objects), train=samples)["train"]
    assert columns(tmp_path) == {5}
    found = back[0].instances
    assert found and [(one.box, one.mask) for one in found] == [(BOX.box, None)]


def test_boxes_and_outlines_are_written_where_asked_for(tmp_path):
    samples = [Sample("a", picture(SIZE), SIZE, instances=(BOX,))]
    written(tmp_path / "outlines", YoloWriteOptions(objects="outlines"), train=samples)
    assert columns(tmp_path / "outlines") == {9}
    empty = Instance.from_masks(0, Masks.from_dense(np.zeros((1, *SIZE), bool)))
    disc = Instance.from_masks(1, blob(SIZE))
    samples = [Sample("a", picture(SIZE), SIZE, instances=(BOX, disc, empty))]
    back = written(tmp_path / "boxes", YoloWriteOptions(objects="boxes"), train=samples)["train"]
    assert columns(tmp_path / "boxes") == {5}
    found = back[0].instances or ()
    assert [(one.class_id, one.box) for one in found] == [(0, BOX.box), (1, disc.box)]


def test_boxes_beside_outlines_are_read_with_a_warning(tmp_path):
    root = yolo_set(tmp_path, "0 0.5 0.5 0.2 0.4\n")
    write_picture(root / "images/train/b.png", (10, 20))
    (root / "labels/train/b.txt").write_text("1 0 0 1 0 1 1\n0 0.5 0.5 0.1 0.1\n")
    dataset = open_yolo(root, YoloOptions())
    source = dataset["train"]
    (problem,) = dataset.problems
    assert (problem.code, problem.severity) == ("boxes-among-outlines", "warning")
    assert problem.file == root / "labels/train/a.txt"
    assert "2 bare boxes among 1 outlines" in problem.value
    kinds = [[one.mask is None for one in source[i].instances or ()] for i in range(2)]
    assert kinds == [[True], [False, True]]


@given(st.lists(drawn_masks(), max_size=3))
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_masks_survive(tmp_path_factory, masks):
    samples = [
        Sample(f"{i}", picture(mask.size), mask.size, instances=(Instance.from_masks(1, mask),))
        for i, mask in enumerate(masks)
    ]
    same_set(sources(train=samples), written(tmp_path_factory.mktemp("yolo"), train=samples))


@given(st.lists(drawn_rings(40), max_size=3), st.integers(30, 50), st.integers(30, 50))
@settings(max_examples=40, deadline=None)
def test_single_outlines_come_back_point_for_point(tmp_path_factory, rings, height, width):
    size = (height, width)
    found = tuple(Instance.from_polygons(0, [ring], size) for ring in rings)
    sample = Sample("a", picture(size), size, instances=found)
    back = written(tmp_path_factory.mktemp("yolo"), train=[sample])["train"][0]
    for one, other in zip(found, back.instances or (), strict=True):
        assert one.polygons and other.polygons
        np.testing.assert_array_equal(other.polygons[0], one.polygons[0])


def test_a_photo_of_4000_px_keeps_hundredths(tmp_path):
    size = (3000, 4000)
    ring = star(size)
    sample = Sample(
        "a",
        np.zeros((*size, 3), np.uint8),
        size,
        instances=(Instance.from_polygons(0, [ring], size),),
    )
    back = written(tmp_path, train=[sample])["train"][0].instances
    assert back and back[0].polygons
    np.testing.assert_array_equal(back[0].polygons[0], ring)


def test_lines_are_read_as_documented(tmp_path):
    root = yolo_set(tmp_path, "1 0.25 0.5 0.75 0.5 0.5 1\n\n0.0 0.5 0.5 0.2 0.4\n")
    sample = open_yolo(root, YoloOptions())["train"][0]
    assert sample.size == (10, 20) and sample.id == "a"
    assert sample.instances and len(sample.instances) == 2
    outline, box = sample.instances
    assert outline.class_id == 1 and outline.id == "1" and outline.polygons
    assert outline.polygons[0].tolist() == [[5, 5], [15, 5], [10, 10]]
    assert (box.class_id, box.id, box.box, box.mask) == (0, "3", (8, 3, 12, 7), None)


def test_values_outside_the_image_are_kept(tmp_path):
    sample = open_yolo(yolo_set(tmp_path, "0 -0.1 0 1.2 0 1 1.01"), YoloOptions())["train"][0]
    assert sample.instances and sample.instances[0].polygons
    assert sample.instances[0].polygons[0].tolist() == [[-2, 0], [24, 0], [20, 10.1]]


@pytest.mark.parametrize(
    ("line", "code", "told"),
    [
        ("0 0.1 0.2 0.3", "malformed-annotation", "4 values"),
        ("0 0.1 0.2 0.3 0.4 0.9", "malformed-annotation", "6 values"),
        ("0 0.1 0.2 0.3 0.4 0.5 0.6 0.9", "malformed-annotation", "8 values"),
        ("0 0.1 0.2 0.3 0.4 0.5 x", "malformed-annotation", "finite numbers"),
        ("0 0.1 0.2 0.3 0.4 0.5 nan", "malformed-annotation", "finite numbers"),
        ("0 0.1 0.2 0.3 0.4 0.5 1e999", "malformed-annotation", "finite numbers"),
        ("0 0.1 0.2 0.3 0.4 0.5 1e300", "malformed-annotation", "finite numbers"),
        ("0 0.1 0.2 0.3 0.4 0.5 1_0", "malformed-annotation", "finite numbers"),
        ("0 0.5 0.5 -0.2 0.1", "malformed-annotation", "at least 0"),
        ("cat 0.1 0.2 0.3 0.4", "malformed-annotation", "'cat'"),
        ("1.5 0.1 0.2 0.3 0.4", "malformed-annotation", "'1.5'"),
        ("2 0.1 0.2 0.3 0.4", "unknown-category", "0 to 1"),
        ("-1 0.1 0.2 0.3 0.4", "unknown-category", "0 to 1"),
    ],
)
def test_a_bad_line_is_told_with_its_number_and_left_out(tmp_path, line, code, told):
    root = yolo_set(tmp_path, f"0 0.1 0.1 0.2 0.1 0.2 0.3\n{line}\n1 0 0 1 0 1 1\n")
    dataset = open_yolo(root, YoloOptions())
    sample = dataset["train"][0]
    assert [one.id for one in sample.instances or ()] == ["1", "3"]
    (problem,) = dataset.problems
    assert (problem.code, problem.severity, problem.id) == (code, "error", "line 2")
    assert problem.split == "train" and problem.file == root / "labels/train/a.txt"
    assert told in str(problem)


def test_labels_that_are_no_text_are_told(tmp_path):
    dataset = open_yolo(yolo_set(tmp_path, b"0 0.1 \xff"), YoloOptions())
    source = dataset["train"]
    (problem,) = dataset.problems
    assert problem.code == "malformed-file" and "byte 6 is 0xff" in problem.value
    with pytest.raises(DataError, match="not UTF-8"):
        source[0]


def test_an_empty_file_is_no_objects_and_a_missing_one_background(tmp_path):
    root = yolo_set(tmp_path, "")
    write_picture(root / "images/train/b.png", (10, 20))
    dataset = open_yolo(root, YoloOptions())
    source = dataset["train"]
    assert [source[i].instances for i in range(2)] == [(), ()]
    (note,) = dataset.problems
    assert (note.code, note.severity) == ("no-label-file", "note")
    assert note.file == root / "images/train/b.png" and "1 of 2" in note.value


def test_labels_without_an_image_are_told(tmp_path):
    root = yolo_set(tmp_path, "")
    (root / "labels/train/gone.txt").write_text("0 0 0 1 1")
    dataset = open_yolo(root, YoloOptions())
    assert len(dataset["train"]) == 1
    assert [(p.code, p.severity, p.file) for p in dataset.problems] == [
        ("orphan-labels", "warning", root / "labels/train/gone.txt")
    ]


def test_a_damaged_image_is_told_when_it_is_read(tmp_path):
    root = yolo_set(tmp_path, "")
    (root / "images/train/a.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"a\.png"):
        open_yolo(root, YoloOptions())["train"][0]


def test_exif_turned_images_are_measured_upright(tmp_path):
    import PIL.Image

    root = yolo_set(tmp_path, "0 0.5 0.5 1 1", "images/train/a.jpg")
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    PIL.Image.new("RGB", (20, 10)).save(root / "images/train/a.jpg", exif=exif)
    sample = open_yolo(root, YoloOptions())["train"][0]
    assert sample.size == (20, 10) and sample.image.shape == (20, 10, 3)
    assert sample.instances and sample.instances[0].box == (0, 0, 10, 20)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("[no, yes, 1]", ("no", "yes", "1")),
        ("{1: dog, 0: cat}", ("cat", "dog")),
        ("\n  0: ~\n  1: 'on'", ("~", "on")),
    ],
)
def test_names_are_text_as_written(tmp_path, names, expected):
    yolo_set(tmp_path, "")
    (tmp_path / "data.yaml").write_text(f"train: images/train\nnames: {names}\n")
    assert open_yolo(tmp_path, YoloOptions())["train"].space.classes == expected


@pytest.mark.parametrize(
    ("yaml", "told"),
    [
        ("names: [a]\ntrain: nowhere\n", "'nowhere' does not exist"),
        ("names: [a]\n", "names no split that exists"),
        ("train: images/train\nnames: {0: a, 2: b}\n", "without gaps"),
        ("train: images/train\nnames: cat\n", "a list of class names"),
        ("train: images/train\nnames: []\n", "at least one class"),
        ("train: images/train\nnames: [[a]]\n", "a list of class names"),
        ("train: images/train\nnames: [a\n", "not valid YAML at line"),
        ("- a\n", "expected keys"),
        ("train: images/train\nnames: [a]\nkpt_shape: [3]\n", "kpt_shape"),
        ("x: &a [*a]\ntrain: images/train\nnames: *a\n", "YAML"),
        ("names: " + "[" * 1000, "YAML"),
    ],
)
def test_a_bad_yaml_file_is_told(tmp_path, yaml, told):
    yolo_set(tmp_path, "")
    (tmp_path / "data.yaml").write_text(yaml)
    with pytest.raises(DataError, match=told):
        open_yolo(tmp_path / "data.yaml", YoloOptions())


def test_aliases_that_would_expand_without_end_cost_nothing(tmp_path):
    yolo_set(tmp_path, "")
    levels = "".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]\n" for i in range(1, 30))
    text = f"l0: &l0 [a]\n{levels}train: images/train\nnames: *l29\n"
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(DataError, match="a list of class names"):
        open_yolo(tmp_path, YoloOptions())


def test_entries_too_long_for_a_file_are_missing(tmp_path):
    root = yolo_set(tmp_path, "")
    names = f"path: {'p' * 300}\nnames: [cat, dog]\n"
    (root / "data.yaml").write_text(f"train: images/train\nval: {'v' * 5000}.txt\n{names}")
    dataset = open_yolo(root, YoloOptions())
    assert dataset["train"].ids == ["a"] and list(dataset.splits) == ["train"]
    assert any(one.severity == "error" for one in dataset.problems)


def test_the_number_of_classes_is_compared(tmp_path):
    yolo_set(tmp_path, "")
    (tmp_path / "data.yaml").write_text("train: images/train\nnames: [a]\nnc: 3\n")
    assert [p.code for p in open_yolo(tmp_path, YoloOptions()).problems] == ["class-count"]


def test_a_missing_split_is_told_and_left_out(tmp_path):
    yolo_set(tmp_path, "")
    text = "path: ../elsewhere\ntrain: images/train\nval: images/val\ntest: x\nnames: [a]\n"
    (tmp_path / "data.yaml").write_text(text)
    dataset = open_yolo(tmp_path, YoloOptions())
    assert dataset.splits == ("train",)
    assert [(p.code, p.severity, p.id) for p in dataset.problems] == [
        ("missing-folder", "error", "val"),
        ("missing-folder", "warning", "test"),
    ]


@pytest.mark.parametrize(
    "entry", ["images/train", "../images/train", ".\\images\\train", "list.txt"]
)
def test_splits_are_found_however_they_are_named(tmp_path, entry):
    root = yolo_set(tmp_path, "0 0.5 0.5 1 1", "images/train/deep/a.png")
    (root / "list.txt").write_text("./images/train/deep/a.png\n\n")
    (root / "data.yaml").write_text(f"train: {entry}\nnames: [cat]\n")
    source = open_yolo(root, YoloOptions())["train"]
    assert len(source) == 1 and len(source[0].instances or ()) == 1
    assert source.ids == ["train/deep/a" if entry == "list.txt" else "deep/a"]


def test_several_folders_of_one_split_may_have_equal_names(tmp_path):
    root = yolo_set(tmp_path, "", "one/images/a.png")
    yolo_set(root, "0 0.5 0.5 1 1", "two/images/a.png")
    (root / "data.yaml").write_text("train: [one/images, two/images, one/images]\nnames: [cat]\n")
    source = open_yolo(root, YoloOptions())["train"]
    assert source.ids == ["one/images/a", "two/images/a"]
    assert [len(source[i].instances or ()) for i in range(2)] == [0, 1]


def test_images_that_differ_in_the_suffix_have_different_ids(tmp_path):
    root = yolo_set(tmp_path, "0 0.5 0.5 1 1")
    write_picture(root / "images/train/a.jpg", (10, 20))
    source = open_yolo(root, YoloOptions())["train"]
    assert source.ids == ["a.jpg", "a.png"]
    assert [len(source[i].instances or ()) for i in range(2)] == [1, 1]


def test_a_listed_image_that_is_missing_is_told(tmp_path):
    root = yolo_set(tmp_path, "")
    (root / "list.txt").write_text("images/train/a.png\nimages/train/gone.png\n")
    (root / "data.yaml").write_text("train: list.txt\nnames: [cat]\n")
    dataset = open_yolo(root, YoloOptions())
    assert len(dataset["train"]) == 1
    (problem,) = dataset.problems
    assert (problem.code, problem.id) == ("missing-image", "line 2")


def test_cyclic_links_do_no_harm(tmp_path):
    root = yolo_set(tmp_path, "0 0.5 0.5 1 1")
    (root / "images/train/loop").symlink_to(root / "images", target_is_directory=True)
    assert open_yolo(root, YoloOptions())["train"].ids == ["a"]


@pytest.mark.parametrize("layout", ["images/train", "train/images", "images"])
def test_sets_without_yaml_are_read_by_their_folders(tmp_path, layout):
    root = yolo_set(tmp_path, "1 0.5 0.5 1 1", f"{layout}/a.png")
    (root / "data.yaml").unlink()
    assert FORMAT.recognise(root) is None
    with pytest.raises(DataError, match="have no names"):
        open_yolo(root, YoloOptions())
    assert open_yolo(root, YoloOptions(names=("x", "y"))).space.classes == ("x", "y")
    (root / "classes.txt").write_text("cat\ndog\n\n")
    assert FORMAT.recognise(root)
    dataset = open_yolo(root, YoloOptions())
    assert dataset.splits == (("all",) if layout == "images" else ("train",))
    sample = dataset[dataset.splits[0]][0]
    assert dataset.space.classes == ("cat", "dog")
    assert sample.instances and sample.instances[0].class_id == 1


def test_keypoints_are_left_out(tmp_path):
    root = yolo_set(tmp_path, "0 0.5 0.5 1 1 0.1 0.1 2 0.2 0.2 2\n")
    text = "train: images/train\nnames: [cat]\nkpt_shape: [2, 3]\n"
    (root / "data.yaml").write_text(text)
    sample = open_yolo(root, YoloOptions())["train"][0]
    assert sample.instances and sample.instances[0].box == (0, 0, 20, 10)


def test_recognised_by_its_yaml_and_by_nothing_else(tmp_path):
    root = yolo_set(tmp_path / "set", "")
    assert FORMAT.recognise(root) == "data.yaml with splits and names"
    assert FORMAT.recognise(root / "data.yaml")
    (root / "data.yaml").write_bytes(b"\xff\xfe train: names:")
    assert FORMAT.recognise(root) is None
    assert FORMAT.recognise(tmp_path) is None
    assert FORMAT.recognise(root / "images/train/a.png") is None
    with pytest.raises(DataError, match="no folders"):
        open_yolo(tmp_path, YoloOptions())


def test_one_of_several_yaml_files_is_named(tmp_path):
    root = yolo_set(tmp_path, "")
    for name in ("a.yaml", "b.yaml"):
        (root / name).write_text(f"train: images/train\nnames: [{name[0]}]\n")
    assert open_yolo(root, YoloOptions()).space.classes == ("cat", "dog")
    (root / "data.yaml").unlink()
    with pytest.raises(DataError, match=r"a\.yaml, b\.yaml"):
        open_yolo(root, YoloOptions())
    assert open_yolo(root, YoloOptions(data="b.yaml")).space.classes == ("b",)


def test_sources_travel_to_other_processes(tmp_path):
    source = written(tmp_path, train=varied(SIZE))["train"]
    copy = pickle.loads(pickle.dumps(source))
    assert copy.ids == source.ids
    for index in range(len(source)):
        same_objects(source[index], copy[index])


def test_a_set_without_splits_is_one(tmp_path):
    same_set(sources(all=outlined(varied(SIZE))), written(tmp_path, all=varied(SIZE)))
    assert FORMAT.recognise(tmp_path)


def test_crowds_and_empty_objects_are_left_out(tmp_path):
    empty = Instance.from_polygons(0, [np.array([[1.0, 1], [2, 2]])], SIZE)
    crowd = Instance.from_masks(1, blob(SIZE), crowd=True)
    sample = Sample("a", picture(SIZE), SIZE, instances=(empty, crowd))
    assert written(tmp_path, train=[sample])["train"][0].instances == ()


def test_label_maps_are_written_as_objects_of_their_parts(tmp_path):
    labels = np.zeros(SIZE, np.uint8)
    labels[2:8, 2:8] = labels[20:30, 5:9] = 1
    space = LabelSpace(("background", "cat"), background=0)
    source = ListSource([Sample("a", picture(SIZE), SIZE, labels)], space)
    assert FORMAT.write is not None
    FORMAT.write({"train": source}, tmp_path, YoloWriteOptions())
    dataset = open_yolo(tmp_path, YoloOptions())
    assert dataset.space.classes == ("cat",)
    np.testing.assert_array_equal(dataset["train"][0].semantic(dataset.space), labels)


def test_names_that_leave_the_folder_are_refused(tmp_path):
    for name in ("../a", "/a", "c:\\a"):
        sample = Sample(name, picture(SIZE), SIZE, instances=())
        with pytest.raises(DataError, match="inside"):
            written(tmp_path / "set", train=[sample])


def test_two_samples_of_one_name_are_refused(tmp_path):
    sample = Sample("a", picture(SIZE), SIZE, instances=())
    with pytest.raises(DataError, match="two images"):
        written(tmp_path, train=[sample, sample])


def test_splits_of_different_classes_are_refused(tmp_path):
    splits = {"train": ListSource([]), "val": ListSource([], LabelSpace(("other",)))}
    assert FORMAT.write is not None
    with pytest.raises(DataError, match="split val has the classes other"):
        FORMAT.write(splits, tmp_path, YoloWriteOptions())
