"""The connector: facts about a call, the hold, the check of the verdict, the release.

Runs beside the agent; holds keys that verify and none that sign.
"""
