"""The language: terms, its text and data forms, and the checks of a program."""
