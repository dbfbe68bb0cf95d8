"""The operations of reader, writer, lock and logic, one class each, and the limits of requests.

The client builds the objects from the arguments of a call, the services execute them, and on the wire they are maps
(`to_wire`, `from_wire`). docs/protocol.md lists them, generated from these classes by scripts/protocol_docs.py.
"""
