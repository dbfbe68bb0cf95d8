"""A wiki with backlinks: pages are records, links are facts that the store derives from them.

python examples/wiki.py [DIRECTORY]
"""

from __future__ import annotations

import re
import sys

import dagbox

LINK = re.compile(r"\[\[([^\]]+)\]\]")


def save(db: dagbox.Database, title: str, text: str, version: int | None = None) -> int:
    """Write a page, and return its version. With a version: only if nobody has changed the page since.

    Raises:
        dagbox.Conflict: somebody has.
    """
    links = [dagbox.Ref("page", name) for name in LINK.findall(text)]
    return db.put("page", {"text": text, "links": links}, key=title, if_version=version).version


def backlinks(db: dagbox.Database, title: str) -> list[str]:
    """Return the titles of the pages that link to a page."""
    return [row["From"] for row in db.query("links(From, $to)", params={"to": title})]


def main(directory: str) -> None:
    with dagbox.open(directory) as db:
        db.add_rule("derive links(key, data.links) from page.")  # kept up to date by each write
        db.add_rule("reach(X, Y) :- links(X, Y).")
        db.add_rule("reach(X, Z) :- reach(X, Y), links(Y, Z).")
        save(db, "Home", "Start at [[Tea]] or [[Coffee]].")
        save(db, "Tea", "Leaves in hot [[Water]].")
        save(db, "Coffee", "Beans, ground, and hot [[Water]].")
        version = save(db, "Water", "Wet.")

        print("to Water:", backlinks(db, "Water"))
        print("from Home:", sorted(row["X"] for row in db.query("reach('Home', X)")))
        page = db.fetch("page", "Home", relations={"links": {"path": "links"}})
        print("Home links to:", [(node.key, node.found) for node in page["links"]])

        save(db, "Water", "Wet, and clear.", version)
        try:
            save(db, "Water", "Dry?", version)  # from a browser window that was open for too long
        except dagbox.Conflict as conflict:
            print("somebody was faster: version", conflict.current > version)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "data")
