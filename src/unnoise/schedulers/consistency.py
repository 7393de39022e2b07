"""What a consistency model predicts: the clean sample, exactly x itself at the lowest level."""

from __future__ import annotations

from dataclasses import dataclass

from unnoise.limits import Amount, Positive
from unnoise.process import Level, Prediction
from unnoise.process.level import Factor
from unnoise.process.prediction import Pair, inverse


@dataclass(frozen=True)
class Consistency(Prediction):
    """x_0 = c_skip u + c_out F with u = x / alpha, w = sigma / alpha (Song et al. 2023, eq. 5 and appendix C).

    c_skip = d^2 / ((w - w_min)^2 + d^2), c_out = d (w - w_min) / sqrt(w^2 + d^2); the network sees u / sqrt(w^2 + d^2).
    Sample with Adams(1), noise=Renoise() and few levels. Trigonometric flow (SCM) needs no such class: it is
    velocity prediction on Cosine(), told the angle.
    """

    sigma_data: Positive = 0.5
    sigma_min: Amount = 0.002
    name = "consistency"
    needs_signal = True

    def _parts(self, a: Factor, s: Factor) -> Pair:
        w, d = s / a, self.sigma_data
        above = w - self.sigma_min
        return d**2 / (above**2 + d**2), d * above / (w**2 + d**2) ** 0.5

    def of_target(self, a: Factor, s: Factor) -> Pair:
        """F = ((1 - c_skip) x_0 - c_skip w eps) / c_out; 0 at the lowest level, where F does not matter."""
        skip, out = self._parts(a, s)
        return (1.0 - skip) * inverse(out), -skip * (s / a) * inverse(out)

    def of_sample(self, a: Factor, s: Factor) -> Pair:
        """x_0 = c_skip / a x + c_out F."""
        skip, out = self._parts(a, s)
        return skip / a, out

    def of_noise(self, a: Factor, s: Factor) -> Pair:
        """Eps = (1 - c_skip) / s x - a c_out / s F; 0 where s is 0."""
        skip, out = self._parts(a, s)
        return (1.0 - skip) * inverse(s), -a * out * inverse(s)

    def input_scale(self, level: Level) -> Factor:
        """1 / (a sqrt(w^2 + d^2))."""
        a, s = level.alpha, level.sigma
        return (s**2 + (a * self.sigma_data) ** 2) ** -0.5
