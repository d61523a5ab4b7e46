-- What each category has to hand out and whom it could pay: revenue next to no Pulse video, money carried in, eligible videos.
WITH revenue AS (
    SELECT category, sum(amount_micros) AS micros
    FROM ad_revenue
    WHERE day = $day AND (video_id IS NULL OR video_id NOT IN (SELECT video_id FROM pulse_payouts WHERE day = $day))
    GROUP BY category
),
carried AS (
    SELECT category, carry_out_micros AS micros FROM ad_pools WHERE day = $day_before AND carry_out_micros > 0
),
eligible AS (
    SELECT category, count(*) AS videos, max(effective_views) AS most FROM ad_candidates GROUP BY category
)
SELECT category,
       CAST(coalesce(revenue.micros, 0) AS BIGINT) AS revenue,
       CAST(coalesce(carried.micros, 0) AS BIGINT) AS carry_in,
       coalesce(eligible.videos, 0) AS videos,
       coalesce(eligible.most, 0) > 0 AS anybody_watched
FROM revenue
FULL JOIN carried USING (category)
LEFT JOIN eligible USING (category)
ORDER BY category
