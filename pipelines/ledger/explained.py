"""What an explanation tells: amounts of a video, a creator's day and a bonus, each with parts that
sum to it. They are read from a day by `explanation.py`, and put in words by `wording.py`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Literal

from pipelines.ledger.counterfactual import Part

SOURCES = {
    "pulse": "Pulse",
    "ads": "ad pools",
    "carry": "ad pools (money carried in)",
    "coins": "gifted coins",
    "adjustment": "an adjustment",
    "bonus": "the month's bonus",
    "shares": "parts in others' videos, less others' parts in these",
}


@dataclass(frozen=True)
class Payout:
    """What a video was paid from one source. `parts` sum to `paid_micros`; so does `comparison`,
    where there is one.
    """

    source: Literal["ads", "pulse", "coins"]
    category: str | None
    paid_micros: int
    parts: tuple[Part, ...]
    comparison: tuple[Part, ...]
    facts: dict[str, Any]
    words: str

    @property
    def title(self) -> str:
        return (
            f"ad pool {self.category}"
            if self.source == "ads"
            else {"pulse": "Pulse", "coins": "gifted coins"}[self.source]
        )


@dataclass(frozen=True)
class VideoDay:
    """A video's day: the sum of its payouts, what was measured of it, and why it is not paid from
    elsewhere.
    """

    day: date
    video_id: str
    creator_id: str
    policy: str
    total_micros: int
    words: str
    payouts: tuple[Payout, ...]
    notes: tuple[str, ...]
    measured: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "day": self.day.isoformat()}


@dataclass(frozen=True)
class BonusMonth:
    """A creator's bonus of the month from `first_day` to `last_day`. `parts` sum to `paid_micros`;
    `facts` are what it was decided by.
    """

    first_day: date
    last_day: date
    paid_micros: int
    parts: tuple[Part, ...]
    facts: dict[str, Any]
    words: str

    def as_dict(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "first_day": self.first_day.isoformat(),
            "last_day": self.last_day.isoformat(),
        }


@dataclass(frozen=True)
class CreatorDay:
    """A creator's day: `sources` sum to the total of `creator_earnings`, and so do the videos, the
    adjustment and the month's bonus.
    """

    day: date
    creator_id: str
    policy: str
    total_micros: int
    words: str
    sources: dict[str, int]
    videos: tuple[VideoDay, ...]
    bonus: BonusMonth | None

    def as_dict(self) -> dict[str, Any]:
        videos, bonus = [v.as_dict() for v in self.videos], self.bonus and self.bonus.as_dict()
        return {**asdict(self), "day": self.day.isoformat(), "videos": videos, "bonus": bonus}
