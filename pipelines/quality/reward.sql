-- The weight of each viewer's group today, in millionths (docs/formulas.md section 5); the control
-- arm of an experiment has none. A CTE for tier.sql; scoring.py has the one without rows.
reward AS (
    SELECT
        g.viewer_id,
        CAST(round(1e6 * w.weight) AS BIGINT) AS weight
    FROM viewer_groups AS g
    JOIN (
        SELECT viewer_id, max(day) AS day FROM viewer_groups WHERE day <= $day GROUP BY viewer_id
    ) AS latest ON latest.viewer_id = g.viewer_id AND latest.day = g.day
    JOIN group_weights AS w ON w.group_id = g.group_id
    WHERE w.day = $day AND g.arm <> $control
)
