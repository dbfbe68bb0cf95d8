"""Results as lines of styled text: trees, tables, JSON and raw data."""
