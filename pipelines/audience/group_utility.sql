-- How well each group of viewers was served on $day: a metric per impression, its confidence interval, and what algorithm 1 takes of it.
-- The days before are those of the same viewers in today's groups, so a new version of the grouping has a past too.
-- Outcomes are whole millionths, so sums are exact. Viewers are independent, their sessions are not: the variance of the ratio
-- R = Y / N of sums over m viewers is m / (m - 1) * sum (y - R n)^2 / N^2.
WITH

member AS (
    SELECT viewer_id, arg_max(group_id, day) AS group_id, arg_max(arm, day) AS arm FROM viewer_groups WHERE day <= $day GROUP BY viewer_id
),

video AS (
    SELECT video_id, arg_max(length_ms, day) AS length_ms FROM videos WHERE day <= $day GROUP BY video_id
),

seen AS (
    SELECT e.day, m.group_id, m.arm, e.viewer_id, count(*) AS n,
           sum(CASE $metric
               WHEN 'ltr' THEN 1000000 * e.liked::BIGINT
               WHEN 'comments' THEN 1000000 * e.commented::BIGINT
               WHEN 'shares' THEN 1000000 * e.shared::BIGINT
               WHEN 'follows' THEN 1000000 * e.followed::BIGINT
               WHEN 'completion' THEN 1000000 * least(e.watch_ms, v.length_ms) // v.length_ms
           END) AS y
    FROM viewer_events AS e
    JOIN member AS m USING (viewer_id)
    JOIN video AS v USING (video_id)
    WHERE e.day BETWEEN $first_day AND $day
    GROUP BY ALL
),

measured AS (
    SELECT *, sqrt(greatest(0, viewers / nullif(viewers - 1, 0) * (yy - 2 * value * yn + value * value * nn))) / impressions AS error
    FROM (
        SELECT day, group_id, arm, count(*) AS viewers, sum(n)::BIGINT AS impressions, sum(y)::DOUBLE / 1e6 / sum(n)::DOUBLE AS value,
               sum(y * y)::DOUBLE / 1e12 AS yy, sum(y * n)::DOUBLE / 1e6 AS yn, sum(n * n)::DOUBLE AS nn
        FROM seen
        GROUP BY day, group_id, arm
    )
),

before AS (
    -- both days, each with enough impressions, or there is nothing to compare with
    SELECT group_id, arm, (min(value) + max(value)) / 2 AS baseline
    FROM measured
    WHERE day < $day AND impressions >= $least
    GROUP BY group_id, arm
    HAVING count(*) = 2
),

grid AS (
    SELECT group_id, arm FROM group_centres, (SELECT unnest($arms) AS arm) WHERE day = $version
)

SELECT *, utility IS NOT NULL AS enough
FROM (
    SELECT CAST($day AS DATE) AS day, group_id, arm, arm <> $control AS steers, $metric AS metric,
           coalesce(viewers, 0) AS viewers, coalesce(impressions, 0) AS impressions,
           coalesce(impressions / nullif(sum(impressions) OVER (PARTITION BY arm), 0), 0)::DOUBLE AS share,
           value, greatest(0, value - 1.96 * error) AS low, value + 1.96 * error AS high, baseline,
           CASE WHEN impressions >= $least THEN CASE WHEN $relative THEN value / nullif(baseline, 0) - 1 ELSE value END END AS utility,
           $policy_hash AS policy_hash
    FROM grid
    LEFT JOIN (FROM measured WHERE day = $day) USING (group_id, arm)
    LEFT JOIN before USING (group_id, arm)
)
ORDER BY group_id, arm
