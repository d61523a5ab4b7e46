-- The day's money as entries. Within every part the entries sum to zero.
WITH claims AS (
    -- parts of videos that are in force
    SELECT *, sum(part) OVER (PARTITION BY video_id) AS whole
    FROM (SELECT * FROM shares WHERE day <= $day QUALIFY row_number() OVER (PARTITION BY share_id ORDER BY day DESC) = 1)
    WHERE coalesce(first_day, day) <= $day AND $day <= coalesce(last_day, $day::DATE) AND part > 0
),
earned AS (
    SELECT video_id, creator_id, sum(payout_micros) AS micros FROM (
        SELECT video_id, creator_id, payout_micros FROM ad_payouts WHERE day = $day AND video_id IN (SELECT video_id FROM claims)
        UNION ALL SELECT video_id, creator_id, payout_micros FROM pulse_payouts WHERE day = $day AND video_id IN (SELECT video_id FROM claims)
        UNION ALL SELECT video_id, creator_id, payout_micros FROM donation_splits WHERE day = $day AND video_id IN (SELECT video_id FROM claims))
    GROUP BY ALL
),
cut AS (
    SELECT e.video_id, e.creator_id, party_id, micros, disputed OR whole <> 1000000 AS held, micros * part // whole AS least,
           row_number() OVER (PARTITION BY e.video_id ORDER BY micros * part % whole DESC, share_id) AS place
    FROM earned AS e JOIN claims USING (video_id)
),
shared AS (
    -- whole micros by largest remainder, ties by share_id
    SELECT *, least + CASE WHEN place <= micros - sum(least) OVER (PARTITION BY video_id) THEN 1 ELSE 0 END AS amount FROM cut
),
legs AS (
    -- revenue of a category: the platform's share leaves at once, the rest enters the pool
    SELECT 'revenue:ads' AS account, 'intake:' || category AS part, -revenue_micros AS micros FROM ad_pools WHERE day = $day
    UNION ALL SELECT 'platform', 'intake:' || category, platform_micros FROM ad_pools WHERE day = $day
    UNION ALL SELECT 'pool:' || category, 'intake:' || category, revenue_micros - platform_micros FROM ad_pools WHERE day = $day
    -- carried in, spread over other pools, carried out
    UNION ALL SELECT 'carry:' || category, 'carry-in:' || category, -carry_in_micros FROM ad_pools WHERE day = $day
    UNION ALL SELECT 'pool:' || category, 'carry-in:' || category, carry_in_micros FROM ad_pools WHERE day = $day
    UNION ALL SELECT 'pool:' || category, 'spread', spread_micros FROM ad_pools WHERE day = $day
    UNION ALL SELECT 'pool:' || category, 'carry-out:' || category, -carry_out_micros FROM ad_pools WHERE day = $day
    UNION ALL SELECT 'carry:' || category, 'carry-out:' || category, carry_out_micros FROM ad_pools WHERE day = $day
    -- pool to creators: the day's own money, and what was carried in
    UNION ALL SELECT 'pool:' || category, 'ads:' || category, carried_micros - payout_micros FROM ad_payouts WHERE day = $day
    UNION ALL SELECT 'creator:' || creator_id, 'ads:' || category, payout_micros - carried_micros FROM ad_payouts WHERE day = $day
    UNION ALL SELECT 'pool:' || category, 'carry:' || category, -carried_micros FROM ad_payouts WHERE day = $day
    UNION ALL SELECT 'creator:' || creator_id, 'carry:' || category, carried_micros FROM ad_payouts WHERE day = $day
    -- Pulse and coins: split between the creator and the platform
    UNION ALL SELECT 'revenue:ads', 'pulse', -revenue_micros FROM pulse_payouts WHERE day = $day
    UNION ALL SELECT 'creator:' || creator_id, 'pulse', payout_micros FROM pulse_payouts WHERE day = $day
    UNION ALL SELECT 'platform', 'pulse', revenue_micros - payout_micros FROM pulse_payouts WHERE day = $day
    UNION ALL SELECT 'revenue:coins', 'coins', -revenue_micros FROM donation_splits WHERE day = $day
    UNION ALL SELECT 'creator:' || creator_id, 'coins', payout_micros FROM donation_splits WHERE day = $day
    UNION ALL SELECT 'platform', 'coins', revenue_micros - payout_micros FROM donation_splits WHERE day = $day
    -- a budget-neutral restatement: creators together get what they got before
    UNION ALL SELECT 'creator:' || creator_id, 'adjustment', amount_micros FROM adjustments WHERE day = $day
    UNION ALL SELECT 'platform', 'adjustment', -amount_micros FROM adjustments WHERE day = $day
    -- what a video earned, from its creator to everybody who has a part in it; a part in dispute is held
    UNION ALL SELECT 'creator:' || creator_id, 'share:' || video_id, -amount FROM shared
    UNION ALL SELECT CASE WHEN held THEN 'dispute:' || video_id ELSE 'creator:' || party_id END, 'share:' || video_id, amount FROM shared
)
SELECT account, part, CAST(sum(micros) AS BIGINT) AS amount_micros
FROM legs
GROUP BY account, part
HAVING sum(micros) <> 0
ORDER BY account, part
