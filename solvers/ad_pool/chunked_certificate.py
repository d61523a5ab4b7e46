"""Judge the split of a pool that does not fit in memory: the certificate of
`certificate.certify_pool`, from sums over chunks.

Belongs here: the problem of a pool in chunks, stated anew, and the bound on what any other split
could gain. Does not: any solver, and rules over groups, which need the whole pool at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from solvers.ad_pool.certificate import Certificate
from solvers.ad_pool.inputs import Objective, PoolChunk
from solvers.arrays import Floats, Mask
from solvers.exact_sum import ExactSum

_ROUNDING, _NEGLIGIBLE = 1e-14, 1e-280
_TINY = np.finfo(np.float64).tiny


def certify_chunks(
    payout: Callable[[PoolChunk], Floats],
    pool: float,
    chunks: Iterable[PoolChunk],
    *,
    alpha: float = 0.5,
    lambda_fair: float = 0.5,
    lambda_eff: float = 0.5,
    objective: Objective = "blend",
) -> Certificate:
    r"""Judge any split of a pool in chunks, whoever made it.

    The proof is that of `certify_pool` without rules, and holds for every :math:`\nu`:

    .. math:: f^* - f(y) \le \sum_v \max_{lo \le z \le hi} (g_v - \nu)(z - y_v) + \nu (1 - \sum_v
              y_v)

    Finding the best :math:`\nu` would mean sorting all gradients. Here it is the mean gradient of
    the rows between their bounds, weighted by what they are paid, or their largest, whichever
    proves more. Both are the multiplier itself where the split is optimal; the gap of a split that
    is far from it is an upper bound, and not the least one.

    Parameters
    ----------
    payout : what the rows of a chunk are paid
    chunks : can be iterated over again and again, and gives the same chunks each time
    pool, alpha, lambda_fair, lambda_eff, objective : as in `solvers.ad_pool.allocate_pool`

    Returns
    -------
    Certificate, without rule multipliers

    Source: the ad revenue document, section 3; docs/formulas.md sections 2.3 to 2.5.

    Examples
    --------
    >>> chunks = [PoolChunk(np.array([1.0, 4.0])), PoolChunk(np.array([16.0]))]
    >>> good = certify_chunks(lambda chunk: np.sqrt(chunk.share) * 100 / 7, 100.0, chunks,
    ...     lambda_eff=0.0)
    >>> good.gap < 1e-15, round(good.multiplier, 12)
    (True, 0.5)
    """
    if not (math.isfinite(pool) and pool >= 0):
        raise ValueError(f"pool must be finite and at least 0, not {pool!r}")
    problem = _Problem.stated(float(pool), chunks, alpha, lambda_fair, lambda_eff, objective)
    if pool == 0 or problem.rows == 0:
        most = max((float(np.abs(payout(chunk)).max(initial=0.0)) for chunk in chunks), default=0.0)
        return Certificate(
            math.inf if (most if pool == 0 else pool) > 0 else 0.0,
            0.0,
            0.0,
            0.0,
            0.0,
            0.0,
            0.0,
            {},
            1.0,
        )
    with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
        return _judge(payout, chunks, problem)


@dataclass(frozen=True)
class _Problem:
    """The document's objective for a pool of which only a chunk can be seen: its knobs, and the
    sums that a row's weights are relative to. Rows that cannot be paid leave before anything is
    normalised.
    """

    pool: float
    rows: int
    alpha: float
    lambda_fair: float
    lambda_eff: float
    linear: bool
    top: float
    share_sum: float
    power_sum: float

    @classmethod
    def stated(
        cls,
        pool: float,
        chunks: Iterable[PoolChunk],
        alpha: float,
        lambda_fair: float,
        lambda_eff: float,
        objective: Objective,
    ) -> _Problem:
        rows, top, shares, powers = 0, 0.0, ExactSum(), ExactSum()
        for chunk in chunks:
            share, payable = _shares(chunk)
            rows += share.size
            top = max(top, float(share[payable].max(initial=0.0)))
        if top > 0:
            for chunk in chunks:
                share, payable = _shares(chunk)
                in_top = share[payable] / top
                shares.add(in_top)
                powers.add(in_top**alpha)
        return cls(
            pool,
            rows,
            alpha,
            lambda_fair,
            lambda_eff,
            objective == "linear",
            top,
            float(shares),
            float(powers),
        )

    def part(self, chunk: PoolChunk, payout: Floats) -> _Part:
        """The rows of a chunk, in parts of the pool."""
        share, payable = _shares(chunk)
        least, most = (
            np.broadcast_to(np.asarray(bound, dtype=np.float64), share.shape) / self.pool
            for bound in (chunk.floor, chunk.cap)
        )
        log_weight, linear_weight = np.zeros(share.size), np.zeros(share.size)
        if self.top > 0:
            in_top = np.where(payable, share, 0.0) / self.top
            part = in_top / self.share_sum
            if self.linear:
                log_weight, linear_weight = (
                    self.lambda_fair * part**self.alpha,
                    self.lambda_eff * part,
                )
            else:
                log_weight = (self.lambda_fair / self.power_sum) * in_top**self.alpha
                log_weight += self.lambda_eff * part
        return _Part(payout / self.pool, least, np.minimum(most, 1.0), log_weight, linear_weight)


def _shares(chunk: PoolChunk) -> tuple[Floats, Mask]:
    """The shares of a chunk's rows, and which of them can be paid at all."""
    share = np.asarray(chunk.share, dtype=np.float64)
    return share, np.broadcast_to(np.asarray(chunk.cap, dtype=np.float64), share.shape) > 0


@dataclass(frozen=True, eq=False)
class _Part:
    """The rows of a chunk in parts of the pool: payouts, bounds, weights of the logarithm and of
    the linear term.
    """

    y: Floats
    lo: Floats
    hi: Floats
    a: Floats
    gain: Floats

    def within(self, room: float, excess: float) -> tuple[_Part, Mask]:
        """Bounds that the other rows leave open, and which rows have a choice then."""
        lo = np.maximum(self.lo, self.hi - (excess if excess > _ROUNDING else 0.0))
        hi = np.minimum(self.hi, self.lo + (room if room > _ROUNDING else 0.0))
        return _Part(self.y, lo, hi, self.a, self.gain), (lo < hi) & ~(
            (self.a > 0) & (self.a < _NEGLIGIBLE) & (np.abs(self.y) < _NEGLIGIBLE)
        )

    def products(self, r: Floats) -> Floats:
        """Of each row, the difference in price times what it could still move."""
        up, down = np.maximum(self.hi - self.y, 0.0), np.maximum(self.y - self.lo, 0.0)
        return np.where(r > 0, r * up, np.where(r < 0, -r * down, 0.0))

    @property
    def gradient(self) -> Floats:
        return (
            np.where(self.a > 0, np.where(self.y > 0, self.a / self.y, math.inf), 0.0) + self.gain
        )


def _judge(
    payout: Callable[[PoolChunk], Floats], chunks: Iterable[PoolChunk], problem: _Problem
) -> Certificate:
    def parts() -> Iterator[_Part]:
        for chunk in chunks:
            yield problem.part(chunk, payout(chunk))

    # --- is it allowed
    paid, floors, caps, weights, broken, gains, mean = (
        ExactSum(),
        ExactSum(),
        ExactSum(),
        ExactSum(),
        0.0,
        0.0,
        1 / problem.rows,
    )
    for part in parts():
        for total, column in (
            (paid, part.y),
            (floors, part.lo),
            (caps, part.hi),
            (weights, part.a),
        ):
            total.add(column)
        broken = max(
            broken, float(((part.lo - part.y) / np.maximum(part.lo, mean)).max(initial=0.0))
        )
        broken = max(
            broken, float(((part.y - part.hi) / np.maximum(part.hi, mean)).max(initial=0.0))
        )
        gains = max(gains, float(part.gain.max(initial=0.0)))
    missing, room, excess = float(1 - paid.exact), float(1 - floors.exact), float(caps.exact - 1)
    scale = float(weights) + gains or 1.0

    # --- the multiplier: the mean of free rows, or what parts those at their floors from those at
    # their caps
    worth, free_paid, dearest, highest, lowest = (
        ExactSum(),
        ExactSum(),
        -math.inf,
        -math.inf,
        math.inf,
    )
    for whole in parts():
        part, judged = whole.within(room, excess)
        gradient, space = part.gradient, 1e-9 * (part.hi - part.lo)
        free = (
            judged & (part.y > part.lo + space) & (part.y < part.hi - space) & np.isfinite(gradient)
        )
        worth.add((part.a + part.gain * part.y)[free])
        free_paid.add(part.y[free])
        dearest = max(dearest, float(gradient[free].max(initial=-math.inf)))
        known = judged & np.isfinite(gradient)
        highest = max(highest, float(gradient[known & (part.y < part.hi)].max(initial=-math.inf)))
        lowest = min(lowest, float(gradient[known & (part.y > part.lo)].min(initial=math.inf)))
    mean_worth = float(worth.exact / free_paid.exact) if free_paid.exact > 0 else math.inf
    prices = [x for x in (mean_worth, dearest, highest, lowest) if math.isfinite(x)] or [0.0]
    nu = _cheapest(parts, room, excess, prices)

    # --- every term is a multiplier times a slack
    gap, value, stationarity, complementarity, endless = ExactSum(), ExactSum(), 0.0, 0.0, False
    for whole in parts():
        part, judged = whole.within(room, excess)
        gradient = part.gradient
        r = np.where(judged, gradient - nu, 0.0)
        products = part.products(r)
        off = np.abs(r) / np.maximum(
            np.where(part.a > 0, np.maximum(np.abs(gradient), abs(nu)), scale), _TINY
        )
        off[np.isinf(gradient) & judged] = 1.0
        far = np.where(r > 0, part.hi - part.y, part.y - part.lo) / np.maximum(
            np.abs(part.y), _TINY
        )
        stationarity = max(stationarity, float(off[(far > off) & (r != 0)].max(initial=0.0)))
        complementarity = max(complementarity, float(products[far <= off].max(initial=0.0)))
        endless |= bool(np.isinf(products).any())
        gap.add(np.where(np.isinf(products), 0.0, products))
        says = part.a > 0
        worth_of_log = part.a[says] * np.log(np.maximum(part.y[says], 0.0))
        endless |= bool(np.isinf(worth_of_log).any())
        value.add(np.where(np.isinf(worth_of_log), 0.0, worth_of_log))
        value.add(part.gain * part.y)
    return Certificate(
        primal_residual=max(0.0, abs(missing), broken),
        stationarity_residual=stationarity,
        complementarity_residual=complementarity / scale,
        gap=(
            math.inf
            if endless
            else float(gap.exact + abs(Fraction(nu) * Fraction(missing))) / scale
        ),
        value=-math.inf if endless else float(value),
        upper_bound=_lagrangian(parts, room, excess, nu),
        multiplier=nu,
        rule_multipliers={},
        scale=scale,
    )


def _cheapest(
    parts: Callable[[], Iterator[_Part]], room: float, excess: float, prices: list[float]
) -> float:
    """The price that leaves the smallest gap."""
    gaps = [ExactSum() for _ in prices]
    for whole in parts():
        part, judged = whole.within(room, excess)
        known = judged & np.isfinite(part.gradient)
        for gap, price in zip(gaps, prices, strict=True):
            gap.add(part.products(np.where(known, part.gradient - price, 0.0)))
    return min(zip([gap.exact for gap in gaps], prices, strict=True))[1]


def _lagrangian(
    parts: Callable[[], Iterator[_Part]], room: float, excess: float, nu: float
) -> float:
    """The least value found of the Lagrangian dual along nu: Newton's steps on the reciprocal of
    what the rows ask for.
    """
    best = math.inf
    for _ in range(8):
        worth, slope, asked = ExactSum(), ExactSum(), ExactSum()
        for whole in parts():
            part, _ = whole.within(room, excess)
            distance = nu - part.gain
            z = np.clip(
                np.where(
                    distance > 0,
                    part.a / distance,
                    np.where((part.a > 0) | (distance < 0), part.hi, part.lo),
                ),
                part.lo,
                part.hi,
            )
            worth.add(
                np.where(
                    part.a > 0,
                    part.a * np.log(np.maximum(np.where(part.a > 0, z, 1.0), _TINY)),
                    0.0,
                )
                - distance * z
            )
            free = (part.lo < z) & (z < part.hi) & (part.a > 0)
            slope.add(z[free] ** 2 / part.a[free])
            asked.add(z)
        best = min(best, float(worth.exact + Fraction(nu)))
        total = float(asked)
        if slope.exact <= 0 or abs(total - 1) <= _ROUNDING:
            break
        nu += total * (total - 1) / float(slope)
    return best
