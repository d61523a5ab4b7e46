"""Landing files of a platform so small that a day takes a second: a few creators, a dozen videos,
some tens of events, and among them what real deliveries have, copies, rotten rows and all.
"""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from pipelines.schema import LANDING

CREATORS = tuple(f"c{n}" for n in range(5))
VIDEOS = tuple(f"v{n}" for n in range(10))
VIEWERS = tuple(f"u{n}" for n in range(24))
LABELS = ("music", "sport", "news")
NOBODYS = "weather"  # ads are booked under it, and no video has it

Row = dict[str, Any]


class Deliveries:
    """Writes files under a landing folder; every amount and id comes from one chance."""

    def __init__(self, landing: Path, chance: random.Random, *, copies: bool = True) -> None:
        self.landing, self.chance, self.copies = landing, chance, copies
        self.ids: dict[str, list[Row]] = {"gifts": [], "ad_revenue": []}
        self.files = 0

    def write(self, table: str, day: date, rows: Sequence[Mapping[str, Any]], name: str) -> Path:
        names = [
            c.name
            for c in LANDING[table].landing_columns
            if not rows or any(c.name in r for r in rows)
        ]
        text = io.StringIO()
        writer = csv.DictWriter(text, names, lineterminator="\n", restval="")
        writer.writeheader()
        writer.writerows(rows)
        path = self.landing / table / str(day) / f"{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.getvalue())
        return path

    def first_snapshots(self, day: date) -> None:
        chance = self.chance
        self.write(
            "viewers",
            day,
            [
                {
                    "viewer_id": viewer,
                    "verified": chance.random() < 0.7,
                    "trust": chance.choice([1.0, 1.0, 0.5]),
                    "region": chance.choice(["A", "B"]),
                    "device": chance.choice(["x", "y"]),
                    "tenure_days": chance.randrange(900),
                }
                for viewer in VIEWERS
            ],
            "all",
        )
        self.write(
            "creators",
            day,
            [{"creator_id": c, "followers": chance.randrange(9000)} for c in CREATORS],
            "all",
        )
        self.write("videos", day, [self.video(v) for v in VIDEOS], "all")

    def video(self, video: str) -> Row:
        chance = self.chance
        return {
            "video_id": video,
            "creator_id": CREATORS[VIDEOS.index(video) % len(CREATORS)],
            "length_ms": chance.choice([8_000, 20_000, 45_000]),
            "categories": chance.choice(["music", "sport", "news", "music;news"]),
            "compliant": chance.random() < 0.9,
            "s_plus": chance.choice(["", 0.6, 0.9]),
            "s_tox": chance.choice(["", 0.0, 0.3]),
        }

    def day(self, day: date, *, name: str = "first", size: int = 24) -> None:
        """A delivery of a day, the first or a late one."""
        self.files += 1
        name = f"{name}{self.files}"
        self.write("viewer_events", day, [self._event(day, name, n) for n in range(size)], name)
        for table, make, count in (("gifts", self._gift, 4), ("ad_revenue", self._ad, 6)):
            rows = [make(day, name, n) for n in range(self.chance.randrange(1, count))]
            known = self.ids[table]
            if (
                known and self.copies and self.chance.random() < 0.3
            ):  # at-least-once delivery, or a broken producer
                copy = {**self.chance.choice(known), "ts": self._time(day)}
                if self.chance.random() < 0.3:
                    copy["coins" if table == "gifts" else "amount_micros"] = 77
                rows.append(copy)
            known += rows
            self.write(table, day, rows, name)

    def snapshot(self, day: date) -> None:
        """Some rows of a snapshot say something else from a day on."""
        self.files += 1
        chance = self.chance
        videos = chance.sample(VIDEOS, 2)
        self.write("videos", day, [self.video(v) for v in videos], f"changed{self.files}")

    def share(self, day: date) -> None:
        """Somebody gets a part of what a video earns; sometimes that is in dispute."""
        self.files += 1
        video = self.chance.choice(VIDEOS)
        author = CREATORS[VIDEOS.index(video) % len(CREATORS)]
        other = self.chance.choice([c for c in CREATORS if c != author])
        part = self.chance.choice([100_000, 333_333])
        rows = [
            {"share_id": f"{video}a", "party_id": author, "part": 1_000_000 - part},
            {"share_id": f"{video}b", "party_id": other, "part": part},
        ]
        for row in rows:
            row |= {"video_id": video, "role": "author", "disputed": self.chance.random() < 0.2}
        self.write("shares", day, rows, f"shares{self.files}")

    def _time(self, day: date) -> str:
        moment = datetime.combine(day, datetime.min.time())
        return f"{moment + timedelta(seconds=self.chance.randrange(86_400))}Z"

    def _event(self, day: date, name: str, n: int) -> Row:
        chance = self.chance
        rotten = chance.random() < 0.02
        return {
            "event_id": f"e-{day}-{name}-{n}",
            "ts": self._time(day),
            "viewer_id": chance.choice(VIEWERS),
            "video_id": chance.choice(VIDEOS),
            "watch_ms": -5 if rotten and n == 0 else chance.randrange(60_000),
            **{
                action: chance.random() < often
                for action, often in (
                    ("liked", 0.3),
                    ("commented", 0.15),
                    ("shared", 0.1),
                    ("followed", 0.1),
                )
            },
        }

    def _gift(self, day: date, name: str, n: int) -> Row:
        return {
            "gift_id": f"g-{day}-{name}-{n}",
            "ts": self._time(day),
            "viewer_id": self.chance.choice(VIEWERS),
            "video_id": self.chance.choice(VIDEOS),
            "coins": self.chance.choice([1, 5, 33, 200]),
            "premium": self.chance.random() < 0.4,
        }

    def _ad(self, day: date, name: str, n: int) -> Row:
        beside = self.chance.random() < 0.3
        return {
            "ad_id": f"a-{day}-{name}-{n}",
            "ts": self._time(day),
            "category": self.chance.choice([*LABELS, *LABELS, NOBODYS]),
            "video_id": self.chance.choice(VIDEOS) if beside else "",
            "amount_micros": self.chance.choice([1, 60, 999_999, 3_000_000, 12_345_678]),
        }
