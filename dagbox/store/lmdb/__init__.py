"""The store on LMDB: one environment per directory, one named database per table."""
