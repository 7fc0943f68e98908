"""Reference implementations, written from what official evaluation scripts do: naive, slow, sharing nothing with the
code they judge.
"""
