"""The operations of reader, writer, lock and logic: one class for each, and the limits of requests.

The client makes the objects from the arguments of a call; over the wire they are maps (`to_wire`, `from_wire`); the
services do them. docs/protocol.md lists them, generated from these classes by scripts/protocol_docs.py.
"""
