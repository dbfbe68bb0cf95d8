"""The functions of the commands: `function(shell, **values)` returns a result, or None where there is none.

A danger function, `danger_of_...(shell, **values)`, says what would be lost, as in "delete user/ada"; None if nothing.
"""
