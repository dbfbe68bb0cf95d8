"""The command palette: every key of the screen on top, by what it does."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from textual.binding import Binding
from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.dom import DOMNode


class ScreenCommands(Provider):
    """The bindings of the screen, and of the widget that has the focus."""

    def _bindings(self) -> Iterator[tuple[Binding, str]]:
        for active in self.screen.active_bindings.values():
            binding = active.binding
            if binding.description and active.enabled and not binding.system and binding.id not in _OWN:
                yield binding, self.app.get_key_display(binding)

    async def discover(self) -> Hits:
        """All of them, before anything is written."""
        for binding, key in self._bindings():
            run = partial(self.app.run_action, binding.action, self._target(binding))
            yield DiscoveryHit(binding.description, run, help=f"key {key}")

    async def search(self, query: str) -> Hits:
        """Those that match."""
        matcher = self.matcher(query)
        for binding, key in self._bindings():
            score = matcher.match(binding.description)
            if score > 0:
                run = partial(self.app.run_action, binding.action, self._target(binding))
                yield Hit(score, matcher.highlight(binding.description), run, help=f"key {key}")

    def _target(self, binding: Binding) -> DOMNode:
        for active in self.screen.active_bindings.values():
            if active.binding is binding:
                return active.node
        return self.screen


_OWN = frozenset(("app.commands", "table.up", "table.down"))
