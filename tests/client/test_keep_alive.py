"""The keepers of leases: what they do with those that are to have a last beat, of both clients."""

from __future__ import annotations

import asyncio

from dagbox.client.background import AsyncKeepAlive, KeepAlive

FAR_S = 10_000.0
"""A time that no test waits for."""


class Finishing:
    """Something that is beaten once more at the end."""

    finishes = True

    def __init__(self) -> None:
        self.beats = 0

    def beat(self) -> float | None:
        """Count."""
        self.beats += 1
        return FAR_S


class AsyncFinishing(Finishing):
    """The same for the async client; a beat can be held up."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.may_end = asyncio.Event(), asyncio.Event()
        self.may_end.set()

    async def beat(self) -> float | None:  # type: ignore[override]
        """Count, and end when that is allowed."""
        self.begun.set()
        await self.may_end.wait()
        return Finishing.beat(self)


def test_a_last_beat_comes_with_the_end() -> None:
    kept, finishing = KeepAlive(), Finishing()
    kept.add(finishing, FAR_S)
    kept.close()
    assert finishing.beats == 1


async def test_a_last_beat_comes_with_the_end_of_an_async_client() -> None:
    kept, finishing = AsyncKeepAlive(), AsyncFinishing()
    kept.add(finishing, FAR_S)
    await kept.close()
    assert finishing.beats == 1
    await kept.close()
    assert finishing.beats == 1


async def test_a_beat_on_its_way_when_an_async_client_ends_is_not_broken_off() -> None:
    kept, finishing = AsyncKeepAlive(), AsyncFinishing()
    finishing.may_end.clear()
    kept.add(finishing, 0.0)
    await finishing.begun.wait()
    closing = asyncio.create_task(kept.close())
    await asyncio.sleep(0)
    finishing.may_end.set()
    await closing
    assert finishing.beats == 2, "the one on its way, and the last one"
