-- Who competes in which pool: every compliant video that was watched on the day, once for each of its categories.
-- (arg_max_null: an identity that the latest snapshot no longer has does not hold any more; arg_max would go back to an older one.)
-- The unit of fairness is the video, or the verified identity behind the creator's account, or the account.
-- Where accounts are bounded, views count as ad_views says ($bounded: it was made of these very candidates).
-- Followers are those of all accounts of the identity.
WITH creator AS (
    SELECT creator_id, coalesce(arg_max_null(identity_id, day), creator_id) AS identity_id, arg_max_null(followers, day) AS followers
    FROM creators WHERE day <= $day GROUP BY creator_id
),
identity AS (
    SELECT identity_id, CAST(coalesce(sum(followers), 0) AS BIGINT) AS followers FROM creator GROUP BY identity_id
),
label AS (
    SELECT video_id, arg_max(categories, day) AS labels FROM videos WHERE day <= $day GROUP BY video_id
)
SELECT unnest(labels) AS category, q.video_id, q.creator_id, coalesce(w.effective_views, q.effective_views) AS effective_views,
       CASE WHEN $fairness_unit = 'video' THEN q.video_id ELSE coalesce(identity_id, q.creator_id) END AS unit_id,
       coalesce(identity.followers, 0) AS followers, labels
FROM video_quality AS q
JOIN label USING (video_id)
LEFT JOIN ad_views AS w ON $bounded AND w.day = q.day AND w.video_id = q.video_id
LEFT JOIN creator USING (creator_id)
LEFT JOIN identity USING (identity_id)
WHERE q.day = $day AND q.compliant AND q.qualified_views > 0
  AND ($pulse_in_pools OR q.video_id NOT IN (SELECT video_id FROM pulse_payouts WHERE day = $day))
