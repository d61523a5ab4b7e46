-- Scores from what is known (known.sql, here the table `known`) and the day's priors: every rate is
-- (sum + strength * platform's rate) / (viewers' worth + strength); docs/formulas.md section 1.
rate AS (
    SELECT
        k.*,
        (k.watched + k.glanced + $prior_watch * $rate_watch)
        / (k.stayed + k.passed + $prior_watch) AS watch,
        (k.rewatched + $prior_rewatch * $rate_rewatch) / (k.stayed + $prior_rewatch) AS rewatch,
        (k.liked + $prior_like * $rate_like) / (k.acting + $prior_like) AS r_like,
        (k.commented + $prior_comment * $rate_comment) / (k.acting + $prior_comment) AS r_comment,
        (k.shared + $prior_share * $rate_share) / (k.acting + $prior_share) AS r_share,
        (k.followed + $prior_follow * $rate_follow) / (k.acting + $prior_follow) AS r_follow,
        (k.sure_watched + $prior_watch * $rate_watch)
        / (k.sure_stayed + k.sure_passed + $prior_watch) AS sure_watch,
        (k.sure_rewatched + $prior_rewatch * $rate_rewatch)
        / (k.sure_stayed + $prior_rewatch) AS sure_rewatch
    FROM known AS k
),

component AS (
    SELECT
        r.*,
        least(1e0, $beta_like * r.r_like + $beta_comment * r.r_comment + $beta_share * r.r_share
            + $beta_follow * r.r_follow) AS engagement,
        r.r_like + r.r_comment + r.r_share + r.r_follow AS acted
    FROM rate AS r
),

spread AS (
    SELECT
        c.*,
        least(1e0, greatest(0e0, (
            0e0
            - CASE
                WHEN c.r_like > 0 THEN c.r_like / c.acted * ln(c.r_like / c.acted) ELSE 0e0
            END
            - CASE
                WHEN c.r_comment > 0 THEN c.r_comment / c.acted * ln(c.r_comment / c.acted) ELSE 0e0
            END
            - CASE
                WHEN c.r_share > 0 THEN c.r_share / c.acted * ln(c.r_share / c.acted) ELSE 0e0
            END
            - CASE
                WHEN c.r_follow > 0 THEN c.r_follow / c.acted * ln(c.r_follow / c.acted) ELSE 0e0
            END
        ) / ln(4e0))) AS diversity,
        -- the variance of ln Q that verified viewers leave open (delta method)
        $phi_watch * $phi_watch * (1e0 - c.sure_watch)
        / (c.sure_watch * (c.sure_stayed + c.sure_passed + $prior_watch))
        + $phi_rewatch * $phi_rewatch * (1e0 - c.sure_rewatch)
        / (c.sure_rewatch * (c.sure_stayed + $prior_rewatch))
        + $phi_engagement * $phi_engagement * (
            $beta_like * $beta_like * c.r_like / (c.sure_stayed + $prior_like)
            + $beta_comment * $beta_comment * c.r_comment / (c.sure_stayed + $prior_comment)
            + $beta_share * $beta_share * c.r_share / (c.sure_stayed + $prior_share)
            + $beta_follow * $beta_follow * c.r_follow / (c.sure_stayed + $prior_follow)
        ) / (c.engagement * c.engagement) AS variance
    FROM component AS c
),

scored AS (
    SELECT
        s.*,
        v.creator_id,
        v.compliant,
        v.safety,
        v.safety_source,
        CASE
            WHEN v.compliant
                THEN least(1e0, power(
                    power(s.watch, $phi_watch)
                    * power(s.engagement, $phi_engagement)
                    * power(s.diversity, $phi_diversity)
                    * power(s.rewatch, $phi_rewatch)
                    * power(v.safety, $phi_safety),
                    $contrast
                ))
            ELSE 0e0
        END AS quality,
        CASE
            WHEN v.compliant AND s.sure_stayed >= $least_evidence
                THEN least(1e0, power(
                    power(s.sure_watch, $phi_watch)
                    * power(s.engagement, $phi_engagement)
                    * power(s.sure_rewatch, $phi_rewatch)
                    * power(v.safety, $phi_safety)
                    * exp(0e0 - $confidence * sqrt(s.variance)),
                    $contrast
                ))
            ELSE 0e0
        END AS assured
    FROM spread AS s
    JOIN video AS v ON v.video_id = s.video_id
)

SELECT
    $day AS day,
    s.video_id,
    s.creator_id,
    s.compliant,
    CAST(s.viewers AS BIGINT) AS viewers,
    s.qualified AS qualified_views,
    s.stayed + s.passed AS trust_mass,
    s.k AS unverified_scale,
    coalesce(s.qualified / nullif(s.unweighted, 0e0), 1e0) AS group_weight,
    s.watch,
    s.engagement,
    s.diversity,
    s.rewatch,
    s.safety,
    s.quality,
    s.qualified * s.quality AS effective_views,
    s.assured,
    s.safety_source,
    $policy_hash AS policy_hash
FROM scored AS s
