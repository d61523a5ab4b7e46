-- What treatment did from $first_day to $day, by size of the group: table 2 of Yao et al. Groups, those with most viewers first, are cut into
-- $parts parts of about as many sessions each; a group belongs where the middle of its sessions lies. Part 0 is everybody.
-- Who was drawn into an arm counts, also who watched nothing. Viewers are independent, their sessions are not: the variance of the ratio
-- R = Y / N of sums over m viewers is m / (m - 1) * sum (y - R n)^2 / N^2, and a mean is such a ratio with n = 1.
-- A gain is a ratio of two such ratios; its interval is that of its logarithm.
WITH

member AS (
    SELECT viewer_id, arg_max(group_id, day) AS group_id, arg_max(arm, day) AS arm FROM viewer_groups WHERE day <= $day GROUP BY viewer_id
),

video AS (
    SELECT video_id, arg_max(length_ms, day) AS length_ms, arg_max(categories, day) AS categories
    FROM videos WHERE day <= $day GROUP BY video_id
),

watched AS (
    SELECT e.viewer_id, e.video_id, count(*) AS n,
           sum(CASE $metric
               WHEN 'ltr' THEN 1000000 * e.liked::BIGINT
               WHEN 'comments' THEN 1000000 * e.commented::BIGINT
               WHEN 'shares' THEN 1000000 * e.shared::BIGINT
               WHEN 'follows' THEN 1000000 * e.followed::BIGINT
               WHEN 'completion' THEN 1000000 * least(e.watch_ms, v.length_ms) // v.length_ms
           END) AS y
    FROM viewer_events AS e
    JOIN video AS v USING (video_id)
    WHERE e.day BETWEEN $first_day AND $day
    GROUP BY e.viewer_id, e.video_id
),

topics AS (
    SELECT viewer_id, count(DISTINCT topic)::DOUBLE AS topics
    FROM (SELECT viewer_id, unnest(categories) AS topic FROM watched JOIN video USING (video_id))
    GROUP BY viewer_id
),

viewer AS (
    SELECT m.viewer_id, m.group_id, m.arm, coalesce(w.n, 0)::DOUBLE AS n, coalesce(w.y, 0) AS y, coalesce(t.topics, 0) AS topics
    FROM member AS m
    LEFT JOIN (SELECT viewer_id, sum(n) AS n, sum(y)::DOUBLE / 1e6 AS y FROM watched GROUP BY viewer_id) AS w USING (viewer_id)
    LEFT JOIN topics AS t USING (viewer_id)
    WHERE list_contains($arms, m.arm)
),

ranked AS (
    SELECT group_id, viewers, row_number() OVER bigger AS rank,
           least($parts, 1 + floor($parts * (sum(n) OVER bigger - n / 2) / sum(n) OVER ())::BIGINT) AS part
    FROM (SELECT group_id, count(*) AS viewers, sum(n) AS n FROM viewer GROUP BY group_id)
    WINDOW bigger AS (ORDER BY viewers DESC, group_id ROWS UNBOUNDED PRECEDING)
),

placed AS (
    FROM (SELECT v.*, r.rank, unnest([0, r.part]) AS part FROM viewer AS v JOIN ranked AS r USING (group_id))
),

-- every measure as a sum over a sum
parts AS (
    SELECT part, arm, min(rank) AS first_rank, max(rank) AS last_rank, count(*) AS viewers, sum(n)::BIGINT AS sessions,
           unnest([
               {'measure': $metric, 'm': count_if(n > 0), 'over': sum(n), 'value': sum(y) / nullif(sum(n), 0),
                'yy': sum(y * y), 'yn': sum(y * n), 'nn': sum(n * n)},
               {'measure': 'impressions', 'm': count(*), 'over': count(*)::DOUBLE, 'value': avg(n),
                'yy': sum(n * n), 'yn': sum(n), 'nn': count(*)::DOUBLE},
               {'measure': 'topics', 'm': count(*), 'over': count(*)::DOUBLE, 'value': avg(topics),
                'yy': sum(topics * topics), 'yn': sum(topics), 'nn': count(*)::DOUBLE}
           ], recursive := true)
    FROM placed
    GROUP BY part, arm
),

measured AS (
    SELECT *, greatest(0, m / nullif(m - 1, 0) * (yy - 2 * value * yn + value * value * nn)) / (over * over) / nullif(value, 0) ** 2 AS spread
    FROM parts
)

SELECT t.part, least(t.first_rank, c.first_rank) AS first_rank, greatest(t.last_rank, c.last_rank) AS last_rank,
       t.viewers AS treated, c.viewers AS controls, t.sessions + c.sessions AS sessions, t.measure, t.value AS treatment, c.value AS control,
       ln(nullif(t.value, 0) / nullif(c.value, 0)) AS log_gain, sqrt(t.spread + c.spread) AS error
FROM measured AS t
JOIN measured AS c USING (part, measure)
WHERE t.arm = $arms[1] AND c.arm = $arms[2]
ORDER BY t.part, t.measure <> $metric, t.measure
