"""The clauses of reads: `where`, `order`, `limit`, `after`, `fields`, `default`, as types, as text and as data.

`terms` has the types; `builder` makes them in Python, `text` reads what people write, `wire` what comes over the wire,
which may be text or data. docs/nested-reads.md is their reference.
"""
