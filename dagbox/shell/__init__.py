"""The shell: `dagbox shell`, in which people explore a store.

One command table (`table.py`, `rows.py`) drives parsing, completion, highlighting, hints, help, confirmation
and the reference in `docs/shell.md`. The shell uses the public names of `dagbox` only.
"""
