"""ZeroMQ transports: sockets, addresses, and the clients' connections."""
