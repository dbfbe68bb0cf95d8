"""The dashboard's own theme."""

from __future__ import annotations

from textual.theme import Theme

DISTINCT = Theme(
    name="dagbox-distinct",
    primary="#56B4E9",
    secondary="#CC79A7",
    accent="#F0E442",
    success="#56B4E9",
    warning="#E69F00",
    error="#FF7A45",
    background="#101418",
    foreground="#E8E8E8",
    surface="#1A2026",
    dark=True,
)
"""Blue, amber and orange of the palette of Okabe and Ito: told apart without seeing red and green differ."""
