"""A made-up platform: viewers, bots, gifts, advertising, late and rotten rows."""
