-- The day's money as entries. Within every part the entries sum to zero.
WITH legs AS (
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
)
SELECT account, part, CAST(sum(micros) AS BIGINT) AS amount_micros
FROM legs
GROUP BY account, part
HAVING sum(micros) <> 0
ORDER BY account, part
