# Generated from dagbox/client/_async/__init__.py by scripts/unasync.py: change that file, then run the script.
"""The client's surface."""
