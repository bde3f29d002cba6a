"""k-means, mean shift and Gaussian mixtures against OpenCV and SciPy, and against closed cases."""

from __future__ import annotations

from importlib.metadata import version

import cv2
import numpy as np
import pytest
from scipy import stats
from scipy.cluster import vq
from skimage import color, data

from vitrail.classical.cluster import (
    GaussianMixture,
    KMeans,
    MeanShift,
    gmm,
    kmeans,
    mean_shift,
)
from vitrail.classical.colors import (
    color_table,
    from_space,
    grouped,
    label_sums,
    nearest_color,
    paint,
    to_space,
)
from vitrail.classical.gmm import Mixture, fit_mixture
from vitrail.classical.lloyd import lloyd, spread_starts
from vitrail.errors import ParameterError
from vitrail.image import LUMA, read_image
from vitrail.result import RegionResult

SCIPY = f"SciPy {version('scipy')}"
SKIMAGE = f"scikit-image {version('scikit-image')}"
OPENCV = f"OpenCV {cv2.__version__}"
PHOTO = data.coffee()
SMALL = np.ascontiguousarray(data.chelsea()[::3, ::3])


def _distances(rgb: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """(H, W, K) squared distances, by their definition."""
    return ((rgb[:, :, None].astype(np.float64) - centers.astype(np.float64)) ** 2).sum(axis=3)


# Colours


@pytest.mark.parametrize("shape", [(40, 50), (1100, 1000)], ids=["by sorting", "by counting"])
def test_color_table_and_paint(shape):
    rgb = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8) & 0xF3
    table = color_table(rgb)
    keys = rgb.reshape(-1, 3).astype(np.int64) @ [65536, 256, 1]
    keys, counts = np.unique(keys, return_counts=True)
    colors = np.stack(np.unravel_index(keys, (256, 256, 256)), axis=1)
    np.testing.assert_array_equal(table.colors, colors)
    np.testing.assert_array_equal(table.counts, counts)
    labels = paint(rgb, table.colors, np.arange(len(colors)))
    np.testing.assert_array_equal(colors[labels], rgb)


def test_grouped_colors_keep_mass_and_mean():
    table = color_table(PHOTO)
    points = to_space(table.colors, "lab")
    means, weights = grouped(table, points, 5)
    assert len(means) < len(points) / 4
    assert weights.sum() == PHOTO.shape[0] * PHOTO.shape[1]
    expected = np.average(points, axis=0, weights=table.counts)
    np.testing.assert_allclose(np.average(means, axis=0, weights=weights), expected, rtol=1e-5)


@pytest.mark.parametrize("reference", [color], ids=[SKIMAGE])
def test_color_spaces(reference):
    colors = np.random.default_rng(0).integers(0, 256, (500, 3), dtype=np.uint8)
    lab = to_space(colors, "lab")
    np.testing.assert_allclose(lab, reference.rgb2lab(colors[None] / 255.0)[0], atol=0.3)
    hsv = from_space(to_space(colors, "hsv"), "hsv")
    expected = reference.rgb2hsv(colors[None])[0]
    np.testing.assert_allclose(hsv[:, 0] / 360, expected[:, 0], atol=1e-4)
    np.testing.assert_allclose(hsv[:, 1:], expected[:, 1:], atol=1e-4)
    np.testing.assert_array_equal(from_space(to_space(colors, "rgb"), "rgb"), colors)


@pytest.mark.parametrize("k", [2, 3, 16])
def test_nearest_color_by_cells_is_the_nearest(k):
    rng = np.random.default_rng(k)
    rgb = rng.integers(0, 256, (200, 300, 3), dtype=np.uint8)
    centers = rng.integers(0, 511, (k, 3)) / 2  # halves: distances are exact, ties occur
    centers[1] = centers[0] + [2, 0, 0]
    np.testing.assert_array_equal(nearest_color(rgb, centers), _distances(rgb, centers).argmin(2))


def test_nearest_color_on_whole_planes_of_the_cube():
    """All reds and greens, at blues on and off the borders of cells."""
    centers = np.array([[40.0, 90, 30], [180, 60.5, 200], [128, 200, 100]])
    every = np.arange(256.0)
    for blue in (0, 7, 8, 101, 255):
        rgb = np.full((256, 256, 3), blue, np.uint8)
        rgb[:, :, 0], rgb[:, :, 1] = every[:, None], every
        expected = _distances(rgb, centers).argmin(2)
        np.testing.assert_array_equal(nearest_color(rgb, centers), expected)


def test_label_sums_are_exact():
    labels = np.random.default_rng(0).integers(0, 5, SMALL.shape[:2]).astype(np.uint8)
    counts, sums, squares = label_sums(SMALL, labels, 6)
    for label in range(6):
        inside = SMALL[labels == label].astype(np.int64)
        assert counts[label] == len(inside)
        np.testing.assert_array_equal(sums[label], inside.sum(axis=0))
    assert squares == (SMALL.astype(np.int64) ** 2).sum()


# k-means


@pytest.mark.parametrize("k", [2, 3, 8], ids=f"k={{}}, {OPENCV}".format)
@pytest.mark.parametrize("space", ["rgb", "lab"])
def test_kmeans_inertia_is_no_worse_than_opencvs(k, space):
    points = to_space(PHOTO.reshape(-1, 3), space)
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 100, 0.1)
    cv2.setRNGSeed(0)
    theirs, _, _ = cv2.kmeans(points, k, np.empty(0), criteria, 5, cv2.KMEANS_PP_CENTERS)
    ours = kmeans(PHOTO, k, color=space)
    assert ours.inertia <= 1.002 * theirs


@pytest.mark.parametrize("k", [2, 3, 17, 256])
def test_kmeans_labels_are_exactly_the_nearest_centre(k):
    found = kmeans(SMALL, k, attempts=1, max_iter=5)
    distances = _distances(SMALL, found.centers)
    own = np.take_along_axis(distances, found.labels[:, :, None].astype(np.intp), 2)[:, :, 0]
    # Where two centres are as near, either is right; that far, sums of squares round.
    np.testing.assert_allclose(own, distances.min(axis=2), rtol=0, atol=1e-8)
    assert found.inertia == pytest.approx(distances.min(axis=2).sum(), rel=1e-9)
    assert found.labels.dtype == np.int32
    np.testing.assert_array_equal(found.counts, np.bincount(found.labels.ravel(), minlength=k))


def test_kmeans_of_a_large_image_is_exact_too():
    noise = np.random.default_rng(0).normal(0, 6, (1200, 1800, 3))
    large = cv2.resize(PHOTO, (1800, 1200), interpolation=cv2.INTER_CUBIC) + noise
    large = np.clip(large, 0, 255).astype(np.uint8)
    found = kmeans(large, 3, max_iter=20, epsilon=0.2)
    nearest = _distances(large, found.centers)
    np.testing.assert_array_equal(found.labels, nearest.argmin(axis=2))
    assert found.inertia == pytest.approx(nearest.min(axis=2).sum(), rel=1e-9)
    np.testing.assert_array_equal(found.counts, np.bincount(found.labels.ravel()))
    np.testing.assert_allclose(found.colors[1], large[found.labels == 1].mean(axis=0), rtol=1e-5)
    # The sixteenth cluster is the last that is found by way of cells, the seventeenth is not.
    sixteen, seventeen = kmeans(large, 16, attempts=2), kmeans(large, 17, attempts=2)
    assert seventeen.inertia < 1.02 * sixteen.inertia < 1.2 * seventeen.inertia
    few = kmeans(np.repeat(np.arange(3, dtype=np.uint8) * 99, 400_000).reshape(1000, 1200), 8)
    np.testing.assert_array_equal(found_levels := few.centers[:, 0], [0, 99, 198])
    assert found_levels.dtype == np.float32 and few.inertia == 0


@pytest.mark.parametrize("iterations", [1, 4], ids=f"{{}} iterations, {SCIPY}".format)
def test_lloyd_takes_the_same_steps(iterations):
    points = SMALL.reshape(-1, 3).astype(np.float64)
    start = points[[10, 2000, 9000, 12000]]
    expected, _ = vq.kmeans2(points, start, iterations, minit="matrix")
    weights = np.ones(len(points))
    found = lloyd(
        lambda: [(points[:5000], weights[:5000]), (points[5000:], weights[5000:])],
        start,
        iterations,
    )
    np.testing.assert_allclose(found, expected, atol=0.02)  # scores are float32 on the way


def test_lloyd_rescues_a_centre_that_nothing_is_near():
    points = np.array([[0.0], [1.0], [100.0], [101.0], [1000.0]])
    centers = lloyd(lambda: [(points, np.ones(5))], np.array([[0.0], [90.0], [1e6]]), 10)
    np.testing.assert_allclose(np.sort(centers.ravel()), [0.5, 100.5, 1000])


def test_starts_are_distinct_points_and_no_more_than_there_are():
    points = np.array([[0.0, 0], [5, 5], [9, 1]])
    starts = spread_starts(np.repeat(points, 20, axis=0), np.ones(60), 8, np.random.default_rng(0))
    np.testing.assert_array_equal(np.unique(starts, axis=0), np.unique(points, axis=0))
    assert len(starts) == 3


def test_kmeans_finds_flat_colours_and_orders_them_dark_to_bright():
    colors = np.array([[250, 250, 240], [10, 20, 30], [200, 30, 40], [40, 160, 60]], np.uint8)
    truth = np.random.default_rng(0).integers(0, 4, (50, 60))
    found = kmeans(colors[truth], 4)
    np.testing.assert_array_equal(found.centers, colors[[1, 2, 3, 0]])
    np.testing.assert_array_equal(found.colors, found.centers)
    np.testing.assert_array_equal(found.labels, np.array([3, 0, 1, 2])[truth])
    assert found.inertia == 0 and found.positions is None
    assert (np.diff(found.colors @ np.array(LUMA)) > 0).all()


def test_kmeans_gives_fewer_clusters_than_asked_where_there_are_fewer_colours():
    found = kmeans(np.full((9, 7, 3), 99, np.uint8), 5)
    np.testing.assert_array_equal(found.labels, 0)
    np.testing.assert_array_equal(found.centers, [[99, 99, 99]])


def test_kmeans_is_seeded():
    first, again = kmeans(PHOTO, 6, seed=3), kmeans(PHOTO, 6, seed=3)
    np.testing.assert_array_equal(first.labels, again.labels)
    np.testing.assert_array_equal(first.centers, again.centers)


def test_kmeans_hue_has_no_seam():
    """Reds on both sides of hue 0 are one cluster, against blue."""
    hues = np.array([[350, 5, 358, 2, 240, 236, 244, 241]], np.float32)
    hsv = np.stack([hues, np.full_like(hues, 0.9), np.full_like(hues, 0.8)], axis=2)
    rgb = np.rint(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * 255).astype(np.uint8)
    found = kmeans(rgb, 2, color="hsv")
    first = found.labels[0, 0]
    np.testing.assert_array_equal(found.labels[0] == first, [True] * 4 + [False] * 4)
    red = found.centers[first]
    assert min(red[0], 360 - red[0]) < 5 and red[1] == pytest.approx(0.9, abs=0.02)


def test_kmeans_position_parts_what_colour_does_not():
    flat = np.full((40, 80, 3), 128, np.uint8)
    found = kmeans(flat, 2, position=1.0)
    assert found.positions is not None and found.positions.shape == (2, 2)
    np.testing.assert_allclose(np.sort(found.positions[:, 0]), [19.5, 59.5], atol=0.5)
    np.testing.assert_allclose(found.positions[:, 1], 19.5, atol=0.5)
    assert len(np.unique(found.labels[:, :38])) == len(np.unique(found.labels[:, 42:])) == 1
    np.testing.assert_allclose(found.centers, 128)


@pytest.mark.parametrize("space", ["rgb", "lab", "hsv"])
def test_kmeans_by_pixels_equals_by_colours(space):
    """A position weight of next to nothing takes the other road to the same clusters."""
    colors = kmeans(SMALL, 3, color=space, epsilon=0, attempts=3)
    pixels = kmeans(SMALL, 3, color=space, epsilon=0, attempts=3, position=1e-7)
    # There are several fixed points within a millionth of the least inertia.
    assert colors.inertia == pytest.approx(pixels.inertia, rel=1e-5)
    assert (colors.labels == pixels.labels).mean() > 0.99
    np.testing.assert_allclose(colors.centers, pixels.centers, atol=0.5)
    np.testing.assert_allclose(colors.colors, pixels.colors, atol=0.5)


def test_kmeans_of_other_depths_answers_in_their_unit():
    eight = kmeans(SMALL, 3, epsilon=0, attempts=3)
    sixteen = kmeans(SMALL.astype(np.uint16) * 257, 3, epsilon=0, attempts=3)
    floats = kmeans(SMALL / np.float32(255), 3, epsilon=0, attempts=3)
    grey = kmeans(SMALL[:, :, 0], 3)
    assert (eight.labels == sixteen.labels).mean() > 0.999
    assert (eight.labels == floats.labels).mean() > 0.999
    np.testing.assert_allclose(sixteen.centers, eight.centers * 257, rtol=2e-3)
    np.testing.assert_allclose(floats.centers, eight.centers / 255, rtol=2e-3)
    np.testing.assert_allclose(floats.colors, eight.colors, rtol=2e-3)
    assert grey.centers.shape == (3, 3)


def test_kmeans_clusters_all_bands():
    bands = np.zeros((20, 30, 5), np.float32)
    bands[:, 15:, 4] = 1  # only the last band tells them apart
    found = kmeans(bands, 2)
    np.testing.assert_array_equal(found.labels != found.labels[0, 0], bands[:, :, 4] == 1)
    assert found.centers.shape == (2, 5)
    with pytest.raises(ParameterError, match="5 bands"):
        kmeans(bands, 2, color="lab")


@pytest.mark.parametrize(
    ("pixels", "k", "message"),
    [
        (SMALL, 1, "k must be 2 to 256"),
        (SMALL, 257, "k must be 2 to 256"),
        (SMALL.astype(np.int64), 3, "int64"),
        (SMALL[0, 0], 3, "shape"),
        (np.full((4, 4), np.nan), 2, "NaN"),
    ],
)
def test_kmeans_refuses(pixels, k, message):
    with pytest.raises(ParameterError, match=message):
        kmeans(pixels, k)


# Mean shift


def test_mean_shift_filters_as_opencv_does():
    found = mean_shift(SMALL, 6, 18, levels=1)
    expected = cv2.pyrMeanShiftFiltering(SMALL, 6, 18, maxLevel=1)
    np.testing.assert_array_equal(found.filtered, expected)


def test_mean_shift_regions_are_connected_large_and_numbered():
    found = mean_shift(SMALL, min_size=30)
    assert found.counts.min() >= 30
    np.testing.assert_array_equal(found.counts, np.bincount(found.labels.ravel()))
    _, first = np.unique(found.labels, return_index=True)
    assert (np.diff(first) > 0).all()
    for region in range(len(found.counts)):
        inside = found.labels == region
        assert cv2.connectedComponents(inside.astype(np.uint8), connectivity=4)[0] == 2
        np.testing.assert_allclose(found.colors[region], SMALL[inside].mean(axis=0), rtol=1e-5)


def test_mean_shift_parts_noisy_flat_areas():
    truth = np.zeros((60, 80), int)
    truth[10:50, 20:40] = 1
    truth[20:30, 50:75] = 2
    colors = np.array([[40, 60, 90], [200, 180, 60], [90, 200, 120]])
    noise = np.random.default_rng(0).normal(0, 4, (60, 80, 3))
    image = np.clip(colors[truth] + noise, 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(mean_shift(image).labels, truth)


def test_mean_shift_joins_specks_to_the_neighbour_of_nearest_colour():
    image = np.zeros((30, 40, 3), np.uint8)
    image[:, 20:] = 200
    image[10:13, 18:20] = 150  # touches both sides, and is nearer to the bright one
    found = mean_shift(image, 1, 1, levels=0, min_size=20)
    np.testing.assert_array_equal(found.labels, image[:, :, 0] > 100)
    assert len(mean_shift(image, 1, 1, levels=0, min_size=1).counts) == 3


# Gaussian mixtures


def test_log_joint_is_weight_times_density():
    mixture = Mixture(
        np.array([0.3, 0.7]),
        np.array([[1.0, 2.0], [4.0, -1.0]]),
        np.array([[[2.0, 0.5], [0.5, 1.0]], [[0.3, 0.0], [0.0, 4.0]]]),
    )
    points = np.random.default_rng(0).normal(size=(50, 2)) * 3
    expected = np.stack(
        [
            np.log(weight) + stats.multivariate_normal(mean, covariance).logpdf(points)
            for weight, mean, covariance in zip(
                mixture.weights, mixture.means, mixture.covariances, strict=True
            )
        ],
        axis=1,
    )
    np.testing.assert_allclose(mixture.log_joint(points), expected, rtol=1e-10)


def test_one_component_is_the_closed_form():
    points = to_space(SMALL.reshape(-1, 3), "rgb")
    weights = np.random.default_rng(0).random(len(points))
    mixture = fit_mixture(points, weights, points[:1], floor=0.5)
    np.testing.assert_allclose(mixture.means[0], np.average(points, axis=0, weights=weights))
    expected = np.cov(points.T.astype(np.float64), aweights=weights, ddof=0) + 0.5 * np.eye(3)
    np.testing.assert_allclose(mixture.covariances[0], expected)


def test_mixture_recovers_what_the_points_were_drawn_from():
    rng = np.random.default_rng(0)
    weights = np.array([0.2, 0.5, 0.3])
    means = np.array([[30.0, 40, 200], [120, 110, 100], [150, 200, 90]])
    roots = np.array([np.diag([5.0, 6, 4]), np.diag([30.0, 8, 12]), np.diag([6.0, 9, 20])])
    roots[1][1, 0] = 12  # correlated
    which = rng.choice(3, size=30_000, p=weights)
    points = means[which] + np.einsum("nij,nj->ni", roots[which], rng.normal(size=(30_000, 3)))
    start = means + rng.normal(0, 15, means.shape)
    found = fit_mixture(points, np.ones(len(points)), start, tolerance=1e-7, floor=1e-6)
    np.testing.assert_allclose(found.weights, weights, atol=0.015)
    np.testing.assert_allclose(found.means, means, atol=1.0)
    expected = roots @ roots.transpose(0, 2, 1)
    np.testing.assert_allclose(found.covariances, expected, rtol=0.08, atol=4)
    assert (np.argmax(found.log_joint(points), axis=1) == which).mean() > 0.98


def test_likelihood_never_falls():
    points = to_space(SMALL.reshape(-1, 3), "rgb")
    start = points[[5, 4000, 9000, 14000]]
    found = fit_mixture(points, np.ones(len(points)), start, max_iter=60, tolerance=0, floor=1e-3)
    gains = np.diff(found.log_likelihoods)
    assert len(gains) > 5 and gains.min() > -1e-6 and gains[0] > 1e-3
    top = found.log_joint(points.astype(np.float64))
    assert found.log_likelihoods[-1] == pytest.approx(np.logaddexp.reduce(top, axis=1).mean())


def test_weights_count_as_repeats():
    points = np.random.default_rng(0).normal(size=(40, 2)) * 20
    repeats = np.random.default_rng(1).integers(1, 6, 40)
    start = points[:2]
    once = fit_mixture(points, repeats.astype(float), start)
    spelled = fit_mixture(np.repeat(points, repeats, axis=0), np.ones(repeats.sum()), start)
    np.testing.assert_allclose(once.means, spelled.means)
    np.testing.assert_allclose(once.covariances, spelled.covariances)


def test_gmm_parts_by_extent_where_kmeans_cannot():
    """A narrow cluster beside a wide one: the border belongs nearer to the narrow one."""
    rng = np.random.default_rng(0)
    truth = rng.random((120, 120)) < 0.3
    grey = np.where(truth, rng.normal(60, 2, truth.shape), rng.normal(130, 28, truth.shape))
    image = np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)
    right = (gmm(image, 2).labels == ~truth).mean()
    assert right > 0.98
    assert right > (kmeans(image, 2).labels == ~truth).mean() + 0.03


@pytest.mark.parametrize("space", ["rgb", "lab", "hsv"])
def test_gmm_labels_are_the_likeliest_component(space):
    found = gmm(SMALL, 3, color=space, max_iter=10)
    joint = found.mixture.log_joint(to_space(SMALL.reshape(-1, 3), space).astype(np.float64))
    np.testing.assert_array_equal(found.labels.ravel(), np.argmax(joint, axis=1))
    np.testing.assert_array_equal(found.counts, np.bincount(found.labels.ravel(), minlength=3))
    assert found.mixture.weights.sum() == pytest.approx(1)
    np.testing.assert_array_equal(found.labels, gmm(SMALL, 3, color=space, max_iter=10).labels)


# Methods


@pytest.mark.parametrize("method", [KMeans, MeanShift, GaussianMixture])
@pytest.mark.parametrize("shape", [(1, 1), (1, 400), (400, 1), (2, 2), (33, 21)])
def test_methods_answer_in_one_type_at_any_size(method, shape):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    result = method.from_params({})(read_image(image))
    assert isinstance(result, RegionResult) and result.size == shape
    assert isinstance(result.to_json(), str)


def test_kmeans_method_reports_what_it_found():
    result = KMeans.from_params({"k": 4, "color": "lab", "position": 0.2})(read_image(SMALL))
    assert result.classes == ("cluster 0", "cluster 1", "cluster 2", "cluster 3")
    assert result.values["centers"].shape == (4, 3) and result.values["positions"].shape == (4, 2)
    assert result.values["inertia"] > 0


def test_methods_take_other_depths_and_bands():
    small = np.ascontiguousarray(SMALL[::2, ::2])
    for array in (small[:, :, 0], small.astype(np.uint16) * 257, np.dstack([small, small])):
        for method in (KMeans, MeanShift, GaussianMixture):
            assert method.from_params({})(read_image(array)).size == small.shape[:2]
    six = KMeans.from_params({})(read_image(np.dstack([small, small])))
    assert six.values["centers"].shape == (3, 6)


@pytest.mark.parametrize(
    ("method", "params", "message"),
    [
        (KMeans, {"k": 0}, "k=0: input should be greater than or equal to 2"),
        (KMeans, {"k": 500}, "less than or equal to 256"),
        (KMeans, {"color": "cmyk"}, "color"),
        (KMeans, {"clusters": 3}, "no parameter 'clusters'"),
        (MeanShift, {"color_radius": 0}, "greater than or equal to 1"),
        (GaussianMixture, {"floor": 0}, "greater than 0"),
    ],
)
def test_wrong_parameters_are_named(method, params, message):
    with pytest.raises(ParameterError, match=message):
        method.from_params(params)
