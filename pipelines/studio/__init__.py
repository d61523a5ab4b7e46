"""The workbench in a browser: days, policies against each other, creators. It reads the published
copy, and writes nothing but new policy files.
"""
