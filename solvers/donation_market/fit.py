"""What creators prefer, inferred from what they are seen to serve; what viewers donate, from gifts;
and what that leaves open.

Belongs here: the inverse of the donation market (sections VII-B and VII-C of Tang and Huang) and
the regression behind equation 3. Does not: the market itself (`solvers.donation_market`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from solvers.arrays import Floats, Ints, Mask
from solvers.donation_market.equilibrium import Donation, PowerDonation
from solvers.donation_market.mechanism import (
    DonationMarket,
    best_splits,
    total_donations,
)

TWITCH_DONATION = PowerDonation(math.exp(-1.17), 0.6)
"""Equation 3's own numbers, for a platform that has no gifts to learn from yet."""
_STEP = 1e-5
_WAVES = np.array(
    [
        (r * math.cos(t), r * math.sin(t), 1.0)
        for r in (0.2, 0.6)
        for t in 2 * np.pi * np.arange(6) / 6
    ]
)
"""Preferences to start from as well, in units of their mean: waves of two heights in six
phases.
"""
_ROUGH = 1e-4
"""Gap at which starts are compared."""
_WIDE, _NARROW = (0.03, 1e-4, 1e-8), (_STEP, 1e-8, 1e-14)
"""Steps of differences, in units of the level; the part of the squares below which a gain is none;
and the gap of the equilibria. The equilibrium has kinks as creators stop choosing a place: along a
tangent the search gets stuck in one of many small valleys, along a secant over three percent it
passes over them.
"""
_MOST_STEPS = 30
_NUDGE = 1e-2
_BLIND = 1e-5
"""Slopes this part of the largest are those of rounding in a difference of equilibria over 2 _STEP:
nothing is seen along them.
"""
_EXACT = 1e-6
"""A fit this much of the mean observation off is exact: below it the errors are the solver's, and
say nothing.
"""
_LIKELY = -2 * math.log(0.05)
"""95 % quantile of chi squared with two degrees of freedom."""


def sine_preferences(coefficients: npt.ArrayLike, locations: int) -> Floats:
    """S(l) = c1 sin(2 pi l / L + c2) + c3, at least 0, for coefficients (..., 3); (..., L).

    Section VII-B prints sin(2 pi l + c2), which is the same at every l.

    Examples
    --------
    >>> sine_preferences([2, 0, 3], 4).round(6).tolist()
    [3.0, 5.0, 3.0, 1.0]
    """
    c = np.asarray(coefficients, dtype=np.float64)[..., None, :]
    angle = 2 * np.pi * np.arange(locations) / locations
    return np.maximum(c[..., 0] * np.sin(angle + c[..., 1]) + c[..., 2], 0.0)


@dataclass(frozen=True, eq=False)
class PreferenceFit:
    """Preferences fitted for every pair of an opportunity cost V and a deviation cost W, and what
    the pairs have in common.

    Attributes
    ----------
    opportunity_costs, deviation_costs : (v,), (w,): the pairs tried
    rmse : (v, w), equation 28
    coefficients : (v, w, 3), c1 >= 0, 0 <= c2 < 2 pi, c3
    errors : (v, w, 3), standard errors given the pair; infinite where the observation says nothing
        about a coefficient
    everyone_serves : (v, w), whether all fitted creators take part: then V leaves no trace in what
        is observed
    plausible : (v, w), pairs within the 95 % likelihood region of the best one (normal errors): the
        data do not tell them apart
    best : indices of the pair that fits best
    best_alpha : (v, w), the platform's best split; NaN for pairs that are not plausible
    gain : (v, w), platform payoff there over that under the present split, minus 1; NaN likewise
    """

    opportunity_costs: Floats
    deviation_costs: Floats
    rmse: Floats
    coefficients: Floats
    errors: Floats
    everyone_serves: Mask
    plausible: Mask
    best: tuple[int, int]
    best_alpha: Floats
    gain: Floats

    @property
    def alpha_range(self) -> tuple[float, float]:
        """The least and the largest best split among the plausible pairs."""
        return float(np.nanmin(self.best_alpha)), float(np.nanmax(self.best_alpha))

    @property
    def identified(self) -> dict[str, bool]:
        """Whether the data single out one of several costs tried, and all coefficients of the
        preferences at the best pair.
        """
        tried = {
            "opportunity_cost": (self.opportunity_costs, 1),
            "deviation_cost": (self.deviation_costs, 0),
        }
        costs = {
            name: bool(values.size > 1 and self.plausible.any(axis=axis).sum() == 1)
            for name, (values, axis) in tried.items()
        }
        return costs | {"preferences": bool(np.isfinite(self.errors[self.best]).all())}

    @property
    def next_to_plausible(self) -> Mask:
        """(v, w), pairs that are not plausible, one step from one that is: costs between the two
        are not excluded.
        """
        padded = np.pad(self.plausible, 1)
        around = padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
        return np.asarray(around & ~self.plausible)

    def interval(self, confidence: float = 0.95) -> Floats:
        """(3, 2): the coefficients of all plausible pairs with their errors, and those next to
        them; infinite where the data say nothing.

        A phase is counted from that of the best pair, so its interval may leave [0, 2 pi).
        """
        from scipy.special import ndtri

        half = np.where(
            self.plausible[..., None], float(ndtri((1 + confidence) / 2)) * self.errors, 0.0
        )
        kept = self.plausible | self.next_to_plausible
        middle, half, best = self.coefficients[kept], half[kept], self.coefficients[self.best]
        middle[:, 1] = best[1] + (middle[:, 1] - best[1] + np.pi) % (2 * np.pi) - np.pi
        return np.stack([(middle - half).min(axis=0), (middle + half).max(axis=0)], axis=1)

    def identification(self) -> str:
        """Which costs and preferences the data single out, and which not, in words."""
        costs = {
            "opportunity_cost": (self.opportunity_costs, 1),
            "deviation_cost": (self.deviation_costs, 0),
        }
        known = []
        for name, (tried, axis) in costs.items():
            alike = tried[self.plausible.any(axis=axis)]
            label = name.replace("_", " ")
            verdict = "is not identified: " + ", ".join(f"{x:g}" for x in alike) + " fit alike"
            if alike.size == 1:
                verdict = (
                    f"is nearest {alike[0]:g} of those tried"
                    if tried.size > 1
                    else f"was taken to be {alike[0]:g}"
                )
            known.append(f"the {label} {verdict}")
        if not self.identified["preferences"]:
            known.append("the preferences are not identified")
        return "; ".join(known)

    def statement(self) -> str:
        """What is known and what is not, in a sentence or two."""
        low, high = self.alpha_range
        return f"{self.identification()}. Best split: {low:.4f}" + (
            f" to {high:.4f}." if high > low else "."
        )


def fit_preferences(
    serving: npt.ArrayLike,
    viewers: npt.ArrayLike,
    *,
    alpha: float,
    window: int,
    donation: Donation,
    opportunity_costs: npt.ArrayLike,
    deviation_costs: npt.ArrayLike,
    independent: float | None = None,
) -> PreferenceFit:
    r"""Preferences whose equilibrium is closest to what creators were seen to serve, for every pair
    of costs.

    .. math:: \min_{c} \sum_l (N_l - \hat N_l(S_c))^2, \qquad S_c(l) = c_1 \sin(2 \pi l / L + c_2) +
              c_3 \ge 0

    Parameters
    ----------
    serving : (L,) creators observed at each location (counted at every location they serve), at
        least 4 locations
    viewers : (L,) viewers at each
    alpha : the present split, in (0, 1)
    window, donation : as for `DonationMarket`
    opportunity_costs, deviation_costs : the values of V and W to try
    independent : how many independent observations these L are worth, above 0; all of them unless
        given. Counts of creators who serve K locations in a row share their creators, so L / K is
        nearer: errors then grow by sqrt(K), and more pairs are plausible

    Raises
    ------
    ValueError
        an observation that is not a count; alpha outside (0, 1); `independent` not above 0; as
        `DonationMarket`

    Source: Tang and Huang, section VII, equation 28, tables II and III.
    """
    seen = np.asarray(serving, dtype=np.float64)
    if (
        seen.ndim != 1
        or seen.size < 4
        or not np.all(np.isfinite(seen) & (seen >= 0))
        or not seen.any()
    ):
        raise ValueError(
            f"serving must be at least 4 finite numbers, at least 0 and not all 0: {seen!r}"
        )
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie strictly between 0 and 1, not {alpha!r}")
    worth = seen.size if independent is None else independent
    if not 0 < worth < math.inf:
        raise ValueError(f"independent must be finite and above 0, not {independent!r}")
    v, w = (
        np.atleast_1d(np.asarray(costs, dtype=np.float64))
        for costs in (opportunity_costs, deviation_costs)
    )
    shape = (v.size, w.size)
    pairs = np.stack(np.broadcast_arrays(v[:, None], w), axis=-1).reshape(-1, 2)
    plain = DonationMarket(
        seen,
        viewers,
        window=window,
        opportunity_cost=float(v.min()),
        deviation_cost=float(w.min()),
        donation=donation,
    )
    if not np.all(np.isfinite(pairs) & (pairs >= 0)):
        raise ValueError(f"costs must be finite and at least 0, not {v!r} and {w!r}")
    curves = _Curves(plain, seen, alpha, pairs)
    ends = curves.best_ends(curves.starts())
    # a fit can end in a valley of its own; where everyone serves V leaves no trace, so what another
    # V has found is a better start
    rmse = curves.rmse(ends).reshape(shape)
    donors = (np.argmin(rmse, axis=0) * w.size + np.arange(w.size))[None].repeat(v.size, axis=0)
    others = ends[donors.ravel()]
    hopeful = np.flatnonzero(curves.rmse(others) + _EXACT * seen.mean() < rmse.ravel())
    if hopeful.size:
        again = _Curves(plain, seen, alpha, pairs[hopeful])
        found = again.best_ends(others[hopeful])
        better = again.rmse(found) < rmse.ravel()[hopeful]
        ends[hopeful[better]] = found[better]
    no_wave = np.hypot(ends[:, 0], ends[:, 1]) <= _EXACT * curves.level
    ends[no_wave, :2] = 0.0
    errors, everyone_serves = curves.certainty(ends)
    rmse, errors = curves.rmse(ends).reshape(shape), errors.reshape(*shape, 3)
    everyone = everyone_serves.reshape(shape)
    coefficients = np.stack(
        [np.hypot(ends[:, 0], ends[:, 1]), np.arctan2(ends[:, 1], ends[:, 0]), ends[:, 2]], axis=-1
    ).reshape(*shape, 3)
    coefficients[..., 1] %= 2 * np.pi

    floor = np.maximum(rmse, _EXACT * seen.mean())
    plausible = 2 * worth * np.log(floor / floor.min()) <= _LIKELY
    best = tuple(int(i) for i in np.unravel_index(np.argmin(floor), shape))
    best_alpha, gain = np.full(shape, np.nan), np.full(shape, np.nan)
    fitted = [
        DonationMarket(
            sine_preferences(coefficients[at], seen.size),
            viewers,
            window=window,
            opportunity_cost=v[at[0]],
            deviation_cost=w[at[1]],
            donation=donation,
        )
        for at in map(tuple, np.argwhere(plausible))
    ]
    alphas, payoffs = best_splits(fitted)
    today = total_donations(fitted, np.arange(len(fitted)), np.full(len(fitted), alpha))
    best_alpha[plausible], gain[plausible] = alphas, payoffs / ((1 - alpha) * today) - 1
    errors *= math.sqrt(seen.size / worth)
    return PreferenceFit(
        v, w, rmse, coefficients, errors, everyone, plausible, (best[0], best[1]), best_alpha, gain
    )


@dataclass(frozen=True, eq=False)
class _Curves:
    """What creators serve under preferences x = (a, b, c3), for P pairs of costs at once.

    c1 sin(. + c2) = a sin + b cos, where the problem is nearly linear. All pairs are solved
    together: an equilibrium by itself costs ten times what it costs among fifty.
    """

    plain: DonationMarket
    seen: Floats
    alpha: float
    pairs: Floats

    @property
    def level(self) -> float:
        """Creators a place, if nobody served two."""
        return float(self.seen.mean()) / self.plain.window

    @property
    def waves(self) -> Floats:
        """(3, L): what a, b and c3 multiply."""
        angle = 2 * np.pi * np.arange(self.seen.size) / self.seen.size
        return np.stack([np.sin(angle), np.cos(angle), np.ones(self.seen.size)])

    def creators(self, x: Floats) -> Floats:
        """(..., L): preferences, nowhere nobody."""
        return np.asarray(np.maximum(x @ self.waves, 1e-9 * self.level))

    def served(self, x: Floats, which: Ints | None = None, enough: float = 1e-14) -> Floats:
        """(P, k, L) for x (P, k, 3), of the pairs `which`."""
        pairs = self.pairs if which is None else self.pairs[which]
        flat = self.creators(x).reshape(-1, self.seen.size)
        now = self.plain.equilibria(
            np.full(len(flat), self.alpha), flat, pairs.repeat(x.shape[1], axis=0), enough=enough
        )
        return now.serving.reshape(*x.shape[:2], -1)

    def rmse(self, x: Floats) -> Floats:
        """(P,): equation 28."""
        return np.asarray(np.sqrt(((self.served(x[:, None])[:, 0] - self.seen) ** 2).mean(axis=1)))

    def starts(self) -> Floats:
        """(P, 3): what was seen if nobody had moved, or whichever of _WAVES fits better: there can
        be several valleys.
        """
        seen = self.seen
        unmoved = np.append(
            np.linalg.lstsq(self.plain.serves @ self.waves[:2].T, seen - seen.mean(), rcond=1e-9)[
                0
            ],
            self.level,
        )
        tried = np.vstack([unmoved, self.level * _WAVES])
        off = self.served(np.broadcast_to(tried, (len(self.pairs), *tried.shape)), enough=_ROUGH)
        return np.asarray(tried[np.argmin(((off - seen) ** 2).sum(axis=2), axis=1)])

    def slopes(self, x: Floats, which: Ints, step: float = _STEP, enough: float = 1e-14) -> Floats:
        """(P, L, 3): change of what is served by change of x, between `step` more and less."""
        moved = step * self.level * np.eye(3)
        now = self.served(x[:, None] + np.concatenate([moved, -moved]), which, enough)
        return np.asarray((now[:, :3] - now[:, 3:]).transpose(0, 2, 1) / (2 * step * self.level))

    def best_ends(self, x: Floats) -> Floats:
        """(P, 3): from each start the least squares it leads to, with c3 at least half the level:
        by secants, then by tangents.
        """
        return self._search(self._search(x, *_WIDE), *_NARROW)

    def _search(self, x: Floats, width: float, least_gain: float, enough: float) -> Floats:
        """Levenberg and Marquardt, in step for all pairs: a pair that gains less than this part of
        its squares, or moves less than 1e-9 of the level, is done.
        """
        level, x = self.level, x.copy()
        x[:, 2] = np.maximum(x[:, 2], level / 2)
        off = self.served(x[:, None], enough=enough)[:, 0] - self.seen
        cost, damping = (off**2).sum(axis=1), np.full(len(x), 1e-3)
        slope = self.slopes(x, np.arange(len(x)), width, enough)
        open_ = np.arange(len(x))
        for _ in range(_MOST_STEPS):
            if not open_.size:
                break
            j, r = slope[open_], off[open_]
            down = -np.einsum("plk,pl->pk", j, r)
            bend = np.einsum("plk,plm->pkm", j, j)
            held = (x[open_, 2] <= level / 2) & (down[:, 2] < 0)
            down[held, 2], bend[held, 2, :], bend[held, :, 2] = 0.0, 0.0, 0.0
            size = np.maximum(bend.diagonal(axis1=1, axis2=2), 1e-12)
            bend[:, np.arange(3), np.arange(3)] = size * (1 + damping[open_, None])
            step = np.linalg.solve(bend, down[..., None])[..., 0]
            tried = x[open_] + step
            tried[:, 2] = np.maximum(tried[:, 2], level / 2)
            new_off = self.served(tried[:, None], open_, enough)[:, 0] - self.seen
            new_cost = (new_off**2).sum(axis=1)
            gained = new_cost < cost[open_]
            small = abs(step).max(axis=1) <= 1e-9 * level
            little = gained & (cost[open_] - new_cost <= least_gain * cost[open_])
            won = open_[gained]
            x[won], off[won], cost[won] = tried[gained], new_off[gained], new_cost[gained]
            damping[open_] = np.where(gained, damping[open_] / 10, damping[open_] * 8)
            exact = cost[open_] <= (1e-3 * _EXACT * self.seen.mean()) ** 2 * self.seen.size
            stay = ~(small | little | exact)
            again = open_[gained & stay]
            if again.size:
                slope[again] = self.slopes(x[again], again, width, enough)
            open_ = open_[stay]
        return x

    def certainty(self, x: Floats) -> tuple[Floats, Mask]:
        """(P, 3) standard errors of amplitude, phase and c3, and (P,) whether everybody takes
        part.
        """
        size, level, every = self.seen.size, self.level, np.arange(len(x))
        slope = self.slopes(x, every)
        # the fit can end where one more creator would change nothing and one less would: each side
        # must tell
        nudge = _NUDGE * level * np.eye(3)
        now = self.served(x[:, None] + np.vstack([np.zeros(3), nudge, -nudge]))
        sides = now[:, 1:].reshape(len(x), 2, 3, size) - now[:, None, :1]
        seen = np.linalg.matrix_rank(sides, tol=1e-3 * _NUDGE * level * self.plain.window) == 3
        noise = np.sqrt(((now[:, 0] - self.seen) ** 2).sum(axis=1) / max(size - 3, 1))
        errors = [
            _standard_errors(slope[at], x[at, 0], x[at, 1], float(noise[at]))
            if seen[at].all()
            else np.full(3, np.inf)
            for at in every
        ]
        creators = self.creators(x)
        part = self.plain.equilibria(np.full(len(x), self.alpha), creators, self.pairs)
        return np.array(errors), part.participation > (1 - 1e-9) * creators.sum(axis=1)


def _standard_errors(slopes: Floats, a: float, b: float, noise: float = 1.0) -> Floats:
    """Standard errors of amplitude, phase and c3, from the slopes of what is served in (a, b, c3)
    and the noise in it.

    The inverse of J'J from the singular values of J: a sum of squares, which rounding cannot turn
    negative. A direction along which nothing moves makes the error of every coefficient that it
    changes infinite; without a wave there is no phase.
    """
    _, sizes, directions = np.linalg.svd(slopes, full_matrices=False)
    if sizes[0] == 0:
        return np.full(3, np.inf)
    amplitude = math.hypot(a, b)
    along = np.array([a, b]) / amplitude if amplitude > 0 else np.array([1.0, 0.0])
    turn = np.array([[along[0], along[1], 0.0], [-along[1], along[0], 0.0], [0.0, 0.0, 1.0]])
    blind = sizes <= _BLIND * sizes[0]
    moved = turn @ directions.T
    errors = noise * np.sqrt((moved[:, ~blind] ** 2 / sizes[~blind] ** 2).sum(axis=1))
    unseen = (abs(moved[:, blind]) > _BLIND * abs(moved).max(axis=1, keepdims=True)).any(axis=1)
    errors[1] = errors[1] / amplitude if amplitude > 0 else np.inf
    return np.where(unseen, np.inf, errors)


@dataclass(frozen=True, eq=False)
class DonationFit:
    """log(donation per creator) = b0 + b1 log(viewers per creator), with confidence intervals.

    `donation` is the power law it means; None where b1 is not strictly between 0 and 1 and
    assumption 1 would fail. The line goes through `mean_log_viewers` whatever its slope.
    """

    b0: float
    b1: float
    b0_interval: tuple[float, float]
    b1_interval: tuple[float, float]
    mean_log_viewers: float
    donation: PowerDonation | None


def fit_donation(
    viewers: npt.ArrayLike, donations: npt.ArrayLike, *, confidence: float = 0.95
) -> DonationFit:
    """Least squares of log donations on log viewers, one row per creator; rows without viewers or
    donations say nothing in logarithms.

    Raises
    ------
    ValueError
        fewer than three rows with both, or the same number of viewers in all of them

    Source: Tang and Huang, equation 3.

    Examples
    --------
    >>> fit = fit_donation([10, 100, 1000, 10000], [2, 8, 32, 128])
    >>> round(fit.b0, 4), round(fit.b1, 4)
    (-0.6931, 0.6021)
    """
    from scipy.special import stdtrit

    m, d = np.asarray(viewers, dtype=np.float64), np.asarray(donations, dtype=np.float64)
    if m.ndim != 1 or m.shape != d.shape:
        raise ValueError(
            f"viewers and donations must be one-dimensional, of one length: shapes {m.shape} and"
            f" {d.shape}"
        )
    both = (m > 0) & (d > 0) & np.isfinite(m) & np.isfinite(d)
    x, y = np.log(m[both]), np.log(d[both])
    if x.size < 3 or np.ptp(x) == 0:
        raise ValueError(
            f"{x.size} rows with viewers and donations, {np.unique(x).size} numbers of viewers: at"
            " least 3 and 2 are needed"
        )
    across = float(((x - x.mean()) ** 2).sum())
    b1 = float(((x - x.mean()) * (y - y.mean())).sum()) / across
    b0 = float(y.mean()) - b1 * float(x.mean())
    noise = math.sqrt(float(((y - b0 - b1 * x) ** 2).sum()) / (x.size - 2))
    wide = float(stdtrit(x.size - 2, (1 + confidence) / 2)) * noise
    half1, half0 = (
        wide / math.sqrt(across),
        wide * math.sqrt(1 / x.size + float(x.mean()) ** 2 / across),
    )
    donation = PowerDonation(math.exp(b0), b1) if 0 < b1 < 1 else None
    return DonationFit(
        b0, b1, (b0 - half0, b0 + half0), (b1 - half1, b1 + half1), float(x.mean()), donation
    )
