"""Polls: what is asked for, where they come from, what is known from them. Knows no Textual."""
