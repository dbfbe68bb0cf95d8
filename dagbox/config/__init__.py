"""Settings from flags, environment and file, and the database that a command works on."""
