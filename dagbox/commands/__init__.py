"""The subcommands of `dagbox`, one module for each group; `dagbox.cli` imports them when they run."""
