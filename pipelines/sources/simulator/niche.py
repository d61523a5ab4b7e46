"""A small group of viewers whom little content suits, and creators who make more of it when it
pays.

Part of the simulated platform, off by default. Such viewers share static features (region `isles`,
device `tv`, activity `rare`). With a stock of n fresh videos for them they find one in n / (n + n0)
of their sessions and like it more than others like theirs; the rest of the time they watch what
everybody watches, and hardly like it. Their creators upload more when a fresh video of theirs is
paid more than one of the others', and less when it is paid less. So at equal weights nobody makes
enough for them, and they stay starved.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

FEATURES = {"region": "isles", "device": "tv", "activity": "rare"}
LIKES_OWN, LIKES_OTHER = 1.5, 0.15
FRESH_DAYS = 6
MOST_CHANGE = 1.5


@dataclass(frozen=True)
class Niche:
    """`share` of the viewers; `scarcity` is n0, fresh videos at which they find their own in every
    second session.
    """

    share: float
    creators: int = 3
    scarcity: float = 3.0
    uploads: float = 0.05


class Supply:
    """What the creators of the niche upload, day by day."""

    def __init__(self, niche: Niche) -> None:
        self.niche, self.uploads, self._begun = niche, niche.uploads, 0.0

    def respond(
        self, pay: Mapping[str, int], own: set[str], fresh_own: float, fresh_others: float
    ) -> None:
        """Change the number of uploads a day by how yesterday's pay for a fresh video compares with
        the others'.
        """
        mine = sum(micros for creator, micros in pay.items() if creator in own)
        others = sum(pay.values()) - mine
        if mine > 0 and others > 0:
            ratio = (mine / max(fresh_own, 0.05)) / (others / fresh_others)
            self.uploads = float(
                np.clip(
                    self.uploads * np.clip(ratio, 1 / MOST_CHANGE, MOST_CHANGE),
                    self.niche.uploads,
                    50.0,
                )
            )

    def today(self) -> int:
        """Videos that are finished today; parts of a video are kept for tomorrow."""
        self._begun += self.uploads
        done = int(self._begun)
        self._begun -= done
        return done


def freshness(born: Array, age: int) -> Array:
    """How fresh videos are, 1 on their first day."""
    fresh: Array = np.exp((born - age) / FRESH_DAYS)
    return fresh
