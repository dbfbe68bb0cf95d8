"""The picture of a node: what is known of it, whether it stands still, what it is behind by. Pure; knows no Textual.

Rules:

1. The model changes only through polls taken here, in the order of their time.
2. While the picture is frozen the model stays as it is. Polls that come are kept, the last `HISTORY` of them, and are
   taken at once when it thaws.
3. A poll of another time (after a seek) is taken even when frozen: the place in a recording was changed by the user.
4. A poll that is not understood changes nothing but the state: the node counts as lost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import dagbox
from dagbox.tui.polling.model import HISTORY, NodeModel
from dagbox.tui.polling.request import Map


class Picture:
    """The model that the screens show, and whether it follows the node."""

    def __init__(self) -> None:
        self.model = NodeModel()
        self.frozen = False
        self._behind: deque[Map] = deque(maxlen=HISTORY)

    @property
    def behind(self) -> int:
        """Number of polls that are kept for later."""
        return len(self._behind)

    def take(self, polls: Sequence[Map]) -> bool:
        """Take polls in, or keep them while frozen; return True if the model changed."""
        if self.frozen and not any(poll.get("reset") for poll in polls):
            self._behind.extend(polls)
            return False
        for poll in polls:
            if poll.get("reset"):
                self.model.reset()
                self._behind.clear()
                continue
            try:
                self.model.take(poll)
            except dagbox.ProtocolError as error:
                self.model.lose(str(error))
        return True

    def lose(self, reason: str) -> bool:
        """Note that the node does not answer; return True if it did until now."""
        first = not self.model.lost
        self.model.lose(reason)
        return first

    def freeze(self) -> None:
        """Keep the picture as it is. Idempotent."""
        self.frozen = True

    def thaw(self) -> None:
        """Take in what was kept, and follow the node again. Idempotent."""
        self.frozen = False
        polls = list(self._behind)
        self._behind.clear()
        self.take(polls)
