"""Text that people write: JSON with refs, relation blocks, Datalog, and the scanner they share."""
