-- Quality scores by mass (the ad revenue document, section 4; docs/formulas.md section 1): from the
-- sums of `tier` (tier.sql) and the videos in force (video.sql). Parameters: scoring.py.

-- From here on a trust is a DOUBLE in viewers' worth: 1 is one fully trusted viewer.
mass AS (
    SELECT
        tier.video_id,
        tier.verified,
        tier.viewers,
        CAST(mass AS DOUBLE) / 1e6 AS mass,
        CAST(watched AS DOUBLE) / CAST(video.length_ms AS DOUBLE) / 1e6 AS watched,
        CAST(liked AS DOUBLE) / 1e6 AS liked,
        CAST(commented AS DOUBLE) / 1e6 AS commented,
        CAST(shared AS DOUBLE) / 1e6 AS shared,
        CAST(followed AS DOUBLE) / 1e6 AS followed,
        CAST(rewatched AS DOUBLE) / 1e6 AS rewatched,
        CAST(unweighted AS DOUBLE) / 1e6 AS unweighted,
        CAST(counted AS DOUBLE) / 1e6 AS qualified
    FROM tier
    JOIN video ON video.video_id = tier.video_id
),

-- The platform's own rates over the window, before the cap: the priors W0, A0, R0, and rho.
platform AS (
    SELECT
        verified_mass,
        unverified_mass,
        -- completed viewing is a fraction per video: summed in billionths of a viewer, again as
        -- integers
        coalesce(completed / 1e3 / mass, 0e0) AS watched,
        coalesce(liked / mass, 0e0) AS liked,
        coalesce(commented / mass, 0e0) AS commented,
        coalesce(shared / mass, 0e0) AS shared,
        coalesce(followed / mass, 0e0) AS followed,
        coalesce(rewatched / mass, 0e0) AS rewatched
    FROM (
        SELECT
            CAST(sum(CASE WHEN verified THEN mass ELSE 0 END) AS DOUBLE) AS verified_mass,
            CAST(sum(CASE WHEN verified THEN 0 ELSE mass END) AS DOUBLE) AS unverified_mass,
            nullif(CAST(sum(mass) AS DOUBLE), 0e0) AS mass,
            CAST(
                sum(
                    CAST(
                        round(1e3 * CAST(watched AS DOUBLE) / CAST(video.length_ms AS DOUBLE))
                        AS DECIMAL(18, 0)
                    )
                ) AS DOUBLE
            ) AS completed,
            CAST(sum(liked) AS DOUBLE) AS liked,
            CAST(sum(commented) AS DOUBLE) AS commented,
            CAST(sum(shared) AS DOUBLE) AS shared,
            CAST(sum(followed) AS DOUBLE) AS followed,
            CAST(sum(rewatched) AS DOUBLE) AS rewatched
        FROM tier
        JOIN video ON video.video_id = tier.video_id
    ) AS total
),

-- k = min(1, kappa rho (V + v0 alpha_ver) / U); no kappa, no unverified viewer or no verified mass
-- anywhere: no cap.
cap AS (
    SELECT
        a.video_id,
        CASE
            WHEN $unverified_cap IS NULL OR a.unverified_mass = 0 OR p.verified_mass = 0 THEN 1e0
            ELSE least(
                1e0,
                $unverified_cap * (p.unverified_mass / p.verified_mass)
                * (a.verified_mass + $unverified_allowance * $trust_verified) / a.unverified_mass
            )
        END AS scale
    FROM (
        SELECT
            video_id,
            max(CASE WHEN verified THEN mass ELSE 0e0 END) AS verified_mass,
            max(CASE WHEN verified THEN 0e0 ELSE mass END) AS unverified_mass
        FROM mass
        GROUP BY video_id
    ) AS a
    CROSS JOIN platform AS p
),

-- Both tiers of a video together. At most two terms each, and a + b = b + a: order cannot matter
-- here.
audience AS (
    SELECT
        m.video_id,
        max(c.scale) AS unverified_scale,
        sum(m.viewers) AS viewers,
        sum(CASE WHEN m.verified THEN m.mass ELSE c.scale * m.mass END) AS mass,
        sum(CASE WHEN m.verified THEN m.watched ELSE c.scale * m.watched END) AS watched,
        sum(CASE WHEN m.verified THEN m.liked ELSE c.scale * m.liked END) AS liked,
        sum(CASE WHEN m.verified THEN m.commented ELSE c.scale * m.commented END) AS commented,
        sum(CASE WHEN m.verified THEN m.shared ELSE c.scale * m.shared END) AS shared,
        sum(CASE WHEN m.verified THEN m.followed ELSE c.scale * m.followed END) AS followed,
        sum(CASE WHEN m.verified THEN m.rewatched ELSE c.scale * m.rewatched END) AS rewatched,
        sum(CASE WHEN m.verified THEN m.unweighted ELSE c.scale * m.unweighted END) AS unweighted,
        sum(CASE WHEN m.verified THEN m.qualified ELSE c.scale * m.qualified END) AS qualified
    FROM mass AS m
    JOIN cap AS c ON c.video_id = m.video_id
    GROUP BY m.video_id
),

-- Shrunk rates: (sum w x + m x0) / (sum w + m). Nobody trusted and no prior: 0.
rate AS (
    SELECT
        a.video_id,
        coalesce(
            (a.watched + $prior_mass * p.watched) / nullif(a.mass + $prior_mass, 0e0), 0e0
        ) AS watch,
        coalesce(
            (a.liked + $prior_mass * p.liked) / nullif(a.mass + $prior_mass, 0e0), 0e0
        ) AS liked,
        coalesce(
            (a.commented + $prior_mass * p.commented) / nullif(a.mass + $prior_mass, 0e0), 0e0
        ) AS commented,
        coalesce(
            (a.shared + $prior_mass * p.shared) / nullif(a.mass + $prior_mass, 0e0), 0e0
        ) AS shared,
        coalesce(
            (a.followed + $prior_mass * p.followed) / nullif(a.mass + $prior_mass, 0e0), 0e0
        ) AS followed,
        coalesce(
            (a.rewatched + $prior_mass * p.rewatched) / nullif(a.mass + $prior_mass, 0e0), 0e0
        ) AS rewatch
    FROM audience AS a
    CROSS JOIN platform AS p
),

-- p_a = A_a / sum A: how the actions of a video divide among the four kinds. NULL where there is
-- none.
mix AS (
    SELECT
        video_id,
        liked / nullif(liked + commented + shared + followed, 0e0) AS liked,
        commented / nullif(liked + commented + shared + followed, 0e0) AS commented,
        shared / nullif(liked + commented + shared + followed, 0e0) AS shared,
        followed / nullif(liked + commented + shared + followed, 0e0) AS followed
    FROM rate
),

component AS (
    SELECT
        r.video_id,
        least(1e0, r.watch) AS watch,
        -- E = sum beta_a A_a
        least(
            1e0,
            $beta_like * r.liked + $beta_comment * r.commented
            + $beta_share * r.shared + $beta_follow * r.followed
        ) AS engagement,
        -- D = -sum p_a log p_a / log 4, with 0 log 0 = 0
        least(
            1e0,
            greatest(
                0e0,
                (
                    0e0
                    - CASE WHEN x.liked > 0 THEN x.liked * ln(x.liked) ELSE 0e0 END
                    - CASE WHEN x.commented > 0 THEN x.commented * ln(x.commented) ELSE 0e0 END
                    - CASE WHEN x.shared > 0 THEN x.shared * ln(x.shared) ELSE 0e0 END
                    - CASE WHEN x.followed > 0 THEN x.followed * ln(x.followed) ELSE 0e0 END
                ) / ln(4e0)
            )
        ) AS diversity,
        least(1e0, r.rewatch) AS rewatch
    FROM rate AS r
    JOIN mix AS x ON x.video_id = r.video_id
),

-- Q = C min(1, W^pW E^pE D^pD R^pR S^pS); power(0, 0) = 1.
quality AS (
    SELECT
        c.video_id,
        c.watch,
        c.engagement,
        c.diversity,
        c.rewatch,
        d.safety,
        CASE
            WHEN d.compliant
                THEN least(
                    1e0,
                    power(c.watch, $phi_watch)
                    * power(c.engagement, $phi_engagement)
                    * power(c.diversity, $phi_diversity)
                    * power(c.rewatch, $phi_rewatch)
                    * power(d.safety, $phi_safety)
                )
            ELSE 0e0
        END AS quality,
        d.creator_id,
        d.compliant,
        d.safety_source
    FROM component AS c
    JOIN video AS d ON d.video_id = c.video_id
)

SELECT
    $day AS day,
    q.video_id,
    q.creator_id,
    q.compliant,
    CAST(a.viewers AS BIGINT) AS viewers,
    a.qualified AS qualified_views,
    a.mass AS trust_mass,
    a.unverified_scale,
    coalesce(a.qualified / nullif(a.unweighted, 0e0), 1e0) AS group_weight,
    q.watch,
    q.engagement,
    q.diversity,
    q.rewatch,
    q.safety,
    q.quality,
    a.qualified * q.quality AS effective_views,
    q.quality AS assured,
    q.safety_source,
    $policy_hash AS policy_hash
FROM quality AS q
JOIN audience AS a ON a.video_id = q.video_id
