"""The `earnings` command, one file a family of commands: thin over functions that the assets and
the tests call.
"""
