"""The client's surface."""
