"""The lock service: lease operations, journaled before they are answered."""
