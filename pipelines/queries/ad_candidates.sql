-- Who competes in which pool: every compliant video that was watched on the day, once for each of its categories.
-- (arg_max_null: an identity that the latest snapshot no longer has does not hold any more; arg_max would go back to an older one.)
-- The unit of fairness is the video, or the verified identity behind the creator's account, or the account.
SELECT category, q.video_id, q.creator_id, q.effective_views,
       CASE WHEN $fairness_unit = 'video' THEN q.video_id ELSE coalesce(c.identity_id, q.creator_id) END AS unit_id
FROM video_quality AS q
JOIN (SELECT video_id, unnest(arg_max(categories, day)) AS category FROM videos WHERE day <= $day GROUP BY video_id) AS v USING (video_id)
LEFT JOIN (SELECT creator_id, arg_max_null(identity_id, day) AS identity_id FROM creators WHERE day <= $day GROUP BY creator_id) AS c
    USING (creator_id)
WHERE q.day = $day AND q.compliant AND q.qualified_views > 0
  AND ($pulse_in_pools OR q.video_id NOT IN (SELECT video_id FROM pulse_payouts WHERE day = $day))
