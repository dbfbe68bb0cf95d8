"""The store: the protocol in `base`, and its engines `memory` and `lmdb`."""
