"""A bell: whoever waits for something to change is woken when it rings."""

import asyncio


class Bell:
    """Wake everybody who waits, however many; nobody waits for ever."""

    def __init__(self) -> None:
        self.rings = 0
        """How often it rang."""
        self._waiting: set[asyncio.Future[None]] = set()

    def ring(self) -> None:
        """Wake whoever waits."""
        self.rings += 1
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)
        self._waiting.clear()

    async def wait(self, within_s: float, heard: int | None = None) -> None:
        """Wait for the next ring, at most so long; not at all, when it rang since `heard` rings."""
        if heard is not None and heard != self.rings:
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.add(waiter)
        try:
            await asyncio.wait((waiter,), timeout=within_s)
        finally:
            self._waiting.discard(waiter)
