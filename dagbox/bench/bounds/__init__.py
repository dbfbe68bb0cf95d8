"""The bounds that the project sets itself (`table`), and the suites that measure those that no other suite measures."""
