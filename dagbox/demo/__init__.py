"""A node on real data, the Python distributions installed on this machine, with gentle traffic."""
