"""Making again what was made: closed days, committed weights, a week's market. They stand above the
assets that they run.
"""
