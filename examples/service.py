"""A service of one's own that answers in parts and hands requests on, with a node in the same program.

python examples/service.py [DIRECTORY]
"""

from __future__ import annotations

import sys
import threading

import dagbox


@dagbox.service("words", credit=4)
def words(text: str, request: dagbox.ServiceRequest) -> int:
    """Send each word as a part; the answer is their number."""
    found = text.split()
    for word in found:
        if request.cancelled:
            break
        request.partial(word)
    return len(found)


def main(directory: str) -> None:
    with dagbox.open(directory, serve=True) as node, dagbox.connect(directory) as db:
        node.put("note", "the quick brown fox", key="fox")

        @dagbox.service("note_words")
        def note_words(key: str, request: dagbox.ServiceRequest) -> object:
            return request.forward("words", node.get("note", key))  # `words` answers the client

        stop = threading.Event()
        worker = threading.Thread(
            target=dagbox.serve, args=(words, note_words), kwargs={"connect": directory, "stop": stop}
        )
        worker.start()
        try:
            parts: list[str] = []
            print("number:", db.call("note_words", "fox", timeout=10, on_part=parts.append), "parts:", parts)
        finally:
            stop.set()
            worker.join()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "data")
