"""A donation market: which split of donations leaves a platform most, once creators have chosen
whether and what to serve.

Belongs here: the market (windows, costs, masses), its equilibrium under a given split, the best
split and bounds on it. Does not: how the equilibrium is computed and donation functions
(`solvers.donation_market.equilibrium`), and preferences from observed behaviour
(`solvers.donation_market.fit`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from solvers.arrays import Floats, Ints
from solvers.donation_market.equilibrium import (
    Donation,
    PowerDonation,
    SaturatingDonation,
    check_assumption,
    choose,
)

__all__ = [
    "Donation",
    "DonationMarket",
    "Equilibrium",
    "OptimalSplit",
    "PowerDonation",
    "SaturatingDonation",
    "best_splits",
    "flat_splits",
    "total_donations",
]

_GRID = np.arange(101) / 100
_WIDTH = 1e-7
"""To this a peak is located; the payoff is flat there, so it is right to far more."""
_CERTIFIED, _MOST_POINTS = 1e-3, 600
_WITHOUT_NUMBER = 1e30
_COMPARED = 1e-10
"""Gap at which payoffs are compared to a part of a hundred."""


@dataclass(frozen=True, eq=False)
class Equilibrium:
    """What creators do under one split, or under each of several: then every attribute has a
    leading axis.

    Unique, but for `choice`; without deviation cost `deviation`, and without opportunity cost the
    `participation` of those who earn 0.

    Attributes
    ----------
    alpha : share of donations that creators keep
    serving : (L,), creators who serve each location, N-hat
    total_donation : money that viewers donate
    participation : mass of creators who take part
    deviation : sum over creators who take part of the squared distance from what they prefer
    payoff : (L,), mu of (16): money of a creator with each preference
    platform_payoff : (1 - alpha) total_donation, G
    potential : value of (14), with 1/N in front of its integral, times N
    choice : (L, L), creators by what they prefer (rows) and where they start to serve (columns)
    gap : duality gap relative to alpha total_donation
    residual : largest violation of (16), relative to alpha total_donation, and of (5), relative to
        all creators
    """

    alpha: Floats
    serving: Floats
    total_donation: Floats
    participation: Floats
    deviation: Floats
    payoff: Floats
    platform_payoff: Floats
    potential: Floats
    choice: Floats
    gap: Floats
    residual: Floats


@dataclass(frozen=True, eq=False)
class OptimalSplit:
    """The split that leaves the platform most.

    Attributes
    ----------
    alpha : best share for the creators; 0 where the payoff is approached for alpha -> 0 (only
        without opportunity cost)
    platform_payoff : what it leaves the platform
    peaks : (k, 2), every local maximum found: alpha, platform payoff; by alpha
    lower_bound, upper_bound : the best alpha lies between, by theorem; 0 and 1 where none is known
    payoff_bound : no split at all leaves more than this, by theorem; infinite where no theorem is
        known (donations not a power)
    grid_alpha, grid_payoff : the document's own search over .01, .02, ..., 1
    """

    alpha: float
    platform_payoff: float
    peaks: Floats
    lower_bound: float
    upper_bound: float
    payoff_bound: float
    grid_alpha: float
    grid_payoff: float


@dataclass(frozen=True, eq=False, init=False)
class DonationMarket:
    r"""Creators and viewers around a circle of L values of an attribute: times of day, genres.

    A creator who starts at s serves s, s + 1, ..., s + K - 1 (mod L); one who prefers p pays
    :math:`C_{ps} = V + W d(p, s)^2` to do so, d the distance around a circle of length 1, and
    receives
    :math:`\alpha \sum_{l \in L_s} U_l`, :math:`U_l = D(M_l, \hat N_l) / \hat N_l`. Taking no part
    pays 0.

    Parameters
    ----------
    creators : (L,) N_p, how many prefer each location, at least 0
    viewers : (L,) M_l, how many watch at each, at least 0
    window : K, locations that one creator serves, 1 to L
    opportunity_cost : V, money, at least 0
    deviation_cost : W, money for a squared distance of 1, at least 0
    donation : D, see `solvers.donation_market.equilibrium.Donation`

    Raises
    ------
    ValueError
        a number that is not what it should be; a donation function that breaks assumption 1, with
        the place where

    Source: Tang and Huang, sections III to V.

    Examples
    --------
    >>> market = DonationMarket(
    ...     [300, 700], [500, 500], window=1, opportunity_cost=0.1, deviation_cost=0.1,
    ...     donation=PowerDonation(np.exp(-1.17), 0.6)
    ... )
    >>> market.equilibrium(0.3).serving.round(2).tolist()
    [306.04, 443.91]
    >>> best = market.optimal_split()
    >>> round(best.alpha, 4), round(best.platform_payoff, 2), best.upper_bound
    (0.3565, 198.89, 0.4)
    """

    creators: Floats
    viewers: Floats
    window: int
    opportunity_cost: float
    deviation_cost: float
    donation: Donation

    def __init__(
        self,
        creators: npt.ArrayLike,
        viewers: npt.ArrayLike,
        *,
        window: int,
        opportunity_cost: float,
        deviation_cost: float,
        donation: Donation,
    ) -> None:
        n, m = np.array(creators, dtype=np.float64), np.array(viewers, dtype=np.float64)
        if n.ndim != 1 or n.shape != m.shape or n.size == 0:
            raise ValueError(
                f"creators and viewers must be one-dimensional, of one length: shapes {n.shape} and"
                f" {m.shape}"
            )
        for name, values in (("creators", n), ("viewers", m)):
            if np.any(bad := ~(np.isfinite(values) & (values >= 0))):
                row = int(np.argmax(bad))
                raise ValueError(
                    f"{name} must be finite and at least 0: location {row} has"
                    f" {float(values[row])!r}"
                )
        if window != int(window) or not 1 <= window <= n.size:
            raise ValueError(f"window must be a whole number from 1 to {n.size}, not {window!r}")
        for name, cost in (
            ("opportunity_cost", opportunity_cost),
            ("deviation_cost", deviation_cost),
        ):
            if not (math.isfinite(cost) and cost >= 0):
                raise ValueError(f"{name} must be finite and at least 0, not {cost!r}")
        check_assumption(donation, m, window * float(n.sum()))
        costs = {
            "opportunity_cost": float(opportunity_cost),
            "deviation_cost": float(deviation_cost),
        }
        for name, field in {
            "creators": n,
            "viewers": m,
            "window": int(window),
            "donation": donation,
            **costs,
        }.items():
            object.__setattr__(self, name, field)

    @property
    def serves(self) -> Floats:
        """(L, L): 1 where a creator who starts at the column serves the row."""
        start = np.arange(self.viewers.size)
        return ((start[:, None] - start) % start.size < self.window).astype(np.float64)

    @property
    def squared_distance(self) -> Floats:
        """(L, L): d(p, s)^2 around the circle of length 1."""
        start = np.arange(self.viewers.size)
        apart = abs(start[:, None] - start) / start.size
        return np.asarray(np.minimum(apart, 1 - apart) ** 2)

    # ----------------------------------------------------------------------------------------------

    def equilibrium(self, alpha: npt.ArrayLike) -> Equilibrium:
        """What creators do when they keep a share `alpha`, in [0, 1]; an array gives every result a
        leading axis.

        Conditions (16), found as the maximum of the potential. Where neither keeping nothing nor
        taking part costs anything (alpha = opportunity cost = 0) creators are indifferent, and the
        answer is the limit for alpha -> 0.

        Examples
        --------
        >>> market = DonationMarket([3, 1], [8, 8], window=1, opportunity_cost=1, deviation_cost=8,
        ...     donation=PowerDonation(1, 0.5))
        >>> now = market.equilibrium([0.5, 0.9])
        >>> now.serving.round(3).tolist(), now.payoff.round(3).tolist()
        ([[2.0, 1.0], [3.0, 1.0]], [[0.0, 0.414], [0.47, 1.546]])
        """
        alphas = np.asarray(alpha, dtype=np.float64)
        if alphas.ndim > 1 or not np.all((alphas >= 0) & (alphas <= 1)):
            raise ValueError(f"alpha must be one share in [0, 1] or a list of them, not {alpha!r}")
        shares = np.atleast_1d(alphas)
        equilibrium = self.equilibria(
            shares, np.broadcast_to(self.creators, (shares.size, self.creators.size))
        )
        return (
            equilibrium
            if alphas.ndim
            else Equilibrium(**{name: value[0] for name, value in vars(equilibrium).items()})
        )

    def equilibria(
        self,
        alpha: Floats,
        creators: Floats,
        costs: npt.ArrayLike | None = None,
        *,
        enough: float = 1e-14,
    ) -> Equilibrium:
        """As `equilibrium`, for markets alike but in alpha (B,), creators (B, L), whose zeros must
        be in the same columns, and costs (B, 2): V and W of each, the market's own unless given.

        Many at once take a fraction of the time of each by itself. `enough` is the gap to stop at.
        """
        serves, distance = self.serves, self.squared_distance
        size, locations = creators.shape
        V, W = np.broadcast_to(
            np.array([self.opportunity_cost, self.deviation_cost]) if costs is None else costs,
            (size, 2),
        ).T
        cost = V[:, None, None] + W[:, None, None] * distance
        choice, payoff, gap, residual = (
            np.zeros((size, locations, locations)),
            np.zeros((size, locations)),
            np.zeros(size),
            np.zeros(size),
        )
        free = (alpha == 0) & (V == 0)
        at_home = free & (W > 0)
        choice[at_home] = creators[at_home, :, None] * np.eye(locations)
        solved = np.flatnonzero((alpha > 0) | (free & ~at_home))
        if solved.size:
            share = np.where(free, 1.0, alpha)[solved]
            chosen = choose(
                share,
                creators[solved],
                self.viewers,
                cost[solved],
                serves,
                self.donation,
                enough=enough,
            )
            choice[solved], gap[solved], residual[solved] = chosen.mass, chosen.gap, chosen.residual
            payoff[solved] = np.where(free[solved, None], 0.0, chosen.payoff)
        serving = choice.sum(axis=1) @ serves.T
        donated = np.where(self.viewers > 0, self.donation.value(self.viewers, serving), 0.0).sum(
            axis=1
        )
        integral = np.where(
            self.viewers > 0, self.donation.integral(self.viewers, serving), 0.0
        ).sum(axis=1)
        return Equilibrium(
            alpha=alpha,
            serving=serving,
            total_donation=donated,
            participation=choice.sum(axis=(1, 2)),
            deviation=(choice * distance).sum(axis=(1, 2)),
            payoff=payoff,
            platform_payoff=(1 - alpha) * donated,
            potential=alpha * integral - (choice * cost).sum(axis=(1, 2)),
            choice=choice,
            gap=gap,
            residual=residual,
        )

    # ----------------------------------------------------------------------------------------------

    def optimal_split(self) -> OptimalSplit:
        """The share for creators that leaves the platform most, over the whole of [0, 1].

        The payoff can have several peaks and kinks. So: the document's grid, finer below .01 where
        the best share may lie there; for power donations, every interval halved in which, by
        theorem, more than .1 % above the best could hide; then every peak closed in on.
        """
        lower, upper = self.lower_bound(), self.upper_bound()
        points = np.union1d(
            _GRID, np.geomspace(max(lower, 1e-6), 0.01, 13) if lower < 0.01 else [lower]
        )
        donated = self.equilibrium(points).total_donation
        payoffs = (1 - points) * donated
        on_grid = np.flatnonzero(np.isin(points, _GRID[1:]))
        grid = on_grid[np.argmax(payoffs[on_grid])]
        grid_alpha, grid_payoff = float(points[grid]), float(payoffs[grid])
        ceiling = math.inf
        if isinstance(self.donation, PowerDonation):
            (known,), (ceiling,) = _certify([self], [(points, donated)], np.array([lower]))
            points, donated = known
        (peaks,) = _peaks([self], [(points, (1 - points) * donated)])
        alpha, payoff = peaks[np.argmax(peaks[:, 1])].tolist()
        return OptimalSplit(
            alpha, payoff, peaks, lower, upper, max(ceiling, payoff), grid_alpha, grid_payoff
        )

    def upper_bound(self) -> float:
        """The best split is at most this: 1 - b for a power at any window, proposition 3 for a
        window of 1, else 1.

        Proposition 3, the largest elasticity n D'/D where D' = V, needs D'(0) >= V at every
        location.
        """
        if isinstance(self.donation, PowerDonation):
            return 1 - self.donation.exponent
        m, cost = self.viewers[self.viewers > 0], self.opportunity_cost
        if (
            self.window > 1
            or cost == 0
            or m.size == 0
            or np.any(self.donation.derivative(m, np.zeros(m.size)) < cost)
        ):
            return 1.0
        low, high = np.full(m.size, -300.0), np.full(m.size, 300.0)
        for _ in range(64):
            middle = (low + high) / 2
            above = self.donation.derivative(m, np.exp(middle)) > cost
            low, high = np.where(above, middle, low), np.where(above, high, middle)
        n = np.exp(low)
        return float(
            np.minimum(n * self.donation.derivative(m, n) / self.donation.value(m, n), 1.0).max()
        )

    def lower_bound(self) -> float:
        """The best split is at least this: the best one of creators without number, as long as ours
        cannot be told from those.

        They earn nothing and need not move, so ours do the same up to some alpha_1: as long as some
        z >= 0 with A z = N-hat, A = `serves`, has z <= N. For a power N-hat grows as alpha^(1/b),
        one linear program gives alpha_1, and the bound is min(alpha_1, 1 - b). Otherwise, for a
        window of 1, N-hat and donations T grow with alpha at every location, so the payoff on [a,
        a'] is at most (1 - a) T(a'): the bound ends the intervals of .01 from 0 that thus lie below
        the best known. For wider windows it is 0: they need not grow everywhere. Corrects
        proposition 2, which has x_l N in place of what serves l, and wants equality at places that
        nobody chooses.
        """
        if self.opportunity_cost == 0 or not self.viewers.any() or not self.creators.any():
            return 0.0
        without_number = np.full((_GRID.size, self.viewers.size), _WITHOUT_NUMBER)
        if isinstance(self.donation, PowerDonation):
            serving = self.equilibria(np.ones(1), without_number[:1]).serving[0]
            exponent = self.donation.exponent
            return min(math.pow(self._crowding(serving), -exponent), 1 - exponent)
        if self.window > 1:
            return 0.0
        free = self.equilibria(_GRID, without_number)
        alike = 0
        while alike < 100 and self._crowding(free.serving[alike + 1]) <= 1:
            alike += 1
        ceilings = (1 - _GRID[:alike]) * free.total_donation[1 : alike + 1]
        return float(
            _GRID[np.argmax(np.append(ceilings >= free.platform_payoff[: alike + 1].max(), True))]
        )

    def _crowding(self, serving: Floats) -> float:
        """The least t such that t times our creators could serve this from home; infinite if none
        could.
        """
        from scipy.optimize import linprog

        size, scale, most = serving.size, float(serving.max()), float(self.creators.max())
        if scale == 0:
            return 0.0
        program = linprog(
            np.append(np.zeros(size), 1.0),
            A_ub=np.hstack([np.eye(size), -self.creators[:, None] / most]),
            b_ub=np.zeros(size),
            A_eq=np.hstack([self.serves, np.zeros((size, 1))]),
            b_eq=serving / scale,
        )
        return float(program.x[-1]) * scale / most if program.status == 0 else math.inf


def _ceilings(points: Floats, donated: Floats, donation: Donation) -> Floats:
    """The most that the platform's payoff can be between neighbouring points, for donations that
    are a power; infinite for others.

    With c = (1 - b)/b, T grows with alpha and T alpha^-c falls, so on [a1, a2] T <= min(T2, T1
    (alpha/a1)^c). The payoff is largest where these meet, or at 1 - b before that.
    """
    left, right = points[:-1], points[1:]
    if not isinstance(donation, PowerDonation):
        return np.full(left.size, math.inf)
    exponent = donation.exponent
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        meet = np.clip(
            left * (donated[1:] / donated[:-1]) ** (exponent / (1 - exponent)), left, right
        )
        top = np.clip(1 - exponent, left, meet)
        ceiling = (1 - top) * donated[:-1] * (top / left) ** ((1 - exponent) / exponent)
    return np.where((left > 0) & (donated[:-1] > 0), ceiling, (1 - left) * donated[1:])


def total_donations(
    markets: Sequence[DonationMarket], which: Ints, alpha: Floats, *, enough: float = 1e-14
) -> Floats:
    """(B,) what viewers donate in market `which[b]` under the split `alpha[b]`, all solved at once.

    The markets are alike but in their creators and costs; see `best_splits`.
    """
    if not which.size:
        return np.zeros(0)
    creators = np.stack([m.creators for m in markets])
    costs = np.array([(m.opportunity_cost, m.deviation_cost) for m in markets])
    # a place that only some prefer is nowhere quite empty
    least = np.where((creators > 0).any(axis=0), 1e-12 * creators.max(axis=1, keepdims=True), 0.0)
    creators = np.maximum(creators, least)
    now = markets[0].equilibria(alpha, creators[which], costs[which], enough=enough)
    return now.total_donation


def best_splits(markets: Sequence[DonationMarket]) -> tuple[Floats, Floats]:
    """The best split of each market and what it leaves the platform, searched in step.

    As `DonationMarket.optimal_split`, with its certificate, on every second hundredth.

    Parameters
    ----------
    markets : alike in viewers, window and donation; they differ in creators and costs

    Raises
    ------
    ValueError
        markets that differ in anything else

    Examples
    --------
    >>> markets = [DonationMarket(n, [500, 500], window=1, opportunity_cost=0.1,
    ...     deviation_cost=0.1, donation=PowerDonation(np.exp(-1.17), 0.6))
    ...     for n in ([300, 700], [500, 500])]
    >>> [round(float(alpha), 4) for alpha in best_splits(markets)[0]]
    [0.3565, 0.3222]
    """
    if not markets:
        return np.zeros(0), np.zeros(0)
    first = markets[0]
    if any(
        m.window != first.window
        or m.donation != first.donation
        or not np.array_equal(m.viewers, first.viewers)
        for m in markets
    ):
        raise ValueError("markets searched together must have the same viewers, window, donation")
    power = isinstance(first.donation, PowerDonation)
    lower = np.array([m.lower_bound() if power else 0.0 for m in markets])
    grids = []
    for low in lower:
        grid = _GRID[::2] if power else _GRID
        grid = grid[grid <= first.upper_bound() + 0.02]
        extra = np.geomspace(max(low, 1e-6), 0.01, 13) if low < 0.01 else [low]
        grids.append(np.union1d(grid[grid >= low - 0.02], extra))
    known = _asked(markets, grids)
    if power:
        known, _ = _certify(markets, known, lower)
    peaks = _peaks(markets, [(points, (1 - points) * donated) for points, donated in known])
    best = np.array([found[np.argmax(found[:, 1])] for found in peaks])
    return best[:, 0], best[:, 1]


Known = tuple[Floats, Floats]
"""Splits in ascending order, and what viewers donate under each."""


def _asked(
    markets: Sequence[DonationMarket], points: Sequence[Floats], enough: float = 1e-14
) -> list[Known]:
    """What viewers donate in each market under each of its points."""
    sizes = [p.size for p in points]
    donated = total_donations(
        markets,
        np.repeat(np.arange(len(markets)), sizes),
        np.concatenate(points),
        enough=enough,
    )
    return list(zip(points, np.split(donated, np.cumsum(sizes)[:-1]), strict=True))


def _with(known: Known, more: Known) -> Known:
    points = np.concatenate([known[0], more[0]])
    order = np.argsort(points, kind="stable")
    return points[order], np.concatenate([known[1], more[1]])[order]


def _certify(
    markets: Sequence[DonationMarket], known: Sequence[Known], lower: Floats
) -> tuple[list[Known], list[float]]:
    """Halve every interval that may hold a payoff above the best known by more than _CERTIFIED;
    also returns the highest ceiling of each market. For power donations.
    """
    known, ceiling = list(known), [math.inf] * len(known)
    while True:
        middles = []
        for at, (points, donated) in enumerate(known):
            ceilings = _ceilings(points, donated, markets[at].donation)
            ceilings[points[1:] <= lower[at]] = 0.0  # the payoff grows up to there
            wide = np.flatnonzero(ceilings > (1 + _CERTIFIED) * ((1 - points) * donated).max())
            ceiling[at] = float(ceilings.max())
            if points.size > _MOST_POINTS:
                wide = wide[:0]
            middles.append((points[wide] + points[wide + 1]) / 2)
        if not any(middle.size for middle in middles):
            return known, ceiling
        known = [
            _with(before, more)
            for before, more in zip(known, _asked(markets, middles), strict=True)
        ]


def flat_splits(
    markets: Sequence[DonationMarket], alpha: float, flat: float
) -> tuple[list[Floats], Floats]:
    """Of each market the hundredths that leave the platform at most a part `flat` less than the
    best of them and of `alpha`; and how much more that best is than at `alpha`, minus 1.

    For power donations every fifth hundredth is asked first, then only intervals that can hold such
    a one by theorem.
    """
    if not markets:
        return [], np.zeros(0)
    steps = 5 if isinstance(markets[0].donation, PowerDonation) else 1
    start = np.union1d(_GRID[steps::steps], [0.01])
    known = _asked(markets, [start] * len(markets), _COMPARED)
    today = (1 - alpha) * total_donations(
        markets, np.arange(len(markets)), np.full(len(markets), alpha)
    )
    fill = []
    for (points, donated), now, m in zip(known, today, markets, strict=True):
        ceilings = _ceilings(points, donated, m.donation)
        least = (1 - flat) * max(float(((1 - points) * donated).max()), float(now))
        inside = np.flatnonzero(ceilings >= least * (1 - 1e-9))
        between = (_GRID[None] > points[inside, None]) & (_GRID[None] < points[inside + 1, None])
        fill.append(np.setdiff1d(_GRID[between.any(axis=0)], points) if inside.size else _GRID[:0])
    found, gains = [], np.zeros(len(markets))
    for at, (before, more) in enumerate(zip(known, _asked(markets, fill, _COMPARED), strict=True)):
        points, donated = _with(before, more)
        payoff = (1 - points) * donated
        most = max(float(payoff.max()), float(today[at]))
        found.append(points[payoff >= (1 - flat) * most] if most > 0 else points[:0])
        gains[at] = most / float(today[at]) - 1 if most > 0 else math.nan
    return found, gains


def _peaks(markets: Sequence[DonationMarket], known: Sequence[Known]) -> list[Floats]:
    """Local maxima (k, 2) of each market's payoff, known at ascending points; the bracket of each
    is halved around its best point, all in step.
    """
    brackets, bests, owners = [], [], []
    for at, (points, payoffs) in enumerate(known):
        tops = np.flatnonzero(
            (payoffs > np.insert(payoffs[:-1], 0, 0.0)) & (payoffs >= np.append(payoffs[1:], 0.0))
        )
        if not payoffs.any():
            tops = np.zeros(1, dtype=np.intp)
        last = points.size - 1
        sides = (np.maximum(tops - 1, 0), tops, np.minimum(tops + 1, last))
        # where nothing is paid at all, nothing is to be closed in on
        brackets.append(
            np.stack([points[side if payoffs.any() else tops] for side in sides], axis=1)
        )
        bests.append(payoffs[tops])
        owners.append(np.full(tops.size, at))
    x, best, owner = np.concatenate(brackets), np.concatenate(bests), np.concatenate(owners)
    while (wide := np.flatnonzero(x[:, 2] - x[:, 0] > _WIDTH)).size:
        a, b, c = x[wide].T
        tries = np.stack([a, (a + b) / 2, b, (b + c) / 2, c], axis=1)
        alphas = np.concatenate([tries[:, 1], tries[:, 3]])
        donated = total_donations(markets, np.tile(owner[wide], 2), alphas)
        before, after = ((1 - alphas) * donated).reshape(2, -1)
        values = np.stack([before, best[wide], after], axis=1)
        at = np.argmax(values, axis=1)[:, None]
        x[wide] = np.take_along_axis(tries, at + np.arange(3), axis=1)
        best[wide] = np.take_along_axis(values, at, axis=1)[:, 0]
    found = np.stack([x[:, 1], best], axis=1)
    return [found[owner == at] for at in range(len(markets))]
