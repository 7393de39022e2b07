"""Between which two levels a bound is taken: any two make one, so those that lose least are chosen."""

from __future__ import annotations

from unnoise.process import Level, NoiseSchedule

_LOWEST = -24.0  # log-SNR below which the noised data differ from the prior by less than 1e-10 nats
_SURE = 4.0  # deviations from a grey level to the edge of its bin at which there is nothing left to learn


def ends(schedule: NoiseSchedule, bins: int | None = None) -> tuple[Level, Level]:
    """The cleanest and the noisiest level of a bound.

    The schedule's own, but for two things. A level without signal is left for the nearest with some: the prior term
    pays for what lies beyond. And where the decoder knows the grey level, one of `bins` in [-1, 1], for certain at a
    noisier level than the cleanest, it takes over there.
    """
    cleanest, noisiest = schedule.cleanest, schedule.noisiest
    if float(noisiest.log_snr) < _LOWEST:
        noisiest = schedule.at_log_snr(_LOWEST)
    if bins is not None and (ratio := 1.0 / ((bins - 1) * _SURE)) > float(cleanest.ratio):
        cleanest = schedule.at_ratio(ratio)
    return cleanest, noisiest
