"""The protocol: frames, values, operations, validation and outcomes."""
