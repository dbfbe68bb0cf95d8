"""The logic service: queries, proofs, facts and rules."""
