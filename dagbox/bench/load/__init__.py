"""Load on a database, measured: what `dagbox bench` does.

Pure: `plan`, `schedule`, `choice`, `latencies`, `outcome`, `compare`, `picture`. The rest starts processes and talks.
"""
