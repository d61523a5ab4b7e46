-- The videos in force on the day: the latest snapshot of each. A CTE that tier.sql, score.sql,
-- known.sql and evidence_score.sql go on from.
video AS (
    SELECT
        v.video_id,
        v.creator_id,
        v.length_ms,
        v.compliant,
        -- S = max(0, s_plus - tau s_tox); rounded, because 0.07 - 0.1 * 0.7 leaves 1e-17, whose
        -- power is far from 0
        greatest(
            0e0,
            round(
                coalesce(v.s_plus, $neutral_s_plus)
                - $toxicity_penalty * coalesce(v.s_tox, $neutral_s_tox),
                15
            )
        ) AS safety,
        CASE
            WHEN v.s_plus IS NULL AND v.s_tox IS NULL THEN 'neutral'
            WHEN v.s_tox IS NULL THEN 'only s_plus'
            WHEN v.s_plus IS NULL THEN 'only s_tox'
            ELSE 'given'
        END AS safety_source,
        -- least watch time of a qualified view; decimal, because 0.1 * 30 is not 3 in binary
        greatest(
            least($min_watch_ms, v.length_ms),
            CAST(
                ceil(
                    CAST($min_watch_fraction AS DECIMAL(19, 17))
                    * CAST(v.length_ms AS DECIMAL(18, 0))
                ) AS BIGINT
            )
        ) AS qualifying_ms
    FROM videos AS v
    JOIN (
        SELECT video_id, max(day) AS day FROM videos WHERE day <= $day GROUP BY video_id
    ) AS latest ON latest.video_id = v.video_id AND latest.day = v.day
)
