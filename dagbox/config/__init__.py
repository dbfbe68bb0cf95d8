"""Settings of the command line, and the database that a command works on: a node, or a directory."""
