"""Does a score rise steadily with one share, saturate, or peak? Shapes tested against each other and against noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eval.response.replicates import Noise, Runs
from eval.response.shapes import VERDICTS, Contrasts, Shape, Verdict
from eval.stats.margins import Floats, Interval, require_fraction, t_quantile
from presight.errors import PresightError, nearest

__all__ = ["Response", "Shape", "Verdict", "respond"]

REPEATS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
_SIMULATED = 400


@dataclass(frozen=True, slots=True)
class Response:
    """How a score responds to one share, the others held fixed.

    Attributes:
        name: of the share.
        low, high: its range.
        verdict: peaked: it turns. Else progressive: it still changes over the upper half of the range, the same way
            as before. Else saturating: it changes over the lower half, bends, and over the upper half no change is
            established. Else not resolvable.
        early, late: slope over the lower and the upper half of the range, in units of the score for a whole share.
        p_change: of no response at all.
        p_bend: of a straight line, against saturating and quadratic shapes at once.
        p_peak: of a response that does not turn.
        shapes: linear, saturating, quadratic.
        noise: standard deviation of a run, root mean square over mixtures, and its source in words.
        more_runs: about how many further runs would give a verdict four times in five, were the best fitting shape
            the truth and were every mixture repeated alike; None where the verdict is given, or `REPEATS` do not do.
        level: of the intervals and tests.
    """

    name: str
    low: float
    high: float
    verdict: Verdict
    early: Interval
    late: Interval
    p_change: float
    p_bend: float
    p_peak: float
    shapes: tuple[Shape, Shape, Shape]
    noise: tuple[float, str]
    more_runs: int | None
    level: float

    def sentence(self) -> str:
        """The verdict in words, with the slopes it rests on, ten points of share at a time."""
        early, late = (
            f"{each.estimate / 10:+.2f} [{each.low / 10:+.2f}, {each.high / 10:+.2f}]"
            for each in (self.early, self.late)
        )
        middle = 50 * (self.low + self.high)
        basis = f"per 10 points of share {early} below {middle:g} % and {late} above"
        if self.verdict == "not resolvable":
            more = (
                f"about {self.more_runs} more runs would tell" if self.more_runs else "more repeats would hardly tell"
            )
            return f"{self.name}: not resolvable ({basis}); {more}."
        return f"{self.name}: {self.verdict} ({basis}; p of a straight line {self.p_bend:.2g})."


def respond(
    runs: Runs,
    along: str | None = None,
    *,
    equal_noise: bool = False,
    level: float = 0.95,
    seed: int = 0,
    more: bool = True,
) -> Response:
    """Test the shape of the response along one share.

    Mixtures alike in all other shares form a block with a level of its own; the shape is common to the blocks.
    A line that is not rejected is no proof of a line, nor is a fitted parabola that turns proof of a peak (it turns
    under saturation too). So the verdict rests on what is established:

    * *change*: the largest contrast of any shape against none; *bend*: that of saturating shapes at ten rates and of
      a parabola against a line. Both are multiple contrast tests whose law is simulated (Bretz, Pinheiro & Branson,
      2005), since the rate means nothing under a line and an F test would not hold.
    * *early* and *late* slope: lines fitted to either half of the range, whatever the shape.
    * *peak*: a slope below and one above some inner value of the share that are both established, with opposite signs
      (Simonsohn, 2018), corrected for the choice of the value. A bend alone never makes one.
    * saturating also needs its shape to fit no worse than a parabola of as many parameters.

    Noise is what was given with the runs, else from repeats, else the parabola's residuals. From repeats it may differ
    by mixture: degrees of freedom are then Satterthwaite's, and no weights are made of it, since weights out of two or
    three repeats do more harm than good. Five shares × three seeds, 4,000 simulations: slopes at 0.95 covered 0.94 to
    0.97 whether noise was equal or ten times as large at one mixture, pooled noise 0.95 if equal, else down to 0.73.

    Args:
        runs: with at least three values of the share, two in either half of its range (the middle counts for both).
        along: the share; may be left out if there is one.
        equal_noise: pool the repeats of all mixtures; better with few, wrong where noise differs.
        level: of intervals and tests.
        seed: of the simulations.
        more: where nothing is resolved, simulate how many more runs would.

    Raises:
        PresightError: an unknown share, too few values of it, neither noise, repeats nor residuals, or none but of
            nought: all runs score alike, or repeats agree exactly.
    """
    require_fraction("level", level)
    name = runs.names[0] if along is None and len(runs.names) == 1 else along
    if name not in runs.names:
        raise PresightError("along", f"{along!r} is no share", nearest(str(along), runs.names))
    runs.require_noise()
    place = runs.names.index(name)
    design = Contrasts.of(runs, place, runs.weights)
    noise = Noise.repeated(runs, equal_noise)
    z = np.sqrt(runs.weights) * runs.means
    apart = noise is not None
    if noise is None:
        df = len(z) - design.blocks - 2
        if df < 1:
            raise PresightError("runs", f"{len(z)} mixtures leave no residual to see the noise by", "repeat some")
        noise = Noise.residual(len(z), float(design.misfits(z[None])[2][0]) / df, df)
    runs.require_noise(noise)
    rng = np.random.default_rng(seed)
    found = design.judge(z[None], noise, noise.variance[None], 1 - level, rng)
    verdict = VERDICTS[int(found["verdict"][0])]
    intervals = []
    for slope in (design.early, design.late):
        sd, df_slope = noise.spread(slope)
        half = t_quantile(float(df_slope), 1 - level) * float(sd)
        value = float(slope @ z)
        intervals.append(
            Interval(value, value - half, value + half, level, f"contrast of means, noise of {noise.source}")
        )
    shapes = design.shapes(z, noise if apart else None)
    wanted = None
    if more and verdict == "not resolvable":
        wanted = _more_runs(runs, place, design.fitted(z) / np.sqrt(runs.weights), noise, equal_noise, level, rng)
    p_change, p_bend, p_peak = (float(found[f"p_{each}"][0]) for each in ("change", "bend", "peak"))
    return Response(
        name,
        design.low,
        design.high,
        verdict,
        intervals[0],
        intervals[1],
        p_change,
        p_bend,
        p_peak,
        shapes,
        (noise.of_run(runs), noise.source),
        wanted,
        level,
    )


def _more_runs(
    runs: Runs, place: int, truth: Floats, noise: Noise, equal: bool, level: float, rng: np.random.Generator
) -> int | None:
    """Runs to add, as many at every mixture, until a verdict is given four times in five; `truth` is of means [m]."""
    m = len(truth)
    for more in REPEATS:
        counts = runs.counts + more
        weights = runs.weights * counts / runs.counts
        if runs.known:
            then = noise
        elif equal:
            then = Noise(np.zeros(m, int), noise.run_variance[:1], np.array([counts.sum() - m]), "")
        else:
            then = Noise(np.arange(m), noise.run_variance, (counts - 1).astype(np.float64), "")
        z = np.sqrt(weights) * truth + rng.standard_normal((_SIMULATED, m)) * np.sqrt(noise.run_variance)
        found = Contrasts.of(runs, place, weights).judge(z, then, then.redrawn(_SIMULATED, rng), 1 - level, rng)
        if (found["verdict"] < 3).mean() >= 0.8:
            return more * m
    return None
