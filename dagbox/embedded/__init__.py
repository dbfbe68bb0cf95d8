"""The embedded node: the services as plain calls in the caller's process."""
