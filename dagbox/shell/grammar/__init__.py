"""The shell's language: the catalog of commands, and the parser that reads them."""
