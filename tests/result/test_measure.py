"""Region statistics: parity with scikit-image, and what the table promises."""

from __future__ import annotations

import csv
import math
from importlib.metadata import version

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage import data, filters, segmentation
from skimage import measure as ski

from vitrail.errors import OutputError, ParameterError, UnknownNameError
from vitrail.image import read_image
from vitrail.result import EdgeResult, InstanceResult, Masks, RegionResult, SemanticResult
from vitrail.result.measure import Table, measure

SKIMAGE = f"scikit-image {version('scikit-image')}"
OURS_TO_THEIRS = {
    "area": "area",
    "perimeter": "perimeter",
    "centroid_x": "centroid-1",
    "centroid_y": "centroid-0",
    "x1": "bbox-1",
    "y1": "bbox-0",
    "x2": "bbox-3",
    "y2": "bbox-2",
    "equivalent_diameter": "equivalent_diameter_area",
    "major_axis": "axis_major_length",
    "minor_axis": "axis_minor_length",
    "eccentricity": "eccentricity",
}
PROPERTIES = (
    "label", "area", "perimeter", "centroid", "bbox", "equivalent_diameter_area",
    "axis_major_length", "axis_minor_length", "eccentricity", "orientation", "inertia_tensor",
)  # fmt: skip


def assert_equals_regionprops(table: Table, labels: np.ndarray) -> None:
    """``labels`` counts from 1, as scikit-image leaves out 0."""
    theirs = ski.regionprops_table(labels, properties=PROPERTIES)
    for ours, name in OURS_TO_THEIRS.items():
        # 1e-6 absolute is for the axes of lines, which are 0 but for rounding in either
        np.testing.assert_allclose(
            table[ours], theirs[name], rtol=1e-6, atol=1e-6, err_msg=f"{ours}, {SKIMAGE}"
        )
    # a shape without a direction has no orientation to agree on
    xx, yy, xy = (theirs[f"inertia_tensor-{k}"] for k in ("0-0", "1-1", "0-1"))
    directed = np.hypot(xx - yy, 2 * xy) > 1e-9 * (xx + yy)
    turn = (table["orientation"] - theirs["orientation"])[directed]
    # -90 and +90 degrees are the same axis
    np.testing.assert_allclose(np.sin(turn), 0, atol=1e-6, err_msg=SKIMAGE)


@pytest.fixture(scope="module")
def superpixels() -> np.ndarray:
    return segmentation.felzenszwalb(data.astronaut(), scale=200, sigma=0.8, min_size=30)


def test_regions_equal_scikit_image(superpixels):
    table = measure(RegionResult(superpixels))
    assert len(table) == superpixels.max() + 1 > 200
    assert_equals_regionprops(table, superpixels + 1)
    assert table["class_id"].tolist() == list(range(len(table)))
    assert table["class"][3] == "region 3"
    assert "mean_r" not in table.columns and "score" not in table.columns


@settings(max_examples=60, deadline=None)
@given(
    arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 3))
)
def test_any_label_map_equals_scikit_image(labels):
    table = measure(RegionResult(labels))
    assert table["class_id"].tolist() == np.unique(labels).tolist()
    assert_equals_regionprops(table, labels + 1)


@pytest.mark.parametrize("kind", ["uint8 rgb", "uint16 grey", "float rgb", "five bands"])
def test_mean_colours_equal_scikit_image_in_the_images_own_units(superpixels, kind):
    rgb = data.astronaut()
    picture = {
        "uint8 rgb": rgb,
        "uint16 grey": rgb[..., 0].astype(np.uint16) * 257,
        "float rgb": (rgb / 255).astype(np.float32),
        "five bands": np.dstack([rgb, rgb[..., :2]]),
    }[kind]
    image = read_image(picture)
    table = measure(RegionResult(superpixels, image=image))
    theirs = ski.regionprops_table(
        superpixels + 1, image.pixels.astype(np.float64), properties=("intensity_mean",)
    )
    names = {1: ["mean_gray"], 3: ["mean_r", "mean_g", "mean_b"]}.get(
        image.pixels.shape[2], [f"mean_{i}" for i in range(1, 6)]
    )
    assert table.columns[-len(names) :] == tuple(names)
    for band, name in enumerate(names):
        expected = theirs[f"intensity_mean-{band}"]
        np.testing.assert_allclose(table[name], expected, rtol=1e-6, err_msg=SKIMAGE)


def test_semantic_classes_leave_out_background_and_ignored():
    labels = np.zeros((40, 50), np.uint8)
    labels[5:10, 5:15], labels[20:30, 20:40], labels[35:, :] = 1, 2, 255
    result = SemanticResult(labels, ("sky", "cat", "dog", "cow"), background=0, ignore=255)
    table = measure(result)
    assert [(r["id"], r["class_id"], r["class"], r["area"]) for r in table] == [
        (1, 1, "cat", 50),
        (2, 2, "dog", 200),
    ]
    assert measure(result, include_background=True)["class"].tolist() == ["sky", "cat", "dog"]
    segments = result.segments()
    assert [s.area for s in segments] == table["area"].tolist()
    boxes = np.stack([table[name] for name in ("x1", "y1", "x2", "y2")], axis=1)
    assert [s.bbox for s in segments] == [tuple(box) for box in boxes.tolist()]


def test_connected_parts_equal_scikit_image_and_are_sorted_by_size():
    coins = data.coins()
    labels = (coins > filters.threshold_otsu(coins)).astype(np.uint8)
    table = measure(SemanticResult(labels, ("background", "coin"), background=0), connected=True)
    parts = np.asarray(ski.label(labels, connectivity=2))
    assert len(table) == parts.max() > 20
    assert (np.diff(table["area"]) <= 0).all()
    # numbered by their first pixel's place in theirs, by area in ours: match them by their centres
    theirs = ski.regionprops_table(parts, properties=("area", "perimeter", "centroid"))
    ours = np.stack([table[n] for n in ("area", "perimeter", "centroid_y", "centroid_x")], axis=1)
    other = np.stack([theirs[n] for n in ("area", "perimeter", "centroid-0", "centroid-1")], axis=1)
    np.testing.assert_allclose(
        ours[np.lexsort(ours.T[2:])], other[np.lexsort(other.T[2:])], rtol=1e-6, err_msg=SKIMAGE
    )


def test_connected_parts_keep_their_class_and_can_be_of_class_0():
    labels = np.array([[0, 0, 1, 1, 0], [0, 0, 1, 0, 0], [2, 2, 2, 1, 0]])
    table = measure(RegionResult(labels), connected=True)
    found = [(row["class_id"], row["area"]) for row in table]
    assert found == [(0, 4), (0, 4), (1, 4), (2, 3)], "corners connect"


def instances() -> tuple[InstanceResult, np.ndarray]:
    """Overlapping objects with a hole, several parts, one pixel, and an empty mask."""
    dense = np.zeros((5, 60, 80), bool)
    dense[0, 10:30, 10:40] = True
    dense[0, 15:20, 15:20] = False
    dense[1, 20:50, 30:70] = np.tri(30, 40, 5, dtype=bool)
    dense[2, 0:5, 0:5] = dense[2, 55:60, 70:80] = True
    dense[3, 59, 79] = True
    image = read_image(data.astronaut()[:60, :80])
    result = InstanceResult(
        np.zeros((5, 4)),
        np.array([0.9, 0.8, 0.7, 0.6, 0.5]),
        np.array([1, 0, 1, 2, 2]),
        Masks.from_dense(dense),
        ("cat", "dog", "cow"),
        size=(60, 80),
        image=image,
    )
    return result, dense


def test_instances_equal_scikit_image_one_by_one():
    result, dense = instances()
    table = measure(result)
    np.testing.assert_allclose(table["score"], [0.9, 0.8, 0.7, 0.6, 0.5], rtol=1e-6)
    assert table["class"].tolist() == ["dog", "cat", "dog", "cow", "cow"]
    for i in range(4):
        row = Table({name: table[name][i : i + 1] for name in table.columns})
        assert_equals_regionprops(row, dense[i].astype(np.uint8))
        pixels = result.image.pixels[dense[i]]  # pyright: ignore[reportOptionalMemberAccess]
        found = [table[name][i] for name in ("mean_r", "mean_g", "mean_b")]
        np.testing.assert_allclose(found, pixels.mean(axis=0))


def test_an_empty_mask_is_a_row_without_numbers():
    row = measure(instances()[0])[4]
    assert row["area"] == 0 and row["perimeter"] == 0 and row["x1"] == row["x2"] == 0
    for name in ("centroid_x", "equivalent_diameter", "eccentricity", "orientation", "mean_r"):
        assert row[name] is None, name


def test_edges_are_measured_as_their_regions():
    strength = np.zeros((30, 40), np.float32)
    strength[:, 20] = 1
    edges = EdgeResult(strength)
    assert measure(edges).to_dict() == measure(edges.regions()).to_dict()
    assert len(measure(edges)) == 2


def test_nothing_found_is_an_empty_table_with_all_columns(tmp_path):
    empty = measure(instances()[0][:0])
    assert len(empty) == 0 and "mean_b" in empty.columns and empty.rows == []
    assert empty.to_csv(tmp_path / "t.csv").read_text().startswith("id,class_id,class,score,area")
    only_background = SemanticResult(np.zeros((4, 4), np.uint8), ("a",), background=0)
    assert len(measure(only_background)) == 0


def test_pixel_size_scales_and_names_lengths_and_areas(superpixels):
    result = RegionResult(superpixels)
    plain, scaled = measure(result), measure(result, pixel_size=0.5, unit="mm")
    np.testing.assert_allclose(scaled["area_mm2"], plain["area"] * 0.25)
    for name in ("perimeter", "equivalent_diameter", "major_axis", "minor_axis"):
        np.testing.assert_allclose(scaled[f"{name}_mm"], plain[name] * 0.5)
    for name in ("x1", "centroid_x", "eccentricity", "orientation"):
        np.testing.assert_array_equal(scaled[name], plain[name])
    assert "area" not in scaled.columns
    for bad in (0, -1, math.inf, math.nan):
        with pytest.raises(ParameterError, match="pixel_size"):
            measure(result, pixel_size=bad)


def test_an_image_of_another_size_is_refused(superpixels):
    with pytest.raises(ParameterError, match="512"):
        measure(RegionResult(superpixels), np.zeros((10, 10, 3), np.uint8))


def test_the_result_measures_itself(superpixels):
    result = RegionResult(superpixels, image=read_image(data.astronaut()))
    assert result.measure().to_dict() == measure(result).to_dict()


def test_a_region_far_from_the_origin_keeps_its_digits():
    far = np.zeros((3000, 4000), np.uint8)
    far[2990:2993, 3990:3997] = 1
    near = far[2980:, 3980:]
    names = ("background", "object")
    a = measure(SemanticResult(far, names, background=0))
    b = measure(SemanticResult(near, names, background=0))
    for name in ("major_axis", "minor_axis", "eccentricity", "perimeter"):
        np.testing.assert_allclose(a[name], b[name], rtol=1e-12)


# ---------------------------------------------------------------- the table


def small() -> Table:
    return Table({"id": [1, 2], "class": ["cat", 'a, "b"\nc'], "size": [0.1, float("nan")]})


def test_table_access():
    table = small()
    assert len(table) == 2 and table.columns == ("id", "class", "size")
    assert table[0] == {"id": 1, "class": "cat", "size": 0.1}
    assert table[1]["size"] is None and type(table[0]["id"]) is int
    assert [row["id"] for row in table] == [1, 2] and table.rows[1] == table[1]
    assert table.to_dict()["size"] == [0.1, None]
    with pytest.raises(UnknownNameError, match="did you mean 'size'"):
        table["sizes"]
    with pytest.raises(IndexError):
        table[2]
    with pytest.raises(ParameterError, match="different lengths"):
        Table({"a": [1], "b": [1, 2]})


def test_table_as_text():
    lines = str(Table({"class": ["cat", "elephant"], "area": [7, 1234], "mean": [0.5, math.nan]}))
    assert lines.splitlines() == [
        "class     area   mean",
        "cat          7  0.500",
        "elephant  1234",
    ]
    assert str(Table({"n": range(60)})).splitlines()[-1] == "... and 10 more rows"
    assert str(Table({})) == "(empty table)"


def test_csv_reads_back_exactly(tmp_path, superpixels):
    path = small().to_csv(tmp_path / "t.csv")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows == [
        {"id": "1", "class": "cat", "size": "0.1"},
        {"id": "2", "class": 'a, "b"\nc', "size": ""},
    ]
    table = measure(RegionResult(superpixels))
    with table.to_csv(tmp_path / "t.csv").open(newline="") as file:
        found = [float(row["perimeter"]) for row in csv.DictReader(file)]
    np.testing.assert_array_equal(found, table["perimeter"])
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"], "temporary files are gone"


def test_csv_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    with pytest.raises(OutputError, match="nowhere"):
        small().to_csv(tmp_path / "nowhere" / "t.csv")
    (tmp_path / "t.csv").write_text("old")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vitrail.result.table.csv.writer", full)
    with pytest.raises(OutputError, match=r"t\.csv.*No space left"):
        small().to_csv(tmp_path / "t.csv")
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]
    assert (tmp_path / "t.csv").read_text() == "old"
