"""Defaults that stood in when a day was scored, counted: viewers that no snapshot knows, videos
without safety scores or labels.

What belongs here: figures about the join of events with snapshots. What the defaults are is in the
policy and in `video.sql` and `tier.sql`.
"""

from __future__ import annotations

from datetime import date

from pipelines.runs.figures import Figure
from pipelines.store.warehouse import Connection

TOO_MANY_UNKNOWN = 0.2  # share of events
TOO_MANY_DEFAULTS = 0.5  # share of watched videos


def figures_of_scores(con: Connection, day: date) -> list[Figure]:
    """How many events and videos of the day were scored by a default."""
    events, unknown, example, known_example = con.execute(
        """WITH known AS (SELECT DISTINCT viewer_id FROM viewers WHERE day <= $day)
           SELECT count(*), count(*) FILTER (k.viewer_id IS NULL),
               min(e.viewer_id) FILTER (k.viewer_id IS NULL), (SELECT min(viewer_id) FROM known)
           FROM viewer_events AS e LEFT JOIN known AS k USING (viewer_id) WHERE e.day = $day""",
        {"day": day},
    ).fetchall()[0]
    videos, neutral, unlabelled = con.execute(
        """WITH watched AS (SELECT DISTINCT video_id FROM viewer_events WHERE day = $day),
                known AS (SELECT video_id, arg_max(categories, v.day) AS labels,
                    arg_max_null(s_plus, v.day) AS s_plus, arg_max_null(s_tox, v.day) AS s_tox
                    FROM videos AS v JOIN watched USING (video_id) WHERE v.day <= $day
                    GROUP BY video_id)
           SELECT count(*), count(*) FILTER (s_plus IS NULL OR s_tox IS NULL),
               count(*) FILTER (len(labels) = 0) FROM known""",
        {"day": day},
    ).fetchall()[0]
    others = f"; viewers has ids such as {known_example!r}" if known_example else ""
    return [
        Figure(
            "unknown_viewer_events",
            unknown,
            events,
            f"{unknown} of {events} events have a viewer that no snapshot knows, such as"
            f" {example!r}{others}: they count as unverified"
            if unknown > TOO_MANY_UNKNOWN * events
            else None,
        ),
        Figure(
            "videos_without_safety",
            neutral,
            videos,
            f"{neutral} of {videos} watched videos have no safety scores: the policy's neutral"
            " value stands in"
            if neutral > TOO_MANY_DEFAULTS * videos
            else None,
        ),
        Figure(
            "unlabelled_videos",
            unlabelled,
            videos,
            f"{unlabelled} of {videos} watched videos have no label: they compete in no ad pool"
            if unlabelled > TOO_MANY_DEFAULTS * videos
            else None,
        ),
    ]
