"""Which tasks, images and classes an export of Label Studio has."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.data.formats.annotation_tools import (
    write_picture,
)
from tests.data.formats.labelstudio_exports import (
    TRIANGLE,
    annotation,
    export,
    only,
    polygon,
    result,
    task,
)
from vitrail.data.formats.labelstudio import FORMAT, LabelStudioOptions, open_labelstudio
from vitrail.errors import DataError


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "not valid JSON"),
        ("[{", "not valid JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("3", "a list of tasks"),
        ("[1]", "a list of tasks"),
        ("[]", "no task can be used"),
        ('[{"data": {}},]', "Expecting value"),
        ('[{"data": {}} 3]', "Expecting ',' delimiter"),
        ('[{"data": {}}', "Expecting ',' delimiter"),
        ("[] x", "Extra data"),
        ("[" + "1" * 5000 + "]", "cannot be read"),
        ('[{"id": 1}]', "neither data and annotations nor labelled regions"),
        ('{"images": [], "annotations": []}', "neither data"),
    ],
)
def test_files_that_are_no_export_are_told(tmp_path, content, told):
    root = export(tmp_path, content)
    with pytest.raises(DataError, match=told):
        open_labelstudio(root / "export.json", LabelStudioOptions())


def test_the_latest_annotation_counts_and_skipped_ones_do_not(tmp_path):
    def by(label: str, who: Any, when: str, **more) -> dict:
        return annotation([polygon(label)], completed_by=who, updated_at=when, **more)

    several = task([])
    several["annotations"] = [
        by("b", {"id": 3, "email": "b@x.org"}, "2024-02-01T00:00:00Z"),
        by("c", 4, "2024-03-01T00:00:00Z", was_cancelled=True),
        by("a", 2, "2024-01-01T00:00:00Z", ground_truth=True),
    ]
    root = export(tmp_path, [several])

    def labels(**options) -> tuple[str, ...]:
        return open_labelstudio(root, LabelStudioOptions(**options)).space.classes

    assert labels() == ("b",)
    assert labels(annotation="first") == labels(annotation="ground-truth") == ("a",)
    assert labels(annotator="b@x.org") == labels(annotator="3") == labels(annotator=3) == ("b",)
    with pytest.raises(DataError, match=r"no task can be used.*without an annotation of the kind"):
        labels(annotator="4")


def test_tasks_without_annotation_are_left_out_and_empty_ones_are_not(tmp_path):
    skipped = {**task([polygon()], "b.png"), "id": 8}
    skipped["annotations"][0]["was_cancelled"] = True
    bare = {"id": 9, "data": {"image": "c.png"}, "annotations": []}
    root = export(tmp_path, [task([]), skipped, bare])
    dataset = open_labelstudio(root, LabelStudioOptions())
    assert [dataset["all"][0].instances, len(dataset["all"])] == [(), 1]
    assert dataset["all"][0].size == (10, 20)
    assert [(p.code, p.severity, p.value) for p in dataset.problems] == [
        ("unlabelled-task", "note", "1 tasks are left out: skipped by the annotator"),
        ("unlabelled-task", "note", "1 tasks are left out: not annotated"),
    ]


@pytest.mark.parametrize(
    ("said", "on_disk"),
    [
        ("/data/upload/1/0a1b2c3d-my%20cat.png", "images/0a1b2c3d-my cat.png"),
        ("/data/upload/1/0a1b2c3d-my%20cat.png", "images/my cat.png"),
        ("/data/upload/1/my cat.png", "images/0a1b2c3d-my cat.png"),
        ("/data/local-files/?d=deep/my%20cat.png", "images/deep/my cat.png"),
        ("/data/local-files/?d=deep%5Cmy+cat.png", "deep/my+cat.png"),
        ("https://example.org/a/b/cat.png?size=3#x", "cat.png"),
        ("s3://bucket/key/cat.png", "images/cat.png"),
        ("C:\\photos\\cat.png", "images/cat.png"),
        ("../../../cat.png", "images/cat.png"),
        ("cat#1%.png", "images/cat#1%.png"),
        ("http://[broken/cat.png", "images/cat.png"),
    ],
)
def test_images_are_found_by_name_below_the_set(tmp_path, said, on_disk):
    root = export(tmp_path, [task([polygon()], said)], on_disk)
    assert only(root).path == root / on_disk


def test_the_image_is_found_among_the_data(tmp_path):
    data = {"text": "a cat", "split": 3, "photo": "/x/a.png"}
    root = export(tmp_path, [{**task([polygon()]), "data": data}])
    assert only(root).path == only(root, image_key="photo").path == root / "images/a.png"
    with pytest.raises(DataError, match="'a cat' is not there"):
        open_labelstudio(root, LabelStudioOptions(image_key="text"))


def test_missing_ambiguous_and_repeated_images_are_told(tmp_path):
    tasks = [task([polygon()]), {**task([polygon()]), "id": 8}]
    tasks += [{**task([polygon()], "gone.png"), "id": 9}, {**task([], ["a.png"]), "id": 10}]
    tasks += [{**task([polygon()], "b.png"), "id": 11}]
    root = export(tmp_path, tasks)
    write_picture(root / "x/b.png", (10, 20))
    write_picture(root / "y/b.png", (10, 20))
    dataset = open_labelstudio(root, LabelStudioOptions())
    assert dataset["all"].ids == ["a"]
    assert [(p.code, p.id) for p in dataset.problems] == [
        ("repeated-image", "task 8"),
        ("missing-image", "task 9"),
        ("missing-image", "task 10"),
        ("ambiguous-image", "task 11"),
    ]
    assert "nothing is downloaded" in dataset.problems[1].advice
    assert open_labelstudio(root, LabelStudioOptions(images=Path("x")))["all"].ids == ["b"]


def test_json_min_is_read_too(tmp_path):
    region = {"points": TRIANGLE, "polygonlabels": ["cat"]}
    region |= {"original_width": 20, "original_height": 10}
    entry = {"image": "/data/upload/1/a.png", "id": 5, "label": [region], "annotator": 1}
    newer = {**entry, "label": [], "annotator": 2, "updated_at": "2024-01-01", "annotation_id": 4}
    root = export(tmp_path, [entry])
    sample = only(root)
    assert sample.instances and sample.instances[0].polygons and sample.size == (10, 20)
    assert sample.instances[0].polygons[0].tolist() == [[2, 3], [10, 3], [10, 8]]
    export(tmp_path, [newer, entry])
    assert only(root).instances == ()
    assert len(only(root, annotator="1").instances or ()) == 1
    assert FORMAT.recognise(root)


def test_classes_are_those_of_the_configuration(tmp_path):
    root = export(tmp_path, [task([polygon(), polygon("cow", id="r2")])])
    (root / "label_config.xml").write_text(
        '<View><Image name="image" value="$image"/><Choices name="q" toName="image">'
        '<Choice value="x"/></Choices><PolygonLabels name="p" toName="image">'
        '<Label value="dog" background="#0000FF"/><Label value="Cat" alias="cat" background="red"/>'
        '</PolygonLabels><KeyPointLabels name="k" toName="image"><Label value="eye"/>'
        "</KeyPointLabels></View>"
    )
    dataset = open_labelstudio(root, LabelStudioOptions())
    assert (dataset.space.classes, dataset.space.colours) == (("dog", "cat"), None)
    (problem,) = dataset.problems
    assert (problem.code, problem.id) == ("unknown-category", "task 7, region r2")
    assert [one.class_id for one in dataset["all"][0].instances or ()] == [1]


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ("<View>", "not valid XML"),
        ("<html/>", "expected <View>"),
        ("<!DOCTYPE View [<!ENTITY a 'b'>]><View/>", "document type"),
    ],
)
def test_a_bad_configuration_is_told(tmp_path, config, told):
    root = export(tmp_path, [task([polygon()])])
    (root / "config.xml").write_text(config)
    with pytest.raises(DataError, match=told):
        open_labelstudio(root, LabelStudioOptions())


def test_several_files_are_splits_by_name_and_single_tasks_are_read(tmp_path):
    root = export(tmp_path, [task([polygon()])])
    (root / "more.json").write_text(json.dumps(task([polygon("dog")])))
    dataset = open_labelstudio(root, LabelStudioOptions())
    assert dataset.splits == ("export", "more") and dataset.space.classes == ("cat", "dog")
    assert open_labelstudio(root / "more.json", LabelStudioOptions())["all"].ids == ["a"]


def test_recognised_by_its_beginning(tmp_path):
    assert FORMAT.recognise(tmp_path) is None
    root = export(tmp_path, [task([polygon()])])
    assert FORMAT.recognise(root) == "export.json, an export of Label Studio"
    long = {"annotations": [annotation([result({"rle": [1] * 9999}, "brushlabels")])], "data": {}}
    export(root, [long])
    assert FORMAT.recognise(root / "export.json")
    coco = {"images": [{"id": 1}], "annotations": [{"image_id": 1, "bbox": [1, 2, 3, 4]}]}
    export(root, coco)
    assert FORMAT.recognise(root) is None
    with pytest.raises(DataError, match="no JSON file of tasks"):
        open_labelstudio(root, LabelStudioOptions())
