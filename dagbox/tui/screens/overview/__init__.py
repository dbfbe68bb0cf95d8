"""Overview: services, workers, events, dead letters."""
