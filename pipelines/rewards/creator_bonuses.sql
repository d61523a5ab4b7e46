-- What each creator produced from $first to $last, the highest level of the month's schedule that it reached, and what that pays.
-- Thousandths are rounded a video and day before they are added, so that the sum does not depend on their order.
WITH produced AS (
    SELECT creator_id, CAST(sum(round(1000 * effective_views)) AS BIGINT) AS production_milliviews
    FROM video_quality WHERE day BETWEEN $first AND $last GROUP BY creator_id
),
schedule AS (
    SELECT level, threshold_milliviews, bonus_micros FROM reward_schedule WHERE month = $first
    UNION ALL SELECT 0, 0, 0
)
SELECT creator_id, production_milliviews, level, threshold_milliviews, schedule.bonus_micros AS promised_micros
FROM produced ASOF JOIN schedule ON produced.production_milliviews >= schedule.threshold_milliviews
ORDER BY creator_id
