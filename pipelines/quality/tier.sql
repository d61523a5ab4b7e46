-- Sums over the events of the window, per video and tier of viewers, as whole numbers: trust in
-- millionths, watch time in milliseconds. They are divided once, in the scores made of them
-- (score.sql, known.sql), so neither the order of the rows nor the number of threads can move a
-- bit of them.
-- docs/formulas.md section 1. CTEs after `video` (video.sql) and `reward`, the weight of each
-- viewer's group, which has no rows where the policy has no mechanism: then every weight is 1.
-- Plain SQL: the same text runs on DuckDB and, transpiled by sqlglot, on Spark.

-- Who may watch: the latest snapshot of each viewer.
viewer AS (
    SELECT
        v.viewer_id,
        v.verified,
        -- w_i = alpha * trust, in millionths
        CAST(
            round(
                1e6 * v.trust
                * CASE WHEN v.verified THEN $trust_verified ELSE $trust_unverified END
            ) AS INTEGER
        ) AS trust,
        g.weight
    FROM viewers AS v
    JOIN (
        SELECT viewer_id, max(day) AS day FROM viewers WHERE day <= $day GROUP BY viewer_id
    ) AS latest ON latest.viewer_id = v.viewer_id AND latest.day = v.day
    LEFT JOIN reward AS g ON g.viewer_id = v.viewer_id
),

-- One row per (video, viewer): watch time is the longest session, an action counts once however
-- often it was repeated. On a single day most viewers have one session, which is that row already;
-- only the others are rolled up.
viewing AS (
    SELECT
        video_id,
        viewer_id,
        watch_ms AS longest_ms,
        watch_ms AS total_ms,
        watch_ms AS longest_today_ms,
        liked,
        commented,
        shared,
        followed
    FROM viewer_events
    WHERE day BETWEEN $first_day AND $day AND NOT (coalesce(repeated, TRUE) OR $first_day < $day)

    UNION ALL

    SELECT
        video_id,
        viewer_id,
        max(watch_ms) AS longest_ms,
        sum(watch_ms) AS total_ms,
        max(CASE WHEN day = $day THEN watch_ms END) AS longest_today_ms,
        bool_or(liked) AS liked,
        bool_or(commented) AS commented,
        bool_or(shared) AS shared,
        bool_or(followed) AS followed
    FROM viewer_events
    WHERE day BETWEEN $first_day AND $day AND (coalesce(repeated, TRUE) OR $first_day < $day)
    GROUP BY video_id, viewer_id
),

-- Who watched, with their trust. A viewer no snapshot knows is unverified with trust 1.
weighted AS (
    SELECT
        e.video_id,
        coalesce(v.verified, FALSE) AS verified,
        coalesce(v.trust, $unknown_trust) AS trust,
        least(e.longest_ms, d.length_ms) AS watched_ms,
        e.total_ms > d.length_ms AS rewatched,
        -- what the viewer adds to the day's qualified views, in millionths, before their group's
        -- weight
        CASE
            WHEN e.longest_today_ms >= d.qualifying_ms
                THEN
                    CASE
                        WHEN $views_by_trust THEN coalesce(v.trust, $unknown_trust) ELSE 1000000
                    END
            ELSE 0
        END AS counted,
        coalesce(v.weight, 1000000) AS weight,
        -- whose actions count; by mass everybody's
        e.longest_ms >= d.qualifying_ms OR NOT $by_evidence AS stayed,
        e.liked,
        e.commented,
        e.shared,
        e.followed
    FROM viewing AS e
    JOIN video AS d ON d.video_id = e.video_id
    LEFT JOIN viewer AS v ON v.viewer_id = e.viewer_id
),

-- Sums of trust per video, verified and unverified viewers apart: caps scale only the latter.
tier AS (
    SELECT
        video_id,
        verified,
        count(*) AS viewers,
        sum(trust) AS mass,
        -- DECIMAL: millionths times milliseconds outgrow 64 bits
        sum(CAST(CAST(trust AS BIGINT) * watched_ms AS DECIMAL(18, 0))) AS watched,
        coalesce(sum(trust) FILTER (WHERE liked AND stayed), 0) AS liked,
        coalesce(sum(trust) FILTER (WHERE commented AND stayed), 0) AS commented,
        coalesce(sum(trust) FILTER (WHERE shared AND stayed), 0) AS shared,
        coalesce(sum(trust) FILTER (WHERE followed AND stayed), 0) AS followed,
        coalesce(sum(trust) FILTER (WHERE rewatched AND stayed), 0) AS rewatched,
        coalesce(sum(trust) FILTER (WHERE NOT stayed), 0) AS passed,
        coalesce(
            sum(CAST(CAST(trust AS BIGINT) * watched_ms AS DECIMAL(18, 0)))
                FILTER (WHERE NOT stayed),
            0
        ) AS passed_watched,
        sum(counted) AS unweighted,
        sum(CAST(round(counted * CAST(weight AS DOUBLE) / 1e6) AS BIGINT)) AS counted
    FROM weighted
    GROUP BY video_id, verified
)
