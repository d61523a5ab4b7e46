-- Pulse: the best $pulse_count compliant videos by Q (or what is assured of it), those among them that are safe enough, and the money next to them.
-- Ties in Q are decided by a hash of the id, so that neither row order nor the id's spelling favours anybody.
WITH best AS (
    SELECT video_id, creator_id, quality, safety
    FROM video_quality
    WHERE day = $day AND compliant AND CASE WHEN $assured THEN assured ELSE quality END > 0
    ORDER BY CASE WHEN $assured THEN assured ELSE quality END DESC, sha256(video_id), video_id
    LIMIT $pulse_count
),
revenue AS (
    SELECT video_id, CAST(sum(amount_micros) AS BIGINT) AS revenue_micros
    FROM ad_revenue
    WHERE day = $day AND video_id IS NOT NULL
    GROUP BY video_id
)
SELECT $day AS day, video_id, creator_id, quality, safety,
       coalesce(revenue_micros, 0) AS revenue_micros,
       CAST(CAST(coalesce(revenue_micros, 0) AS HUGEINT) * $share_over // $share_under AS BIGINT) AS payout_micros,
       $policy_hash AS policy_hash
FROM best LEFT JOIN revenue USING (video_id)
WHERE safety >= $min_safety
ORDER BY video_id
