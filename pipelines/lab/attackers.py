"""The attackers of `earnings lab gaming`: what they do to the rows of a day, and what that costs.

What belongs here: attacks as changes of a day's rows in memory. What they moved, and whether a rule
keeps the axioms, is in `gaming.py`. Nothing here knows how a rule works.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

from pipelines.store.warehouse import Connection

Kind = Literal["accounts", "devoted", "ring", "creator", "video", "labels", "gifts"]
ALL = ("liked", "commented", "shared", "followed")


@dataclass(frozen=True)
class Attacker:
    """Accounts that all do the same, or a creator who does something to what is theirs.

    Attributes
    ----------
    kind : `accounts` do it to one video, `devoted` ones to every video of the creator, a `ring` to
        the videos of each other; a `creator` cuts the account, a `video` is cut in pieces, `labels`
        are stuffed, `gifts` are given to oneself
    loops : watch time of an account over the video's length
    price : what a thousand of them cost, in currency units, as such services are offered in the
        street (2020 to 2025: a few units a thousand actions; an account with a verified phone far
        more); settings may say otherwise
    hurts : aimed at a rival
    counts : how many are tried
    """

    name: str
    what: str
    price: float
    kind: Kind = "accounts"
    loops: float = 0.0
    actions: tuple[str, ...] = ()
    verified: bool = False
    hurts: bool = False
    counts: tuple[int, ...] = (1, 10, 100, 1000)


ATTACKERS = (
    Attacker(
        "mimic", "watches twice, likes, comments, shares and follows", 12.0, loops=2.02, actions=ALL
    ),
    Attacker("watch farm", "watches once, and nothing else", 1.0, loops=1.0),
    Attacker("like farm", "likes without watching", 2.0, actions=("liked",)),
    Attacker(
        "devoted mimic",
        "a mimic of every video of the creator",
        50.0,
        "devoted",
        loops=2.02,
        actions=ALL,
        counts=(1, 10),
    ),
    Attacker(
        "aged account",
        "a mimic with a verified account",
        2000.0,
        loops=2.02,
        actions=ALL,
        verified=True,
    ),
    Attacker(
        "ring of creators",
        "creators with an account each, mimics of each other's videos",
        0.0,
        "ring",
        loops=2.02,
        actions=ALL,
        counts=(2, 10),
    ),
    Attacker("silent saboteur", "opens a rival's video and leaves", 0.5, hurts=True),
    Attacker(
        "liking saboteur", "likes a rival's video and leaves", 2.0, actions=("liked",), hurts=True
    ),
    Attacker("bored saboteur", "watches a tenth of a rival's video", 0.5, loops=0.11, hurts=True),
    Attacker("watching saboteur", "watches a rival's video to the end", 1.0, loops=1.0, hurts=True),
    Attacker(
        "split account",
        "a creator's videos under so many accounts without an identity",
        2000.0,
        "creator",
        counts=(2, 10),
    ),
    Attacker(
        "split video", "a creator's video cut in so many pieces", 0.0, "video", counts=(2, 10)
    ),
    Attacker("label stuffing", "a video gets every label there is", 0.0, "labels", counts=(1,)),
    Attacker(
        "gift washing",
        "coins given to a video of one's own, a thousand an account",
        1.0,
        "gifts",
        counts=(1, 10),
    ),
)
COINS = 1000
"""What an account that washes gifts gives."""


@dataclass(frozen=True)
class Target:
    """A creator, and the video of theirs that most people watched."""

    creator_id: str
    video_id: str
    viewers: int
    drawn: bool = field(default=True, compare=False)


def attack(
    attacker: Attacker, targets: Sequence[Target], number: int, day: date
) -> Callable[[Connection], None]:
    """What so many of that kind do for, or to, each target. A creator who is split is paid under
    names that begin with theirs and `~`.
    """
    if attacker.kind in ("accounts", "devoted", "ring"):
        return accounts(attacker, targets, number, day)

    def change(con: Connection) -> None:
        named = {
            "videos": [target.video_id for target in targets],
            "creators": [target.creator_id for target in targets],
            "number": number,
            "day": day,
        }
        for statement in _CHANGES[attacker.kind]:
            used = {name: value for name, value in named.items() if f"${name}" in statement}
            con.execute(statement, used)

    return change


def accounts(
    attacker: Attacker, targets: Sequence[Target], number: int, day: date
) -> Callable[[Connection], None]:
    """So many accounts of that kind, written among the day's rows: for each target, or for a ring
    one for each member.
    """

    def write(con: Connection) -> None:
        con.execute(
            f"CREATE OR REPLACE TEMP TABLE staged AS {_WATCHED[attacker.kind]}",
            {
                "creators": [target.creator_id for target in targets],
                "videos": [target.video_id for target in targets],
                **({"number": number} if attacker.kind != "ring" else {}),
                **({"day": day} if attacker.kind == "devoted" else {}),
            },
        )
        con.execute(
            """INSERT INTO viewers BY NAME SELECT DISTINCT $day::DATE AS day, viewer_id,
               $verified::BOOLEAN AS verified, 1.0 AS trust, 'gaming' AS source FROM staged""",
            {"day": day, "verified": attacker.verified},
        )
        did = ", ".join(f"{name in attacker.actions} AS {name}" for name in ALL)
        con.execute(
            f"""INSERT INTO viewer_events BY NAME
                SELECT $day AS day, viewer_id || '-' || video_id AS event_id, $day::TIMESTAMP AS ts,
                       viewer_id, video_id, ceil(length_ms * $loops)::BIGINT AS watch_ms, {did},
                       length_ms, false AS repeated, 'gaming' AS source
                FROM staged JOIN (SELECT video_id, arg_max(length_ms, day) AS length_ms FROM videos
                                  WHERE day <= $day GROUP BY video_id) USING (video_id)""",
            {"day": day, "loops": attacker.loops},
        )

    return write


_WATCHED = {
    "accounts": """SELECT 'gaming-' || creator_id || '-' || i AS viewer_id, video_id
                   FROM (SELECT unnest($videos) AS video_id, unnest($creators) AS creator_id),
                        range($number) AS r(i)""",
    # whoever watches all videos of a creator watches those that anybody watched on the day
    "devoted": """SELECT 'gaming-' || creator_id || '-' || i AS viewer_id, video_id
                  FROM (SELECT video_id, arg_max(creator_id, day) AS creator_id FROM videos
                        WHERE day <= $day GROUP BY video_id), range($number) AS r(i)
                  WHERE creator_id IN (SELECT unnest($creators))
                    AND (video_id IN (SELECT unnest($videos))
                         OR video_id IN (SELECT video_id FROM viewer_events WHERE day = $day))""",
    "ring": """SELECT 'gaming-' || mine.creator_id AS viewer_id, theirs.video_id
               FROM (SELECT unnest($videos) AS video_id, unnest($creators) AS creator_id) AS mine,
                    (SELECT unnest($videos) AS video_id) AS theirs
               WHERE mine.video_id <> theirs.video_id""",
}

_NEWEST = "QUALIFY row_number() OVER (PARTITION BY {} ORDER BY day DESC) = 1"
_CHANGES: dict[Kind, tuple[str, ...]] = {
    "creator": (
        f"""INSERT INTO creators BY NAME
            SELECT c.* REPLACE (creator_id || '~' || i AS creator_id, NULL AS identity_id)
            FROM (FROM creators WHERE creator_id IN (SELECT unnest($creators)) AND day <= $day
                  {_NEWEST.format("creator_id")}) AS c, range(1, $number) AS r(i)""",
        """CREATE OR REPLACE TEMP TABLE moved AS
           SELECT video_id, creator_id || '~' || place AS creator_id FROM (
               SELECT video_id, creator_id, (row_number() OVER (PARTITION BY creator_id
                      ORDER BY video_id) - 1) % $number AS place
               FROM (SELECT video_id, arg_max(creator_id, day) AS creator_id FROM videos
                     WHERE day <= $day GROUP BY video_id)
               WHERE creator_id IN (SELECT unnest($creators)))
           WHERE place > 0""",
        """UPDATE videos SET creator_id = moved.creator_id FROM moved
           WHERE moved.video_id = videos.video_id""",
    ),
    "video": (
        f"""CREATE OR REPLACE TEMP TABLE whole AS
            FROM videos WHERE video_id IN (SELECT unnest($videos)) AND day <= $day
            {_NEWEST.format("video_id")}""",
        """INSERT INTO videos BY NAME
           SELECT w.* REPLACE (video_id || '~' || i AS video_id,
                               greatest(1, length_ms // $number) AS length_ms)
           FROM whole AS w, range($number) AS r(i)""",
        # who watched on reached the next piece; what they did, they did to the first
        f"""INSERT INTO viewer_events BY NAME
            SELECT e.* REPLACE (
                e.event_id || '~' || i AS event_id, e.video_id || '~' || i AS video_id,
                CASE WHEN e.watch_ms >= w.length_ms THEN e.watch_ms // $number
                     ELSE least(e.watch_ms - i * (w.length_ms // $number),
                                greatest(1, w.length_ms // $number)) END AS watch_ms,
                {", ".join(f"e.{name} AND i = 0 AS {name}" for name in ALL)},
                NULL AS length_ms)
            FROM viewer_events AS e JOIN whole AS w USING (video_id), range($number) AS r(i)
            WHERE e.day = $day AND (i = 0 OR e.watch_ms > i * (w.length_ms // $number))""",
        "DELETE FROM viewer_events WHERE day = $day AND video_id IN (SELECT unnest($videos))",
        """UPDATE ad_revenue SET video_id = video_id || '~0'
           WHERE day = $day AND video_id IN (SELECT unnest($videos))""",
    ),
    "labels": (
        """UPDATE videos SET categories = (SELECT list(DISTINCT category ORDER BY category)
                                           FROM ad_revenue WHERE day = $day)
           WHERE video_id IN (SELECT unnest($videos))""",
    ),
    "gifts": (
        f"""INSERT INTO gifts BY NAME
            SELECT $day AS day, 'gaming-' || video_id || '-' || i AS gift_id,
                   $day::TIMESTAMP AS ts, 'gaming-' || video_id || '-' || i AS viewer_id, video_id,
                   {COINS} AS coins, 0 AS deducted_coins, false AS premium, 'gaming' AS source
            FROM (SELECT unnest($videos) AS video_id), range($number) AS r(i)""",
    ),
}
