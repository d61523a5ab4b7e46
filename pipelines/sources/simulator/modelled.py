"""What KuaiRand does not have and a payout needs, made up here and nowhere else.

KuaiRand knows who watched what; it has no verified flag, no advertising revenue, no gifts and no
moderation scores. These are modelled, seeded and marked: a row whose columns are partly made up has
`source = 'kuairand+modelled'`, a row that is made up as a whole `source = 'modelled'`. The amounts
say nothing about Kuaishou.

Every number is a function of the seed and of the ids in its own row (the MD5 of `seed:purpose:ids`,
read as a uniform number in [0, 1)), so it depends neither on the order of rows nor on which other
rows exist, and is the same on every machine: there is no logarithm or power in here. What is
assumed:

- **verified**: 30 % of viewers. **trust**: 1 for a verified viewer; else 1 - 0.4 u, to two
  decimals.
- **safety**: 90 % of videos were scored. s_plus = 0.5 + 0.5 u; s_tox = 0.2 u, but 0.4 + 0.5 u for 2
  % of the scored videos; to three decimals.
- **advertising**: one impression in four of a compliant video of known length shows an ad, of one
  of the video's categories. The price of a thousand is fixed per category, between 10 and 60
  currency units (10 + 50 u^2, so a few are dear), and each ad costs between half and one and a half
  of it. 40 % are booked next to the video, the others only to the category.
- **gifts**: 1 % of the impressions of such videos that were watched at all, 15 % where the viewer
  liked, half of that from a viewer who is not verified. 50 % give 1 coin, 25 % 5, 15 % 20, 8 % 100,
  2 % 500. Coins are premium when the viewer is verified.

Impressions that repeat exactly (the same id) count once.
"""

from __future__ import annotations

from duckdb import DuckDBPyRelation

VERIFIED_SHARE = 0.3
SCORED_SHARE = 0.9
TOXIC_SHARE = 0.02
AD_LOAD = 0.25
NEAR_SHARE = 0.4
GIFT_CHANCE, GIFT_CHANCE_LIKED = 0.01, 0.15


def uniform(seed: int, purpose: str, *ids: str) -> str:
    """SQL for a number in [0, 1) that depends on the seed, the purpose and the named columns
    only.
    """
    text = " || ':' || ".join((f"'{seed}:{purpose}'", *ids))
    # 53 bits: every value is a double exactly.
    return f"((md5_number_lower({text}) >> 11)::DOUBLE / 9007199254740992.0)"


def verified(seed: int, viewer_id: str = "viewer_id") -> str:
    """SQL: whether a viewer is verified."""
    return f"({uniform(seed, 'verified', viewer_id)} < {VERIFIED_SHARE})"


def with_trust(viewers: DuckDBPyRelation, seed: int) -> DuckDBPyRelation:
    """Give viewers (column `viewer_id`) the columns verified, trust and source."""
    trust = (
        f"CASE WHEN {verified(seed)} THEN 1.0::DOUBLE ELSE round(1 - 0.4 *"
        f" {uniform(seed, 'trust', 'viewer_id')}, 2) END"
    )
    return viewers.project(
        f"*, {verified(seed)} AS verified, {trust} AS trust, 'kuairand+modelled' AS source"
    )


def with_safety(videos: DuckDBPyRelation, seed: int) -> DuckDBPyRelation:
    """Give videos (column `video_id`) the columns s_plus, s_tox (NULL where nobody scored) and
    source.
    """
    u = {name: uniform(seed, name, "video_id") for name in ("scored", "s_plus", "toxic", "s_tox")}
    scored = f"{u['scored']} < {SCORED_SHARE}"
    return videos.project(
        f"""*, CASE WHEN {scored} THEN round(0.5 + 0.5 * {u["s_plus"]}, 3) END AS s_plus,
        CASE WHEN {scored} THEN round(if({u["toxic"]} < {TOXIC_SHARE}, 0.4 + 0.5 * {u["s_tox"]},
        0.2 * {u["s_tox"]}), 3) END AS s_tox,
        'kuairand+modelled' AS source"""
    )


def ad_revenue(impressions: DuckDBPyRelation, seed: int) -> DuckDBPyRelation:
    """Ads shown in `impressions` (event_id, ts, video_id, categories; only what may show ads).
    Amounts in micros.
    """
    u = {name: uniform(seed, name, "event_id") for name in ("ad", "slot", "price", "near")}
    dear = uniform(seed, "cpm", "category")
    cpm = f"(10 + 50 * {dear} * {dear})"
    shown = impressions.filter(f"{u['ad']} < {AD_LOAD}").project(
        f"event_id, ts, video_id, categories[1 + floor({u['slot']} * len(categories))::BIGINT] AS"
        " category"
    )
    return shown.project(
        f"""'ad-' || event_id AS ad_id, ts, category, CASE WHEN {u["near"]} < {NEAR_SHARE}
            THEN video_id END AS video_id,
        floor({cpm} * 1000 * (0.5 + {u["price"]}))::BIGINT AS amount_micros,
        'final' AS status, 'modelled' AS source"""
    ).distinct()


def gifts(impressions: DuckDBPyRelation, seed: int) -> DuckDBPyRelation:
    """Gifts given in `impressions` (event_id, ts, viewer_id, video_id, watch_ms, liked; only what
    may earn gifts).
    """
    u = {name: uniform(seed, name, "event_id") for name in ("gift", "coins")}
    chance = f"if(liked, {GIFT_CHANCE_LIKED}, {GIFT_CHANCE}) * if({verified(seed)}, 1, 0.5)"
    coins = (
        f"(CASE WHEN {u['coins']} < 0.5 THEN 1 WHEN {u['coins']} < 0.75 THEN 5 WHEN {u['coins']} <"
        " 0.9 THEN 20"
    )
    coins += f" WHEN {u['coins']} < 0.98 THEN 100 ELSE 500 END)::BIGINT"
    return (
        impressions.filter(f"watch_ms > 0 AND {u['gift']} < {chance}")
        .project(
            f"'gift-' || event_id AS gift_id, ts, viewer_id, video_id, {coins} AS coins,"
            f" {verified(seed)} AS premium, 'modelled' AS source"
        )
        .distinct()
    )
