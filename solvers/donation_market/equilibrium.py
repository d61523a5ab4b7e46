"""The equilibrium of creators who choose what to serve, by an interior point method, and the
donation functions it needs.

Belongs here: donation functions, the check of the document's assumption 1, the potential
maximisation for many markets at once. Does not: the market's own arithmetic (windows, costs,
payoffs by name) and the platform's choice of a split (`solvers.donation_market`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from solvers.arrays import Floats

_EPS = float(np.finfo(np.float64).eps)
_TINY = float(np.finfo(np.float64).tiny)
_GAP = 1e-14
"""Where the search stops; what rounding leaves above it is reported."""
_REFUSED_GAP = 1e-8
_MAX_STEPS = 200
_PROXIMAL = 1e-8
"""Pull of every choice towards its last value, in units of price / mass. It bounds the condition of
the linear system, and vanishes at the solution; without it the steps lose all their digits at a gap
of 1e-9.
"""
_HOLD = 0.1
"""Complementarity stays above this share of what prices and multipliers are still off by, or it
would vanish first and nothing move.
"""
_BOUNDARY, _CAUTIOUS_BOUNDARY = 0.995, 0.7
"""Share of the way to the boundary that one step takes."""
_ENOUGH = 1e-11
"""A market whose gap stays above this is solved once more, cautiously."""
_FAR = 0.1
"""Logarithm of a price over what the mass there commands, above which they are far from each other.
"""
_NEAR = 0.9
"""Price in `_participation_cap` over the break-even one; nearer 1 the cap grows as 1 / (1 - _NEAR),
nearer 0 as its power -1/b.
"""
_CHUNK = 60_000
"""Numbers in the largest array of one batch; larger ones leave the processor's cache."""


class Donation(Protocol):
    """What viewers donate at one location, D(M, n); arrays broadcast, the last axis is the
    location, so D may differ by location.

    D must be differentiable in n and satisfy assumption 1 (Tang and Huang): strictly increasing in
    M; strictly increasing and concave in n; elasticity n D' / D at most 1. `check_assumption` looks
    for a place where it does not.
    """

    def value(self, viewers: Floats, creators: Floats, /) -> Floats:
        """D(M, n), 0 at n = 0."""
        ...

    def derivative(self, viewers: Floats, creators: Floats, /) -> Floats:
        """dD/dn; at n = 0 the limit, which may be infinite."""
        ...

    def integral(self, viewers: Floats, creators: Floats, /) -> Floats:
        """Integral of D(M, z)/z from 0 to n: what the potential is made of."""
        ...


@dataclass(frozen=True)
class PowerDonation:
    """D = scale (M/n)^exponent n (equation 4): each creator receives scale (M/n)^exponent.

    Examples
    --------
    >>> PowerDonation(2.0, 0.5).value(np.array([100.0]), np.array([25.0])).tolist()
    [100.0]
    """

    scale: float
    exponent: float

    def __post_init__(self) -> None:
        if not (self.scale > 0 and np.isfinite(self.scale)):
            raise ValueError(f"scale must be positive and finite, not {self.scale!r}")
        if not 0 < self.exponent < 1:
            raise ValueError(
                f"exponent must lie strictly between 0 and 1 (assumption 1), not {self.exponent!r}"
            )

    def value(self, viewers: Floats, creators: Floats) -> Floats:
        """Scale M^b n^(1-b)."""
        return np.asarray(self.scale * viewers**self.exponent * creators ** (1 - self.exponent))

    def derivative(self, viewers: Floats, creators: Floats) -> Floats:
        """(1 - b) scale (M/n)^b."""
        share = np.divide(
            viewers,
            creators,
            out=np.where(viewers > 0, np.inf, 0.0 * (viewers + creators)),
            where=creators > 0,
        )
        return np.asarray((1 - self.exponent) * self.scale * share**self.exponent)

    def integral(self, viewers: Floats, creators: Floats) -> Floats:
        """D / (1 - b) (equation 20)."""
        return self.value(viewers, creators) / (1 - self.exponent)


@dataclass(frozen=True)
class SaturatingDonation:
    """D = M n / (a n + b): it approaches M/a however many creators serve (section IV-D has a = 4, b
    = 8).

    Examples
    --------
    >>> SaturatingDonation(4, 8).value(np.array([100.0]), np.array([2.0])).tolist()
    [12.5]
    """

    a: float
    b: float

    def __post_init__(self) -> None:
        if not (0 < self.a < np.inf and 0 < self.b < np.inf):
            raise ValueError(f"a and b must be positive and finite, not {self.a!r} and {self.b!r}")

    def value(self, viewers: Floats, creators: Floats) -> Floats:
        """M n / (a n + b)."""
        return viewers * creators / (self.a * creators + self.b)

    def derivative(self, viewers: Floats, creators: Floats) -> Floats:
        """M b / (a n + b)^2."""
        return viewers * self.b / (self.a * creators + self.b) ** 2

    def integral(self, viewers: Floats, creators: Floats) -> Floats:
        """M log(1 + a n / b) / a."""
        return viewers * np.log1p(self.a * creators / self.b) / self.a


def price(donation: Donation, viewers: Floats, creators: Floats) -> Floats:
    """U = D/n, what each creator at a location receives; its limit D'(0) where nobody serves, 0
    where nobody watches.
    """
    creators = np.broadcast_to(creators, np.broadcast_shapes(np.shape(viewers), np.shape(creators)))
    some = creators > 0
    with np.errstate(all="ignore"):
        unserved = donation.derivative(viewers, np.zeros_like(creators)) if not some.all() else 0.0
        paid = np.where(
            some, donation.value(viewers, creators) / np.where(some, creators, 1.0), unserved
        )
    return np.where(viewers > 0, paid, 0.0)


def check_assumption(donation: Donation, viewers: Floats, most: float) -> None:
    """Refuse a donation function that breaks assumption 1, or whose derivative or integral is not
    its own, naming the place.

    Looks at every location with viewers, for 46 numbers of creators from 1e-9 `most` to `most`; an
    elasticity or a slope counts as broken when it is so by more than 1e-9, a derivative or an
    integral when it is off by more than 1e-3.

    Raises
    ------
    ValueError
        which part of the assumption fails, at which location, number of viewers and number of
        creators
    """
    if most <= 0:
        return
    watched = np.flatnonzero(viewers > 0)
    m, n = np.broadcast_arrays(viewers, most * np.logspace(-9, 0, 46)[:, None])
    step = 1e-2
    value, slope = donation.value(m, n), donation.derivative(m, n)
    paid = value / n
    with np.errstate(invalid="ignore"):
        secant = (donation.value(m, n * (1 + step)) - donation.value(m, n * (1 - step))) / (
            2 * step * n
        )
        marginal = (donation.integral(m, n * (1 + step)) - donation.integral(m, n * (1 - step))) / (
            2 * step * n
        )
        rules = {
            "the donation is not a finite number above 0": ~(np.isfinite(value) & (value > 0)),
            "(i) the donation does not increase with the viewers": (
                donation.value(m * (1 + step), n) <= value
            ),
            "(ii) the donation does not increase with the creators": ~(slope > 0),
            "(ii) the donation is not concave in the creators": (
                np.diff(slope, axis=0, append=-np.inf) > 1e-9 * slope
            ),
            "(iii) the elasticity n D'/D is above 1": slope > paid * (1 + 1e-9),
            "derivative is not that of value": ~(abs(secant - slope) <= 1e-3 * paid),
            "integral is not that of value / n": ~(abs(marginal - paid) <= 1e-3 * paid),
        }
    for rule, broken in rules.items():
        where = np.argwhere(broken[:, watched])
        if where.size:
            row, column = where[0][0], watched[where[0][1]]
            raise ValueError(
                f"assumption 1 on the donation function: {rule}, at location {column}, viewers"
                f" {m[row, column]:g}, creators {n[row, column]:g}: D = {value[row, column]:g}, D'"
                f" = {slope[row, column]:g}"
            )


@dataclass(frozen=True, eq=False)
class Choices:
    """Who serves where, for B markets.

    Attributes
    ----------
    mass : (B, L, L) array, creators who prefer p and serve from s; not unique
    unit_price : (B, L) array, alpha U at each location
    payoff : (B, L) array, mu of (16)
    money : (B,) array, alpha T, what all creators receive
    gap : (B,) array, duality gap / money
    residual : (B,) array, largest violation of (16), see `choose`
    steps : (B,) array, interior point steps
    """

    mass: Floats
    unit_price: Floats
    payoff: Floats
    money: Floats
    gap: Floats
    residual: Floats
    steps: npt.NDArray[np.int64]


def choose(
    alpha: Floats,
    creators: Floats,
    viewers: Floats,
    cost: Floats,
    serves: Floats,
    donation: Donation,
    *,
    enough: float = _GAP,
) -> Choices:
    r"""Maximise the potential for B markets that differ in alpha, in how many creators prefer what
    and in what moving costs them.

    .. math:: \max_{y \ge 0} \; \alpha \sum_l \int_0^{n_l} U_l - \sum_{ps} C_{ps} y_{ps}, \quad
              \sum_s y_{ps} \le N_p, \quad
        n_l = \sum_{s \in S_l} \sum_p y_{ps}

    A primal-dual interior point method with Mehrotra's corrector. Prices q are variables of their
    own, tied to n by log(alpha U(n)) = log q, so the multipliers lambda_ps = C_ps + mu_p - sum_{l
    in L_s} q_l are linear and never lose feasibility, however curved U is. With y and mu
    eliminated, an L x L positive definite system in q remains.

    Parameters
    ----------
    alpha : (B,), above 0
    creators : (B, L), N_p; a preference is empty in all markets or in none
    viewers : (L,)
    cost : (L, L), C_ps, or (B, L, L)
    serves : (L, L), 1 where a creator at s (column) serves location l (row)
    donation : satisfies assumption 1
    enough : gap to stop at; a looser one for what is only compared

    Returns
    -------
    Choices; the residual is the largest of lambda_ps y_ps / money, mu_p (N_p - sum_s y_ps) / money
    and (sum_s y_ps - N_p) / sum N, with mu and lambda computed from y by (16a), so that the rest of
    (16) holds exactly. N is capped where the cap cannot bind (see `_participation_cap`); gap and
    residual are of that equivalent market.

    Raises
    ------
    ArithmeticError
        the gap stays above 1e-8

    Source: Tang and Huang, theorem 1, with 1/N in front of the integral of (14), without which (13)
    does not hold.
    """
    size = alpha.size
    n_locations = viewers.size
    cost = np.broadcast_to(cost, (size, n_locations, n_locations))
    watched, here = viewers > 0, np.flatnonzero((creators > 0).any(axis=0))
    result = Choices(
        np.zeros((size, n_locations, n_locations)),
        alpha[:, None] * price(donation, viewers, np.zeros((size, n_locations))),
        np.zeros((size, n_locations)),
        np.zeros(size),
        np.zeros(size),
        np.zeros(size),
        np.zeros(size, dtype=np.int64),
    )

    # where even the first creator to serve anywhere would lose, nobody does; an empty market has
    # nothing else to solve
    worth = (_rewards(result.unit_price, serves)[:, None, :] > cost[:, here]).any(axis=(1, 2))

    per_batch = max(1, _CHUNK // max(1, here.size * n_locations))
    todo = np.flatnonzero(worth)
    for batch in np.split(todo, range(per_batch, todo.size, per_batch)):
        if batch.size:
            a, costs = alpha[batch], cost[batch][:, here]
            cap = _participation_cap(
                a,
                creators[batch].sum(axis=1),
                viewers[watched],
                cost[batch].min(axis=(1, 2)),
                serves,
                donation,
            )
            capped = np.minimum(creators[batch][:, here], cap[:, None])
            mass, gap, steps = _interior_point(
                a, capped, viewers[watched], costs, serves[watched], donation, enough=enough
            )
            if (again := np.flatnonzero(~(gap <= max(_ENOUGH, enough)))).size:
                other, other_gap, more = _interior_point(
                    a[again],
                    capped[again],
                    viewers[watched],
                    costs[again],
                    serves[watched],
                    donation,
                    enough=enough,
                    cautious=True,
                )
                better = other_gap < gap[again]
                mass[again[better]], gap[again[better]] = other[better], other_gap[better]
                steps[again] += more
            result.mass[np.ix_(batch, here)] = mass
            result.gap[batch], result.steps[batch] = gap, steps
            n = mass.sum(axis=1) @ serves.T
            q = a[:, None] * price(donation, viewers, n)
            result.unit_price[batch] = q
            result.money[batch] = money = (q * n).sum(axis=1)
            loss, mu, idle = _regret(mass, q @ serves, costs, capped)
            result.residual[batch] = np.maximum.reduce(
                [
                    (loss * mass).max(axis=(1, 2)) / money,
                    (mu * idle).max(axis=1) / money,
                    -idle.min(axis=1) / capped.sum(axis=1),
                ]
            )
    if np.any(bad := ~(result.gap <= max(_REFUSED_GAP, enough))):
        row = int(np.argmax(bad))
        raise ArithmeticError(
            f"no equilibrium to {max(_REFUSED_GAP, enough):g} at alpha = {float(alpha[row])!r}: gap"
            f" {float(result.gap[row])!r}"
        )

    # payoffs, of preferences that nobody has too; what is within rounding of the prices is none
    reward = _rewards(result.unit_price, serves)
    gain = (reward[:, None, :] - cost).max(axis=2)
    result.payoff[:] = np.where(
        gain > 8 * _EPS * np.minimum(reward.max(axis=1, keepdims=True), 1 / _TINY), gain, 0.0
    )
    return result


def _rewards(unit_price: Floats, serves: Floats) -> Floats:
    """Sum of prices over what each place serves; prices may be infinite, which a matrix product
    would turn into NaN.
    """
    return np.asarray(np.where(serves.T > 0, unit_price[:, None, :], 0.0).sum(axis=2))


def _participation_cap(
    alpha: Floats,
    total: Floats,
    viewers: Floats,
    least_cost: Floats,
    serves: Floats,
    donation: Donation,
) -> Floats:
    """More creators than ever take part: V P <= alpha T and T <= u (K P + sum m), U_l(m_l) = u,
    here at u = .9 V / (alpha K).

    Masses many orders of magnitude above what takes part cost digits. m is found to half as much
    again, from above.
    """
    window = float(serves[:, 0].sum())
    most = np.log(window * total)[:, None] * np.ones(viewers.size)
    low, high = most - 700.0, most
    target = (_NEAR * least_cost / (alpha * window))[:, None]
    with np.errstate(all="ignore"):
        high = np.where(price(donation, viewers, np.exp(high)) > target, np.inf, high)
        for _ in range(11):
            middle = (low + np.minimum(high, most)) / 2
            above = price(donation, viewers, np.exp(middle)) > target
            low, high = np.where(above, middle, low), np.where(above, high, middle)
        return np.asarray(
            np.minimum(_NEAR / (1 - _NEAR) * np.exp(high).sum(axis=1) / window, total)
        )


def _regret(
    mass: Floats, reward: Floats, cost: Floats, creators: Floats
) -> tuple[Floats, Floats, Floats]:
    """What each choice loses against the best one, the best payoff mu, and the creators who stay
    away; `reward` is sum of prices by s.
    """
    gain = reward[:, None, :] - cost
    mu = np.maximum(gain.max(axis=2), 0.0)
    return mu[:, :, None] - gain, mu, creators - mass.sum(axis=2)


def _interior_point(
    alpha: Floats,
    creators: Floats,
    viewers: Floats,
    cost: Floats,
    serves: Floats,
    donation: Donation,
    *,
    enough: float,
    cautious: bool = False,
) -> tuple[Floats, Floats, npt.NDArray[np.int64]]:
    """Mass (B, P, L), relative gap and steps; all viewers and creators above 0, masses inside in
    units of a market's creators.

    Names as in `choose`: y mass, t = N - sum y slack, lam and mu their multipliers, n served, q
    price, r reward of a place.
    """
    size, places, boundary = (
        alpha.size,
        cost.shape[2],
        _CAUTIOUS_BOUNDARY if cautious else _BOUNDARY,
    )
    best_mass, best_gap, steps_taken = (
        np.zeros(cost.shape),
        np.full(size, np.inf),
        np.zeros(size, dtype=np.int64),
    )
    unit = creators.sum(axis=1)[:, None]
    total, a = creators / unit, alpha[:, None]
    open_, best, stale = np.arange(size), np.full(size, np.inf), np.zeros(size, dtype=np.int64)

    # --- start: half of everybody, spread evenly; multipliers that leave everything in the interior
    y = np.repeat((total / (2 * places))[:, :, None], places, axis=2)
    t = total / 2
    q = a * price(donation, viewers, unit * (y.sum(axis=1) @ serves.T))
    r = q @ serves
    mu = np.maximum((r[:, None, :] - cost).max(axis=2), 0.0) + r.mean(axis=1)[:, None] / 2
    lam = cost + mu[:, :, None] - r[:, None, :]

    for step in range(_MAX_STEPS):
        n = y.sum(axis=1) @ serves.T
        paid = a * price(donation, viewers, unit * n)
        money = (paid * n).sum(axis=1)

        # --- what is good enough, or no longer improves, leaves
        loss, gain, idle = _regret(y, paid @ serves, cost, total)
        gap = ((loss * y).sum(axis=(1, 2)) + (gain * idle).sum(axis=1)) / money
        better = gap < best
        best = np.where(better, gap, best)
        at = open_[better]
        best_mass[at], best_gap[at], steps_taken[at] = (
            y[better] * unit[better, :, None],
            gap[better],
            step,
        )
        product = (lam * y).sum(axis=(1, 2)) + (mu * t).sum(axis=1)
        stale = np.where(product > enough * money, 0, np.where(better, 0, stale + 1))
        stay = (best > enough) & (stale < 4) & np.isfinite(gap)
        if not stay.all():
            if not stay.any():
                break
            open_, best, stale, unit, total, a, cost, y, t, q, mu, lam, n, paid, money, product = (
                x[stay]
                for x in (
                    open_,
                    best,
                    stale,
                    unit,
                    total,
                    a,
                    cost,
                    y,
                    t,
                    q,
                    mu,
                    lam,
                    n,
                    paid,
                    money,
                    product,
                )
            )

        # --- predictor: how far would complementarity fall? corrector: aim there, with the second
        # order terms
        sinks = np.clip(1 - a * donation.derivative(viewers, unit * n) / paid, 1e-14, 1.0)
        near = _linearise(y, t, lam, mu, q, sinks, n, paid, total, cost, serves)
        dy, dt, dlam, dmu, dq = near.direction(-lam * y, -mu * t, 0.0)
        primal = np.minimum(np.minimum(_reach(y, dy), _reach(t, dt)), 1.0)
        dual = np.minimum(np.minimum(_reach(lam, dlam), _reach(mu, dmu)), 1.0)
        ahead = ((lam + dual[:, None, None] * dlam) * (y + primal[:, None, None] * dy)).sum(
            axis=(1, 2)
        )
        ahead += ((mu + dual[:, None] * dmu) * (t + primal[:, None] * dt)).sum(axis=1)
        off = (abs(near.off_dual) * y).sum(axis=(1, 2)) + (abs(paid - q) * n).sum(axis=1)
        aim = np.maximum(
            np.clip(ahead / product, 0.0, 1.0) ** 3 * product, _HOLD * np.minimum(off, product)
        ) / (t.shape[1] * (places + 1))
        bend = np.minimum((sinks * ((dy.sum(axis=1) @ serves.T) / n) ** 2 + (dq / q) ** 2) / 2, 1.0)
        dy, dt, dlam, dmu, dq = near.direction(
            aim[:, None, None] - lam * y - dy * dlam, aim[:, None] - mu * t - dt * dmu, bend
        )
        primal = np.minimum(boundary * np.minimum(_reach(y, dy), _reach(t, dt)), 1.0)
        dual = np.minimum(
            boundary * np.minimum(np.minimum(_reach(lam, dlam), _reach(mu, dmu)), _reach(q, dq)),
            1.0,
        )
        # while prices and masses disagree, they move together: apart, complementarity would vanish
        # long before the disagreement
        far = cautious | (abs(near.off_price).max(axis=1) > _FAR)
        primal, dual = (
            np.where(far, np.minimum(primal, dual), primal),
            np.where(far, np.minimum(primal, dual), dual),
        )
        y, t = y + primal[:, None, None] * dy, t + primal[:, None] * dt
        lam, mu, q = (
            lam + dual[:, None, None] * dlam,
            mu + dual[:, None] * dmu,
            q + dual[:, None] * dq,
        )
    return best_mass, best_gap, steps_taken


@dataclass(frozen=True, eq=False)
class _Linearised:
    """Newton's equations at one point, with everything but the prices eliminated.

    d = y / stiff, stiff = lam + proximal y, f = sum_s d + t / mu. A change dr of the rewards
    changes what is served from each place by S dr, S = diag(sum_p d) - d' f^-1 d, so dq = root x
    with (I + root A S A' root) x = right, A = `serves`, root^2 = -dq/dn.
    """

    t: Floats
    mu: Floats
    q: Floats
    d: Floats
    f: Floats
    stiff: Floats
    proximal: Floats
    root: Floats
    serves: Floats
    system: Floats
    inverse: Floats
    off_price: Floats
    off_dual: Floats
    off_mass: Floats

    def direction(
        self, aim_y: Floats, aim_t: Floats, bend: Floats | float
    ) -> tuple[Floats, Floats, Floats, Floats, Floats]:
        """Changes of y, t, lam, mu, q that change lam y by aim_y and mu t by aim_t; `bend` is what
        log q lacks to second order.
        """
        move = aim_y / self.stiff - self.d * self.off_dual
        push = move.sum(axis=2) + aim_t / self.mu - self.off_mass
        served = (
            move.sum(axis=1) - np.matmul((push / self.f)[:, None, :], self.d)[:, 0]
        ) @ self.serves.T
        right = (self.q * (self.off_price + bend) / self.root - self.root * served)[:, :, None]
        x = np.matmul(self.inverse, right)
        x += np.matmul(self.inverse, right - np.matmul(self.system, x))
        dq = self.root * x[:, :, 0]
        dr = dq @ self.serves
        dmu = (push + np.matmul(self.d, dr[:, :, None])[:, :, 0]) / self.f
        lean = dmu[:, :, None] - dr[:, None, :]
        dy = move - self.d * lean
        return (
            dy,
            (aim_t - self.t * dmu) / self.mu,
            lean + self.off_dual + self.proximal * dy,
            dmu,
            dq,
        )


def _linearise(
    y: Floats,
    t: Floats,
    lam: Floats,
    mu: Floats,
    q: Floats,
    sinks: Floats,
    n: Floats,
    paid: Floats,
    total: Floats,
    cost: Floats,
    serves: Floats,
) -> _Linearised:
    """`sinks` is -n U'/U, by how many percent a price sinks with one percent more creators; `paid`
    is the price that n commands.
    """
    proximal = (_PROXIMAL * (paid * n).sum(axis=1) / n.sum(axis=1) ** 2)[:, None, None]
    stiff = lam + proximal * y
    d, e = y / stiff, t / mu
    f = d.sum(axis=2) + e
    # a Laplacian and a diagonal; summed from what is off the diagonal, that diagonal does not
    # cancel
    response = -np.matmul((d / f[:, :, None]).transpose(0, 2, 1), d)
    place, location = np.arange(y.shape[2]), np.arange(n.shape[1])
    response[:, place, place] = 0.0
    response[:, place, place] = (d * (e / f)[:, :, None]).sum(axis=1) - response.sum(axis=2)
    root = np.sqrt(sinks * q / n)
    weighted = root[:, :, None] * serves
    system = np.matmul(np.matmul(weighted, response), weighted.transpose(0, 2, 1))
    system[:, location, location] += 1.0
    return _Linearised(
        t=t,
        mu=mu,
        q=q,
        d=d,
        f=f,
        stiff=stiff,
        proximal=proximal,
        root=root,
        serves=serves,
        system=system,
        inverse=np.linalg.inv(system),
        off_price=np.log(paid / q),
        off_dual=cost + mu[:, :, None] - (q @ serves)[:, None, :] - lam,
        off_mass=total - y.sum(axis=2) - t,
    )


def _reach(value: Floats, change: Floats) -> Floats:
    """The largest step, by market, that leaves every value at 0 or above."""
    fastest = (-change / value).reshape(value.shape[0], -1).max(axis=1)
    return np.asarray(1 / np.maximum(fastest, _TINY))
