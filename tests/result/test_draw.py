"""Pictures: the right pixels change, outlines and text can be read, nothing else is touched."""

from __future__ import annotations

import numpy as np
import pytest
from skimage import data, segmentation
from skimage.color import rgb2hsv

from vitrail.errors import ParameterError
from vitrail.image import Image
from vitrail.result import EdgeResult, InstanceResult, Masks, RegionResult, SemanticResult
from vitrail.result.canvas import Scale, tag_size, text_patch
from vitrail.result.draw import Style, draw, instance_colours
from vitrail.result.legend import contact_sheet
from vitrail.result.palette import contrast, palette

CLASSES = ("background", "person", "animal")
SIZE = (240, 320)


def square() -> np.ndarray:
    labels = np.zeros(SIZE, np.uint8)
    labels[60:180, 100:220] = 2
    labels[100:140, 140:180] = 0
    return labels


def on(level: int | np.ndarray, **options) -> SemanticResult:
    pixels = np.full((*SIZE, 3), level, np.uint8)
    return SemanticResult(square(), CLASSES, background=0, image=Image(pixels), **options)


def objects(image: Image | None = None, count: int = 3) -> InstanceResult:
    square = np.ones((50, 50), bool)
    square[20:30, 20:30] = False
    masks = Masks.from_crops(((90, 20 + 100 * i, square) for i in range(count)), SIZE)
    scores = np.linspace(0.9, 0.5, count)
    return InstanceResult(
        masks.boxes(), scores, [1] * count, masks, CLASSES, size=SIZE, image=image
    )


def test_the_tint_is_the_blend_of_image_and_class_colour() -> None:
    picture = on(200).plot(outline=False, legend=False, alpha=0.25)
    inside = square() == 2
    expected = 0.75 * 200 + 0.25 * palette(2)[1]
    assert np.abs(picture[inside] - expected).max() <= 1
    assert (picture[~inside] == 200).all()


@pytest.mark.parametrize("level", [0, 60, 128, 200, 255, palette(2)[1]])
def test_the_outline_can_be_seen_on_any_ground(level) -> None:
    """Across the edge, light and dark tones stand out of the ground and of the tint."""
    picture = on(level).plot(legend=False)
    across = picture[80, 90:110]
    assert max(contrast(pixel, across[0]) for pixel in across) > 2.5
    assert max(contrast(pixel, across[-1]) for pixel in across) > 2
    light = max(across, key=lambda pixel: contrast(pixel, np.zeros(3)))
    assert max(contrast(pixel, light) for pixel in across[5:15]) > 4.5


def test_only_the_outline_s_surroundings_change_outside_the_mask() -> None:
    picture = on(128).plot(legend=False)
    far = np.ones(SIZE, bool)
    far[55:185, 95:225] = False
    far[105:135, 145:175] = True  # inside the hole
    assert (picture[far] == 128).all()


def test_image_and_result_stay_as_they_are() -> None:
    pixels = data.chelsea()
    before = pixels.copy()
    labels = np.zeros(pixels.shape[:2], np.uint8)
    labels[50:200] = 1
    for found in (
        SemanticResult(labels, CLASSES, background=0, image=Image(pixels)),
        RegionResult(labels, image=Image(pixels)),
    ):
        assert found.plot().shape == pixels.shape
        np.testing.assert_array_equal(pixels, before)


def test_ignored_pixels_are_veiled_in_grey() -> None:
    labels = square()
    labels[:, :20] = 255
    found = SemanticResult(labels, CLASSES, background=0, ignore=255)
    picture = found.plot(np.zeros((*SIZE, 3), np.uint8), legend=False, alpha=0.5)
    assert np.ptp(picture[:, :20], axis=2).max() == 0 and picture[:, :20].min() > 90
    assert (picture[:, 20:90] == 0).all()


def test_a_palette_of_ones_own_is_used() -> None:
    colours = [[0, 0, 0], [1, 2, 3], [10, 20, 30]]
    picture = on(0, palette=colours).plot(alpha=1.0, outline=False, legend=False)
    np.testing.assert_array_equal(np.unique(picture[square() == 2], axis=0), [[10, 20, 30]])


def legend_box(found, **style) -> tuple[slice, slice]:
    """Where the picture with a legend differs from the one without."""
    differs = (found.plot(**style) != found.plot(legend=False, **style)).any(axis=2)
    rows, columns = np.flatnonzero(differs.any(axis=1)), np.flatnonzero(differs.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_the_legend_has_a_swatch_and_text_that_reads(level: int) -> None:
    box = on(level).plot()[legend_box(on(level))]
    colours, counts = np.unique(box.reshape(-1, 3), axis=0, return_counts=True)
    ground = colours[counts.argmax()]
    text = Scale.of(SIZE).text
    assert (box == palette(2)[1]).all(axis=2).sum() >= (text - 1) ** 2
    ink = [colour for colour in colours if contrast(colour, ground) > 4.5]
    lettering = text_patch("animal", text) > 200
    white = (box > 200).all(axis=2)
    assert len(ink) > 0 and white.sum() >= lettering.sum()


def test_the_legend_goes_where_nothing_is_hidden() -> None:
    labels = np.zeros(SIZE, np.uint8)
    labels[60:] = labels[:, :160] = 1
    found = SemanticResult(
        labels, CLASSES, background=0, image=Image(np.zeros((*SIZE, 1), np.uint8))
    )
    rows, columns = legend_box(found, outline=False)
    assert rows.stop < 60 and columns.start > 160


def test_a_legend_that_does_not_fit_is_shortened_or_left_out() -> None:
    labels = (np.arange(SIZE[0])[:, None] // 6 * np.ones(SIZE[1], int)).astype(np.uint8)
    many = SemanticResult(labels, [f"class {i}" for i in range(40)])
    rows, columns = legend_box(many, outline=False)
    area = (rows.stop - rows.start) * (columns.stop - columns.start)
    assert 0 < area <= SIZE[0] * SIZE[1] / 4
    tiny = SemanticResult(np.ones((12, 12), np.uint8), CLASSES)
    np.testing.assert_array_equal(tiny.plot(), tiny.plot(legend=False))


def test_instances_of_one_class_get_colours_of_their_own() -> None:
    picture = objects().plot(outline=False, tags=False, legend=False, alpha=1.0)
    for i, colour in enumerate(palette(3)):
        np.testing.assert_array_equal(picture[95, 25 + 100 * i], colour)
        assert (picture[115, 45 + 100 * i] == 236).all()  # the hole shows the plain ground


def test_instances_of_several_classes_are_shades_of_them() -> None:
    found = objects()
    mixed = InstanceResult(found.boxes, found.scores, [1, 2, 1], found.masks, CLASSES, size=SIZE)
    colours = instance_colours(mixed)
    assert len(np.unique(colours, axis=0)) == 3
    hues = rgb2hsv(colours / 255.0)[:, 0] * 360
    assert abs(hues[2] - hues[0]) <= 25 < abs(hues[1] - hues[0])


def test_the_higher_score_lies_on_top() -> None:
    masks = Masks.from_dense(np.ones((2, 40, 40), bool))
    found = InstanceResult(masks.boxes(), [0.9, 0.5], [0, 0], masks, CLASSES, size=(40, 40))
    picture = found.plot(alpha=1.0, outline=False, tags=False, legend=False)
    assert (picture == palette(1)[0]).all()


def test_tags_are_text_on_the_object_s_colour_and_never_overlap() -> None:
    found = objects()
    plain, tagged = found.plot(tags=False, legend=False), found.plot(legend=False)
    differs = (plain != tagged).any(axis=2)
    height, width = tag_size("person 0.90", Scale.of(SIZE).text)
    assert differs[90 - height : 90, 20 : 20 + width].mean() > 0.9
    assert differs.sum() <= 3 * height * width
    everywhere = Masks.from_dense(np.ones((30, *SIZE), bool))
    crowd = InstanceResult(
        everywhere.boxes(), np.linspace(1, 0.5, 30), [1] * 30, everywhere, CLASSES, size=SIZE
    )
    crowded = crowd.plot(legend=False) != crowd.plot(tags=False, legend=False)
    assert crowded.any(axis=2).sum() <= 2 * height * (width + 4)


@pytest.mark.parametrize(("count", "tagged"), [(5, True), (6, False)])
def test_many_objects_smaller_than_their_tags_get_none(count: int, tagged: bool) -> None:
    dots = np.zeros((count, *SIZE), bool)
    for number, dot in enumerate(dots):
        dot[10 + 12 * number : 14 + 12 * number, 30:34] = True
    masks = Masks.from_dense(dots)
    found = InstanceResult(masks.boxes(), [0.9] * count, [1] * count, masks, CLASSES, size=SIZE)
    with_tags, without = found.plot(legend=False), found.plot(tags=False, legend=False)
    assert (with_tags != without).any() == tagged


def test_tags_at_the_border_stay_inside() -> None:
    corner = np.zeros((2, *SIZE), bool)
    corner[0, :5, -5:] = corner[1, -5:, :5] = True
    masks = Masks.from_dense(corner)
    found = InstanceResult(masks.boxes(), [0.9, 0.8], [1, 2], masks, CLASSES, size=SIZE)
    differs = (found.plot(legend=False) != found.plot(tags=False, legend=False)).any(axis=2)
    height, width = tag_size("person 0.90", Scale.of(SIZE).text)
    assert differs[: height + 5, -width:].sum() > 0.9 * height * width - 25


def test_boxes_are_drawn_on_request() -> None:
    found = objects()
    differs = found.plot(boxes=True, legend=False, tags=False) != found.plot(
        legend=False, tags=False, outline=True
    )
    assert differs[90, 20:70].any(axis=1).any() and not differs[0:80].any()


def test_outlines_leave_small_objects_visible() -> None:
    size = (2000, 2000)
    crops = [(400, 400, np.ones((24, 24), bool)), (900, 400, np.ones((600, 600), bool))]
    found = InstanceResult(
        np.array([[400, 400, 424, 424], [400, 900, 1000, 1500]], np.float32),
        np.array([0.9, 0.8], np.float32),
        np.zeros(2, np.int64),
        Masks.from_crops(crops, size),
        ("cell",),
        size=size,
        image=Image(np.zeros((*size, 3), np.uint8)),
    )
    plain = {"legend": False, "tags": False}
    drawn, bare = found.plot(**plain), found.plot(outline=False, **plain)
    changed = (drawn != bare).any(2)
    assert not changed[404:420, 404:420].any()
    assert changed[1200, 390:420].sum() >= 9  # a large one has the line of a large picture


def test_few_regions_take_palette_colours_and_many_their_mean() -> None:
    image = Image(data.astronaut())
    halves = np.zeros((512, 512), np.int32)
    halves[256:] = 1
    few = RegionResult(halves, image=image).plot(alpha=1.0, legend=False, outline=False)
    np.testing.assert_array_equal(few[[0, -1], 0], palette(2))
    labels = segmentation.slic(image.pixels, 150, start_label=0)
    many = RegionResult(labels, image=image).plot(outline=False)
    for i in (0, 40, 90):
        inside = labels == i
        mean = np.rint(image.pixels[inside].mean(axis=0))
        expected = image.pixels[inside] * 0.15 + mean * 0.85
        assert np.abs(many[inside] - expected).max() <= 1.5
    bare = RegionResult(labels, image=image).plot(outline=False, alpha=0)
    np.testing.assert_array_equal(bare, image.pixels)


def test_region_boundaries_are_light_with_dark_rims() -> None:
    labels = np.zeros(SIZE, np.int32)
    labels[:, 160:] = 1
    for level in (0, 128, 255):
        found = RegionResult(labels, image=Image(np.full((*SIZE, 3), level, np.uint8)))
        across = found.plot(alpha=0.0, legend=False)[120, 150:170].astype(int)
        assert np.ptp(across.sum(axis=1)) > 3 * 60
        assert (across[:4] == level).all() and (across[-4:] == level).all()


def test_ragged_regions_are_not_outlined() -> None:
    labels = np.random.default_rng(0).integers(0, 3, SIZE)
    found = RegionResult(labels, image=Image(np.zeros((*SIZE, 3), np.uint8)))
    np.testing.assert_array_equal(found.plot(), found.plot(outline=False))


def test_edge_strength_is_grey_and_rises_with_it() -> None:
    ramp = np.tile(np.linspace(0, 4, 100, dtype=np.float32), (10, 1))
    picture = EdgeResult(ramp).plot()
    assert picture.shape == (10, 100, 3) and np.ptp(picture, axis=2).max() == 0
    assert (picture[0, 0] == 0).all() and (picture[0, -1] == 255).all()
    assert (np.diff(picture[0, :, 0].astype(int)) >= 0).all()
    assert not EdgeResult(np.zeros((3, 3), np.float32)).plot().any()


def test_sparse_binary_edges_are_white() -> None:
    strength = np.zeros((100, 1000), np.float32)
    strength[50, 17] = 1
    assert EdgeResult(strength).plot()[50, 17].tolist() == [255] * 3


def test_strips_leave_no_seam() -> None:
    """A picture of several strips equals what one strip would give, boundaries included."""
    from vitrail.result import canvas

    labels = (np.arange(1500)[:, None] // 37 + np.arange(1100) // 41).astype(np.int32)
    found = RegionResult(labels)
    whole = found.plot()
    original, canvas._STRIP = canvas._STRIP, 1 << 30
    try:
        np.testing.assert_array_equal(found.plot(), whole)
    finally:
        canvas._STRIP = original


@pytest.mark.parametrize("size", [(1, 1), (1, 400), (400, 1), (3, 5)])
def test_the_smallest_pictures_are_drawn(size: tuple[int, int]) -> None:
    ones = np.ones(size, np.uint8)
    masks = Masks.from_dense(ones[None])
    for found in (
        SemanticResult(ones, CLASSES, background=0),
        RegionResult(ones),
        EdgeResult(ones.astype(np.float32)),
        InstanceResult(masks.boxes(), [0.5], [1], masks, CLASSES, size=size),
    ):
        assert found.plot().shape == (*size, 3)


def test_grey_sixteen_bit_and_transparent_images_can_be_drawn_over() -> None:
    for image in (
        Image(np.full((*SIZE, 1), 9, np.uint8)),
        Image(np.full((*SIZE, 3), 60_000, np.uint16)),
        Image(np.zeros((*SIZE, 3), np.uint8), alpha=np.zeros(SIZE, np.uint8)),
    ):
        assert on(0).plot(image).shape == (*SIZE, 3)


@pytest.mark.parametrize(
    ("style", "message"),
    [
        ({"alfa": 0.5}, "did you mean 'alpha'"),
        ({"alpha": 1.5}, "from 0 to 1"),
        ({"alpha": "much"}, "from 0 to 1"),
        ({"fill": "rainbow"}, "auto, palette or mean"),
        ({"outline": "no"}, "True or False"),
    ],
)
def test_a_wrong_style_is_refused(style: dict, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        on(0).plot(**style)


def test_an_image_of_another_size_is_refused() -> None:
    with pytest.raises(ParameterError, match="results keep their image's size"):
        draw(on(0), np.zeros((10, 10, 3), np.uint8), Style())


def test_text_without_glyphs_is_brought_to_letters_there_are() -> None:
    shown = text_patch("Köter 猫", 20)
    assert shown.shape[0] == text_patch("plain", 20).shape[0]
    assert (shown > 128).sum() > (text_patch("K", 20) > 128).sum()


def test_contact_sheet_shows_every_picture_whole_with_its_title() -> None:
    pictures = [
        (f"picture {i}", np.full(shape, 40 * i + 20, np.uint8))
        for i, shape in enumerate(
            [(300, 600, 3), (50, 70, 3), (600, 100, 3), (1, 1, 3), (64, 64, 3)]
        )
    ]
    sheet = contact_sheet(pictures, cell=200)
    assert sheet.dtype == np.uint8 and sheet.shape[1] < 4 * 200
    shapes = [(100, 200), (100, 140), (200, 33), (200, 200), (192, 192)]
    for (_, picture), (height, width) in zip(pictures, shapes, strict=True):
        assert (sheet == picture[0, 0]).all(axis=2).sum() >= height * width
    dark = (sheet < 60).all(axis=2) & (sheet != 20).any(axis=2)
    assert dark.sum() >= 5 * (text_patch("picture", 12) > 220).sum()


def test_contact_sheet_s_columns_and_long_titles() -> None:
    pictures = [("a very long file name " * 20 + ".png", np.zeros((100, 100, 3), np.uint8))] * 4
    assert (
        contact_sheet(pictures, columns=1).shape[0] > 4 * contact_sheet(pictures[:1]).shape[0] / 2
    )
    wide = contact_sheet(pictures, columns=9, cell=100)
    assert (wide[:, -4:] == 250).all()
    for bad in ({"columns": 0}, {"cell": 10}):
        with pytest.raises(ParameterError, match="expected columns"):
            contact_sheet(pictures, **bad)
    with pytest.raises(ParameterError, match="at least one"):
        contact_sheet([])
    with pytest.raises(ParameterError, match="expected uint8"):
        contact_sheet([("grey", np.zeros((4, 4), np.uint8))])


def test_tags_leave_the_legend_alone() -> None:
    """An object under the legend has its tag beside it, or none."""
    everywhere = Masks.from_dense(np.ones((1, *SIZE), bool))
    corners = Masks.from_dense(np.pad(np.ones((1, 30, 30), bool), ((0, 0), (210, 0), (0, 290))))
    both = Masks.from_dense(np.concatenate([everywhere.dense(), corners.dense()]))
    found = InstanceResult(both.boxes(), [0.9, 0.8], [1, 1], both, CLASSES, size=SIZE)
    rows, columns = legend_box(found, tags=False)
    with_tags, without = found.plot(), found.plot(tags=False)
    np.testing.assert_array_equal(with_tags[rows, columns], without[rows, columns])
    assert (with_tags != without).any()
