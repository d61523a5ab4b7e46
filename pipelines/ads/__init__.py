"""Advertising money: candidates, Pulse, pools, the rules of a policy, payouts."""
