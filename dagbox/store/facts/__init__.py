"""Facts and rules in a store."""
