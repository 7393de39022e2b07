"""Distances between sets against their closed forms and the published formulas."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.linalg import sqrtm
from scipy.stats import energy_distance, wasserstein_distance

from unnoise import evaluation
from unnoise.errors import DataError, InputError, NonFiniteError
from unnoise.training import DataConfig
from unnoise.training.data import open_pictures


def drawn(count, width=6, seed=0, shift=0.0, scale=1.0):
    return np.random.default_rng(seed).standard_normal((count, width)) * scale + shift


A, B = drawn(300), drawn(260, seed=1, shift=0.3, scale=1.2)


def test_frechet_is_the_published_formula():
    S, T = np.cov(A, rowvar=False), np.cov(B, rowvar=False)
    direct = np.square(A.mean(0) - B.mean(0)).sum() + np.trace(S + T - 2 * sqrtm(S @ T).real)
    assert evaluation.frechet(A, B) == pytest.approx(direct, rel=1e-6)
    assert evaluation.frechet(A, A) == pytest.approx(0.0, abs=1e-9)


def test_frechet_of_exact_moments_is_its_closed_form():
    """Sets whitened to mean 0 and unit covariance, then moved by 2 and stretched by 3: 4 d + 4 d."""
    white = drawn(500, 5)
    white = (white - white.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(white, rowvar=False))).T
    assert evaluation.frechet(white, white * 3.0 + 2.0) == pytest.approx(5 * 4.0 + 5 * 4.0, rel=1e-9)


def test_frechet_refuses_too_few_pictures_unless_forced():
    with pytest.raises(InputError, match="5 pictures are too few for a Frechet distance of 6 features"):
        evaluation.frechet(A[:5], B)
    assert math.isfinite(evaluation.frechet(A[:5], B, force=True))


def test_the_kernel_distance_is_the_unbiased_one():
    def gram(x, y):
        return (x @ y.T / x.shape[1] + 1.0) ** 3

    m, n = len(A), len(B)
    direct = (gram(A, A).sum() - np.trace(gram(A, A))) / (m * (m - 1))
    direct += (gram(B, B).sum() - np.trace(gram(B, B))) / (n * (n - 1)) - 2 * gram(A, B).mean()
    assert evaluation.kernel(A, B) == pytest.approx(direct, rel=1e-9)
    several = [evaluation.kernel(drawn(40, 3, seed), drawn(40, 3, 1000 + seed)) for seed in range(200)]
    assert abs(np.mean(several)) < 3 * np.std(several) / math.sqrt(200)


def test_on_the_line_energy_and_transport_are_scipys():
    a, b = A[:, :1], B[:, :1]
    share = [(len(part) - 1) / len(part) for part in (a, b)]
    plain = evaluation.energy(a, b)
    # scipy keeps the pairs of an element with itself
    within = [evaluation.energy(part, np.zeros((2, 1))) - 2 * np.abs(part).mean() for part in (a, b)]
    biased = plain - sum((part_share - 1.0) * -own for part_share, own in zip(share, within, strict=True))
    assert math.sqrt(biased) == pytest.approx(energy_distance(a[:, 0], b[:, 0]), rel=1e-9)
    moved = a[:200] + 0.7
    assert evaluation.sliced_wasserstein(a[:200], moved) == pytest.approx(0.7, rel=1e-12)
    assert evaluation.sliced_wasserstein(a, b) >= wasserstein_distance(a[:, 0], b[:, 0]) - 0.01


def test_sliced_transport_of_a_shift_is_its_mean_length_over_directions():
    shift = np.array([0.3, 0.0, 0.4, 0.0, 0.0, 0.0])
    found = evaluation.sliced_wasserstein(A, A + shift, directions=20_000)
    assert found == pytest.approx(0.5 / math.sqrt(6), rel=0.02)


@pytest.mark.parametrize("k", [3, 5])
def test_manifold_measures_are_the_published_counts(k):
    def table(x, y):
        return np.sqrt(((x[:, None] - y[None]) ** 2).sum(-1))

    reach_a, reach_b = (np.sort(table(x, x), 1)[:, k] for x in (A, B))
    across = table(A, B)
    found = evaluation.manifold(A, B, k)
    assert found.precision == (across <= reach_a[:, None]).any(0).mean()
    assert found.recall == (across <= reach_b[None]).any(1).mean()
    assert found.density == pytest.approx((across <= reach_a[:, None]).sum(0).mean() / k, rel=1e-12)
    assert found.coverage == (across.min(1) <= reach_a).mean()


def test_the_nearest_training_picture_is_found_and_a_copy_is_named():
    samples = np.concatenate([B[:20], A[[7]] + 1e-4])
    found = evaluation.nearest(samples, A)
    assert found.index[-1] == 7
    assert found.copies.tolist() == [20]
    assert found.distance[-1] == pytest.approx(1e-4 * math.sqrt(6), rel=1e-3)


def test_a_copy_is_named_where_most_training_pictures_are_there_twice():
    assert evaluation.nearest(A[:2], np.repeat(A, 3, axis=0)).copies.tolist() == [0, 1]


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped"])
@pytest.mark.parametrize("ending", [".npy", ".npz"])
def test_damaged_features_are_named(tmp_path, damage, ending):
    path = tmp_path / f"features{ending}"
    np.savez(path, A) if ending == ".npz" else np.save(path, A)
    whole = path.read_bytes()
    flipped = whole[:3] + bytes(byte ^ 255 for byte in whole[3:])
    path.write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "flipped": flipped}[damage])
    with pytest.raises(DataError, match=f"cannot read the features '.*features{ending}'"):
        evaluation.read_array(path)


def test_intervals_cover_the_truth_as_often_as_they_say():
    """Energy distance of two normal laws on the line: 2 E|x - y| - E|x - x'| - E|y - y'|, all half-normal means."""

    def half_normal(mean, deviation):
        from scipy.stats import foldnorm

        return foldnorm.mean(abs(mean) / deviation, scale=deviation)

    truth = 2 * half_normal(0.5, math.sqrt(2)) - 2 * half_normal(0.0, math.sqrt(2))
    hits = 0
    for seed in range(40):
        found = evaluation.distance(drawn(60, 1, seed), drawn(60, 1, 500 + seed, 0.5), resamples=30)
        hits += found.values["energy"].low <= truth <= found.values["energy"].high
    assert hits >= 33


def test_all_distances_at_once_say_what_they_are_of():
    found = evaluation.distance(A, B, features="pixels", resamples=5)
    assert evaluation.distance(torch.from_numpy(A), B.tolist(), features="pixels", resamples=5) == found
    assert set(found.values) == {
        "frechet",
        "kernel",
        "energy",
        "sliced_wasserstein",
        "precision",
        "recall",
        "density",
        "coverage",
    }
    assert found.pictures == (300, 260)
    few = evaluation.distance(drawn(20, 30), drawn(20, 30, 1), resamples=2)
    assert "frechet" not in few.values
    assert few.notes[0] == "no Frechet distance: 20 pictures for 30 features"


def test_what_does_not_average_to_0_for_sets_of_one_source_is_told():
    """Mean of 40 pairs over its standard error, and by how much more 20 pictures lie above 0 than 80."""
    means = {}
    for count in (20, 80):
        pairs = [(drawn(count, 3, 2 * seed), drawn(count, 3, 2 * seed + 1)) for seed in range(40)]
        found = [evaluation.distance(a, b, resamples=0, force=True) for a, b in pairs]
        for name in ("frechet", "kernel", "energy", "sliced_wasserstein"):
            values = np.array([each.values[name].value for each in found])
            means[name, count] = values.mean(), values.std(ddof=1) / math.sqrt(len(values))
            told = any(
                note.startswith("above 0 for equal sets") and name.replace("_", " ") in note
                for note in found[0].notes
            )
            assert told == (means[name, count][0] > 4.0 * means[name, count][1])
            assert told or abs(means[name, count][0]) < 3.0 * means[name, count][1]
    for name in ("frechet", "sliced_wasserstein"):
        assert means[name, 20][0] > 1.5 * means[name, 80][0]


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        (A[:3], B, "at least 10 pictures"),
        (A, B[:, :2], "give pictures of one size"),
        (A[:, 0], B, "give .pictures, features."),
        ((A * 20).astype(np.uint8), B, "the first set is uint8, the second float64"),
    ],
)
def test_sets_that_cannot_be_compared_are_refused(a, b, words):
    with pytest.raises(InputError, match=words):
        evaluation.distance(a, b)


def test_features_that_are_not_finite_are_refused():
    with pytest.raises(NonFiniteError, match="the second set holds features that are not finite"):
        evaluation.distance(A, np.full_like(B, np.nan))


def test_pixels_are_bytes_or_floats_of_the_stated_range():
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    found = evaluation.pixel_features(pixels)
    np.testing.assert_allclose(evaluation.pixel_features(pixels.double() / 127.5 - 1.0), found, atol=1e-12)
    with pytest.raises(InputError, match="run from 0 to 255; give uint8, or floats from -1 to 1"):
        evaluation.pixel_features(pixels.float())
    with pytest.raises(InputError, match=r"are torch\.int64"):
        evaluation.pixel_features(pixels.long())
    with pytest.raises(InputError, match="run from nan to nan"):
        evaluation.pixel_features(torch.full((2, 1, 4, 4), torch.nan))


def test_hidden_files_and_folders_are_no_pictures(tmp_path):
    for name in ("a.png", ".ipynb_checkpoints/a-checkpoint.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (4, 4)).save(tmp_path / name)
    (tmp_path / "._a.png").write_bytes(b"\x00\x05\x16\x07")
    (tmp_path / "b.png").mkdir()
    assert evaluation.read_folder(tmp_path).paths == (tmp_path / "a.png",)


def test_pictures_behind_links_are_of_the_set_as_they_are_in_training(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "cats").mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "cats" / "a.png")
    (tmp_path / "set" / "cats").symlink_to(tmp_path / "cats")
    (tmp_path / "cats" / "back").symlink_to(tmp_path / "set")
    found = evaluation.read_folder(f"{tmp_path}/set")
    assert found.paths == (tmp_path / "set" / "cats" / "a.png",)
    assert found.paths == open_pictures(tmp_path / "set", (1, 4, 4), DataConfig()).paths


SETS = torch.arange(24.0).reshape(12, 2)
MEASURES = (
    *(evaluation.frechet, evaluation.kernel, evaluation.energy, evaluation.sliced_wasserstein),
    *(evaluation.manifold, evaluation.nearest),
)


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.__name__)
def test_every_measure_takes_sets_of_any_kind_of_number_and_refuses_what_is_none(measure):
    made = SETS + 0.5
    whole = measure(SETS.numpy(), made.numpy())
    for kind in (torch.float64, torch.bfloat16):
        again = measure(SETS.to(kind).requires_grad_(), made.to(kind))
        assert repr(again) == repr(whole)
    for bad in (None, "pictures", SETS[0], SETS[:0], SETS[:, :0], torch.zeros(12, 2, device="meta")):
        with pytest.raises(InputError, match=r"the second set (is|has shape) .*; give"):
            measure(SETS, bad)
    with pytest.raises(InputError, match="the first set has 2 features a picture, the second 1"):
        measure(SETS, made[:, :1])
    with pytest.raises(NonFiniteError, match="the first set holds features that are not finite"):
        measure(SETS * math.inf, made)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: evaluation.pixel_features(np.zeros((2, 3))), "pictures is array.*; give a Tensor"),
        (
            lambda: evaluation.pixel_features(torch.zeros(0, 3)),
            r"pictures have shape \[0, 3\]; give at least one",
        ),
        (
            lambda: evaluation.manifold(SETS, SETS, 2.5),
            "neighbours is 2.5 for 12 pictures; give a whole number",
        ),
        (lambda: evaluation.discretised_log_likelihood(SETS, SETS), "gaussian is tensor.*; give a Gaussian"),
        (lambda: evaluation.discretised_log_likelihood(1.0, None), "x is 1.0; give a Tensor"),
        (lambda: evaluation.nearest_level_log_likelihood(SETS, SETS, 0.1), "level is 0.1; give a Level"),
        (lambda: evaluation.fitted_variance(None, SETS), "diffuser is None; give a Diffuser"),
    ],
)
def test_what_cannot_be_measured_is_refused_by_its_name(make, says):
    with pytest.raises(InputError, match=says):
        make()
