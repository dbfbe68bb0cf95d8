"""A queue of jobs: each is done by one worker at a time, and by another if its worker disappears.

A worker holds a lease on the job while it works, and writes the result with the lease as fence: a worker that was
stopped for so long that its lease ran out cannot overwrite what its successor wrote.

python examples/jobs.py [DIRECTORY]
"""

from __future__ import annotations

import sys
import threading

import dagbox


def take(db: dagbox.Database) -> tuple[dagbox.Record, dagbox.Lease] | None:
    """Return the first job that is open and that nobody works on, with a lease on it; None if there is none."""
    for record in db.scan("job"):
        if record.data["state"] != "open":
            continue
        try:
            lease = db.lock(f"job/{record.key}", ttl=10, wait=0).acquire()
        except dagbox.Locked:
            continue
        now = db.get_record("job", record.key)  # it may have been done between the scan and the lock
        if now.data["state"] == "open":
            return now, lease
        lease.release()
    return None


def work(db: dagbox.Database, done: list[str]) -> None:
    """Do jobs until there are none."""
    while taken := take(db):
        job, lease = taken
        result = job.data["number"] ** 2
        db.put("job", {**job.data, "state": "done", "result": result}, key=job.key, fence=lease)
        lease.release()
        done.append(job.key)


def main(directory: str) -> None:
    with dagbox.open(directory) as db:
        with db.batch() as batch:
            for number in range(20):
                batch.put("job", {"state": "open", "number": number}, key=f"{number:04}")
        done: list[str] = []
        workers = [threading.Thread(target=work, args=(db, done)) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        print("done:", len(done), "each once:", len(set(done)) == len(done))
        print("sum:", sum(record.data["result"] for record in db.scan("job")))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "data")
