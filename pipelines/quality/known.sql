-- What is known of every video of the day: sums of evidence, in viewers' worth, before any prior
-- (docs/formulas.md section 1). CTEs that follow `video` (video.sql); `video_evidence` has the
-- day's own sums (tier.sql), `evidence_history` those of earlier days that changed after a score
-- used them.
--
-- Integers are added before anything is divided, as in tier.sql: the same bits always.
own AS (SELECT * FROM video_evidence WHERE day = $day),

earlier AS (
    SELECT * FROM video_evidence AS e
    WHERE e.day >= $since AND e.day < $day
      AND NOT EXISTS (SELECT 1 FROM evidence_history AS h WHERE h.day = e.day)
    UNION ALL BY NAME
    SELECT * FROM evidence_history WHERE day >= $since AND day < $day
),

summed AS (
    SELECT t.*
    FROM (
        SELECT *, TRUE AS today FROM own
        UNION ALL BY NAME
        SELECT *, FALSE AS today FROM earlier
    ) AS t
    WHERE t.video_id IN (SELECT video_id FROM own)
),

together AS (
    SELECT
        t.video_id,
        t.verified,
        CAST(sum(CASE WHEN t.today THEN t.viewers ELSE 0 END) AS DOUBLE) AS viewers,
        CAST(sum(CASE WHEN t.today THEN t.mass - t.passed ELSE 0 END) AS DOUBLE)
        / 1e6 AS stayed_today,
        CAST(sum(CASE WHEN t.today THEN t.counted ELSE 0 END) AS DOUBLE) / 1e6 AS counted,
        CAST(sum(CASE WHEN t.today THEN t.unweighted ELSE 0 END) AS DOUBLE) / 1e6 AS unweighted,
        CAST(sum(t.mass - t.passed) AS DOUBLE) / 1e6 AS stayed,
        CAST(sum(t.passed) AS DOUBLE) / 1e6 AS passed,
        CAST(sum(t.watched - t.passed_watched) AS DOUBLE) / 1e6 AS watched_ms,
        CAST(sum(t.passed_watched) AS DOUBLE) / 1e6 AS passed_ms,
        CAST(sum(t.liked) AS DOUBLE) / 1e6 AS liked,
        CAST(sum(t.commented) AS DOUBLE) / 1e6 AS commented,
        CAST(sum(t.shared) AS DOUBLE) / 1e6 AS shared,
        CAST(sum(t.followed) AS DOUBLE) / 1e6 AS followed,
        CAST(sum(t.rewatched) AS DOUBLE) / 1e6 AS rewatched
    FROM summed AS t
    GROUP BY t.video_id, t.verified
),

-- A row a video: its verified (v_) and its unverified (u_) viewers side by side.
wide AS (
    SELECT
        t.video_id,
        sum(t.viewers) AS viewers,
        sum(CASE WHEN t.verified THEN t.stayed_today ELSE 0e0 END) AS v_today,
        sum(CASE WHEN t.verified THEN 0e0 ELSE t.stayed_today END) AS u_today,
        sum(CASE WHEN t.verified THEN t.counted ELSE 0e0 END) AS v_counted,
        sum(CASE WHEN t.verified THEN 0e0 ELSE t.counted END) AS u_counted,
        sum(CASE WHEN t.verified THEN t.unweighted ELSE 0e0 END) AS v_unweighted,
        sum(CASE WHEN t.verified THEN 0e0 ELSE t.unweighted END) AS u_unweighted,
        sum(CASE WHEN t.verified THEN t.stayed ELSE 0e0 END) AS v_stayed,
        sum(CASE WHEN t.verified THEN 0e0 ELSE t.stayed END) AS u_stayed,
        sum(CASE WHEN t.verified THEN t.passed ELSE 0e0 END) AS v_passed,
        sum(CASE WHEN t.verified THEN 0e0 ELSE t.passed END) AS u_passed,
        sum(
            CASE
                WHEN t.verified
                    THEN least(1e0, t.watched_ms / nullif(t.stayed * v.length_ms, 0e0)) * t.stayed
                ELSE 0e0
            END
        ) AS v_watched,
        sum(
            CASE
                WHEN t.verified THEN 0e0
                ELSE least(1e0, t.watched_ms / nullif(t.stayed * v.length_ms, 0e0)) * t.stayed
            END
        ) AS u_watched,
        sum(
            CASE
                WHEN t.verified
                    THEN least(1e0, t.passed_ms / nullif(t.passed * v.length_ms, 0e0)) * t.passed
                ELSE 0e0
            END
        ) AS v_glanced,
        sum(
            CASE
                WHEN t.verified THEN 0e0
                ELSE least(1e0, t.passed_ms / nullif(t.passed * v.length_ms, 0e0)) * t.passed
            END
        ) AS u_glanced,
        sum(CASE WHEN t.verified THEN t.rewatched ELSE 0e0 END) AS v_rewatched,
        sum(CASE WHEN t.verified THEN 0e0 ELSE t.rewatched END) AS u_rewatched,
        sum(CASE WHEN t.verified THEN t.liked ELSE 0e0 END) AS v_liked,
        sum(CASE WHEN t.verified THEN 0e0 ELSE t.liked END) AS u_liked,
        sum(CASE WHEN t.verified THEN t.commented ELSE 0e0 END) AS v_commented,
        sum(CASE WHEN t.verified THEN 0e0 ELSE t.commented END) AS u_commented,
        sum(CASE WHEN t.verified THEN t.shared ELSE 0e0 END) AS v_shared,
        sum(CASE WHEN t.verified THEN 0e0 ELSE t.shared END) AS u_shared,
        sum(CASE WHEN t.verified THEN t.followed ELSE 0e0 END) AS v_followed,
        sum(CASE WHEN t.verified THEN 0e0 ELSE t.followed END) AS u_followed
    FROM together AS t
    JOIN video AS v ON v.video_id = t.video_id
    GROUP BY t.video_id
),

platform AS (
    SELECT
        CAST(sum(CASE WHEN verified AND today THEN mass - passed ELSE 0 END) AS DOUBLE) AS v_today,
        CAST(
            sum(CASE WHEN today AND NOT verified THEN mass - passed ELSE 0 END) AS DOUBLE
        ) AS u_today,
        CAST(sum(CASE WHEN verified THEN mass - passed ELSE 0 END) AS DOUBLE) AS v_stayed,
        CAST(sum(CASE WHEN verified THEN 0 ELSE mass - passed END) AS DOUBLE) AS u_stayed,
        CAST(sum(CASE WHEN verified THEN passed ELSE 0 END) AS DOUBLE) AS v_passed
    FROM summed
),

-- How far unverified viewers count: as views (k, of today), and as evidence (e, of all days).
-- Where nobody is verified on the whole platform, everybody counts as if they were.
believed AS (
    SELECT
        w.*,
        p.v_stayed = 0 AS nobody_verified,
        p.u_today / nullif(p.v_today, 0e0) AS rho_today,
        p.u_stayed / nullif(p.v_stayed, 0e0) AS rho,
        CASE
            WHEN $unverified_cap IS NULL OR w.u_today = 0 OR p.v_today = 0 THEN 1e0
            ELSE least(
                1e0, $unverified_cap * (p.u_today / p.v_today)
                * (w.v_today + $unverified_allowance * $trust_verified) / w.u_today
            )
        END AS k,
        CASE
            WHEN p.v_stayed = 0 THEN 1e0
            WHEN $unverified_cap IS NULL OR w.u_stayed = 0 THEN $unverified_evidence
            ELSE $unverified_evidence * least(
                1e0, $unverified_cap * (p.u_stayed / p.v_stayed)
                * (w.v_stayed + $unverified_allowance * $trust_verified) / w.u_stayed
            )
        END AS e,
        CASE WHEN p.v_stayed = 0 THEN 1e0 ELSE $unverified_actions END AS acts,
        -- how many leave at once for one who stays: as verified viewers do, of the video itself as
        -- far as there are any
        (
            w.v_passed + ($unverified_allowance + 1e0)
            * (p.v_passed + 1e6) / (p.v_stayed + 1e6)
        ) / (w.v_stayed + $unverified_allowance + 1e0) AS odds
    FROM wide AS w CROSS JOIN platform AS p
),

bounded AS (
    SELECT
        *,
        CASE
            WHEN nobody_verified OR $passing_cap IS NULL OR u_passed = 0 THEN 1e0
            ELSE least(
                1e0, $passing_cap * odds * (u_stayed + $unverified_allowance + 1e0) / u_passed
            )
        END AS leaving
    FROM believed
)

SELECT
    b.video_id,
    b.viewers,
    b.k,
    b.v_counted + b.k * b.u_counted AS qualified,
    b.v_unweighted + b.k * b.u_unweighted AS unweighted,
    b.v_stayed + b.e * b.u_stayed AS stayed,
    -- of unverified viewers who left at once no more count than $passing_cap times what is usual
    b.v_passed + b.e * b.leaving * b.u_passed AS passed,
    coalesce(b.v_watched, 0e0) + b.e * coalesce(b.u_watched, 0e0) AS watched,
    coalesce(b.v_glanced, 0e0) + b.e * b.leaving * coalesce(b.u_glanced, 0e0) AS glanced,
    b.v_rewatched + b.e * b.u_rewatched AS rewatched,
    b.v_stayed + b.acts * b.e * b.u_stayed AS acting,
    b.v_liked + b.acts * b.e * b.u_liked AS liked,
    b.v_commented + b.acts * b.e * b.u_commented AS commented,
    b.v_shared + b.acts * b.e * b.u_shared AS shared,
    b.v_followed + b.acts * b.e * b.u_followed AS followed,
    -- what only verified viewers say, for Pulse
    CASE WHEN b.nobody_verified THEN b.u_stayed ELSE b.v_stayed END AS sure_stayed,
    CASE WHEN b.nobody_verified THEN b.u_passed ELSE b.v_passed END AS sure_passed,
    coalesce(
        CASE
            WHEN b.nobody_verified THEN b.u_watched + b.u_glanced
            ELSE b.v_watched + b.v_glanced
        END,
        0e0
    ) AS sure_watched,
    CASE WHEN b.nobody_verified THEN b.u_rewatched ELSE b.v_rewatched END AS sure_rewatched,
    -- what the manipulation of a score is judged by (ads/manipulation.py)
    b.* EXCLUDE (video_id, viewers, k)
FROM bounded AS b
ORDER BY b.video_id
