"""The widest premium gap for a given payout: the three edges along which both coin splits walk.

Belongs here: the geometry of one video's shares. Does not: objectives, weights, anything that
couples videos.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from solvers.arrays import Floats


@dataclass(frozen=True, eq=False)
class GapChain:
    r"""Points (x_n, x_p) with the widest gap x_p - x_n among all points with the same payout x_n
    N_n + x_p N_p.

    Over :math:`0 \le x_n \le x_n^{max}`, :math:`0 \le x_p \le x_p^{max}`, :math:`\delta \le x_p -
    x_n \le \Delta` they run from (0, delta) to (0, first) to (second, premium_top) to (third,
    premium_top). On these edges the gap changes by 1 / N_p, 0 and -1 / N_n with every coin paid, so
    it is concave in the payout.

    Attributes
    ----------
    normal, premium : (n,) coins N_n and N_p
    max_gap, premium_max : (n,) as given
    min_gap, first, second, third, premium_top : (n,) shares, see above
    pay_least, pay_first, pay_second, pay_third : (n,) payout at the four points, never falling
    """

    normal: Floats
    premium: Floats
    max_gap: Floats
    premium_max: Floats
    min_gap: Floats
    first: Floats
    second: Floats
    third: Floats
    premium_top: Floats
    pay_least: Floats
    pay_first: Floats
    pay_second: Floats
    pay_third: Floats

    def shares(self, pay: Floats) -> tuple[Floats, Floats]:
        """The point of the chain with this payout, which must lie in [pay_least, pay_third];
        divisions by 0 coins are harmless.

        Without premium coins the gap is as wide as allowed.
        """
        past_first, past_second = pay > self.pay_first, pay > self.pay_second
        x_n = np.where(
            past_second,
            np.clip((pay - self.premium_top * self.premium) / self.normal, self.second, self.third),
            np.where(
                past_first,
                np.clip(
                    (pay - self.max_gap * self.premium) / (self.normal + self.premium),
                    0.0,
                    self.second,
                ),
                0.0,
            ),
        )
        widest = np.minimum(x_n + self.max_gap, self.premium_max)
        x_p = np.where(
            past_second,
            self.premium_top,
            np.where(past_first, widest, np.clip(pay / self.premium, self.min_gap, self.first)),
        )
        return x_n, np.where(self.premium > 0, x_p, widest)


def gap_chain(
    normal: Floats,
    premium: Floats,
    *,
    normal_max: Floats,
    premium_max: Floats,
    min_gap: Floats,
    max_gap: Floats,
) -> GapChain:
    """The chain of every row; meaningless where min_gap > min(premium_max, max_gap), for then no
    shares are feasible.

    Source: docs/formulas.md section 3 (the points A, B and C).

    Examples
    --------
    >>> chain = gap_chain(*np.array([[100.0], [50.0]]), **{k: np.array([v]) for k, v in
    ...     {"normal_max": 0.6, "premium_max": 0.8, "min_gap": 0.05, "max_gap": 0.4}.items()})
    >>> points = chain.pay_least, chain.pay_first, chain.pay_second, chain.pay_third
    >>> [float(pay[0].round(2)) for pay in points]
    [2.5, 20.0, 80.0, 100.0]
    """
    first = np.minimum(premium_max, max_gap)
    second = np.clip(premium_max - max_gap, 0.0, normal_max)
    third = np.maximum(second, np.minimum(normal_max, premium_max - min_gap))
    premium_top = np.minimum(premium_max, second + max_gap)
    third = np.where(premium_top < premium_max, second, third)
    return GapChain(
        normal=normal,
        premium=premium,
        max_gap=max_gap,
        premium_max=premium_max,
        min_gap=min_gap,
        first=first,
        second=second,
        third=third,
        premium_top=premium_top,
        pay_least=min_gap * premium,
        pay_first=first * premium,
        pay_second=second * normal + premium_top * premium,
        pay_third=third * normal + premium_top * premium,
    )
