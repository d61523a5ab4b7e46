"""What if another policy paid: days paid again under it, beside the policy that pays, and nothing
written.

`scratch` pays days in memory with the pipeline's own assets, `comparison` says who gains and loses
and how the platform moves, `report` and `cli` show it.
"""
