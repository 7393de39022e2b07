"""Distances between sets beside torchmetrics (Frechet, kernel) and the authors' prdc, on equal random features."""

import numpy as np
import pytest
import torch
from torch import nn

from unnoise import evaluation

fid = pytest.importorskip("torchmetrics.image.fid")
kid = pytest.importorskip("torchmetrics.image.kid")
prdc = pytest.importorskip("prdc")
pytestmark = pytest.mark.parity


def features(count, width, seed, shift=0.0, scale=1.0):
    return np.random.default_rng(seed).standard_normal((count, width)) * scale + shift


CASES = [  # (real, made): more and fewer features than pictures, near and far, unequal counts
    (features(400, 16, 0), features(400, 16, 1, 0.2, 1.1)),
    (features(300, 64, 2), features(500, 64, 3, 0.05, 0.9)),
    (features(120, 8, 4, 5.0, 0.1), features(90, 8, 5, 5.1, 0.1)),
]
IDS = ["near", "wide", "far from the origin"]


class Given(nn.Module):
    """An encoder whose pictures are their own features."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_features = width

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return rows


@pytest.mark.parametrize(("real", "made"), CASES, ids=IDS)
def test_frechet_is_torchmetrics(real, made):
    metric = fid.FrechetInceptionDistance(feature=Given(real.shape[1]))
    metric.set_dtype(torch.float64)
    for rows, is_real in ((real, True), (made, False)):
        metric.update(torch.from_numpy(rows), real=is_real)
    assert evaluation.frechet(real, made) == pytest.approx(float(metric.compute()), rel=1e-6)


@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance` will save:UserWarning")
@pytest.mark.parametrize(("real", "made"), CASES, ids=IDS)
def test_the_kernel_distance_is_torchmetrics(real, made):
    count = min(len(real), len(made))  # torchmetrics draws subsets of one size: here everything, once
    real, made = real[:count], made[:count]
    metric = kid.KernelInceptionDistance(feature=Given(real.shape[1]), subsets=1, subset_size=count)
    metric.set_dtype(torch.float64)
    for rows, is_real in ((real, True), (made, False)):
        metric.update(torch.from_numpy(rows), real=is_real)
    mean, _ = metric.compute()
    assert evaluation.kernel(real, made) == pytest.approx(float(mean), rel=1e-6)


@pytest.mark.parametrize("neighbours", [3, 5])
@pytest.mark.parametrize(("real", "made"), CASES, ids=IDS)
def test_precision_recall_density_and_coverage_are_the_authors(real, made, neighbours, capsys):
    wanted = prdc.compute_prdc(real_features=real, fake_features=made, nearest_k=neighbours)
    assert "Num real" in capsys.readouterr().out  # it talks
    found = evaluation.manifold(real, made, neighbours)
    for name in ("precision", "recall", "density", "coverage"):
        assert getattr(found, name) == pytest.approx(float(wanted[name]), rel=1e-6), name
