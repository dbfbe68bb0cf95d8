"""Logic: queries, predicates, rules."""
