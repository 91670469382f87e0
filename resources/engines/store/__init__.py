"""The request store: completions that were paid for, in shards under the keys of their requests.

Knows completions and files; it knows no engine and no model.
"""
