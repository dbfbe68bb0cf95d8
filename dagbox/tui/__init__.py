"""The dashboard: a node seen live in a terminal. It talks to the node through the public names of `dagbox` alone."""
