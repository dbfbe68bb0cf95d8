"""The bounds, in the order in which they are printed; each ratio is to a peer with the same work in the same run."""

from __future__ import annotations

from dagbox.bench.report import Bound

DIRECT_GET = Bound("direct", "direct get / embedded get", 1.3, "x")
DIRECT_GET_REDIS = Bound("direct", "direct get / redis-py get", 1 / 25, "x")
SERVED_GET_REDIS = Bound("direct", "get with direct=False / redis-py get", 4.0, "x")
WAKE_UPS = Bound("calls", "wake-ups of a get with direct=False", 6, "")
SYSTEM_CALLS = Bound("calls", "system calls of a get with direct=False", 60, "")
FETCH_NODE = Bound("nested", "embedded fetch of listed records / raw gets, per record", 2.3, "x")
FETCH_PATH = Bound("nested", "embedded fetch by path / raw gets, per record", 3.0, "x")
GET_MANY = Bound("nested", "embedded get_many / raw gets, per record", 1.7, "x")
SCAN = Bound("nested", "embedded scan / raw cursor, per record", 2.0, "x")
BATCH_PUTS = Bound("batches", "batch of 1,000 puts, no sync / raw pack + put", 3.5, "x")
IN_FLIGHT = Bound("proxy", "256 gets in flight / zmq.proxy", 0.35, "x", least=True)
IN_FLIGHT_COMPILED = Bound("proxy", "256 gets in flight, compiled / zmq.proxy", 0.5, "x", least=True)
AWAITED_SERVED = Bound("served", "1,000 awaited gets through the broker", 80_000, "per s", least=True)
AWAITED_DIRECT = Bound("direct", "1,000 awaited direct gets, one by one", 400_000, "per s", least=True)
PIPELINE_REDIS = Bound("served", "pipeline of 256 / redis-py's, per key", 1.0, "x")
DURABLE_REDIS = Bound("puts", "64 durable puts in flight, dagbox.aio / redis.asyncio", 2.5, "x", least=True)
DURABLE_THREADS = Bound("puts", "64 threads of durable puts, embedded / one at a time", 4.0, "x", least=True)
BESIDE_FETCHES = Bound("beside", "single gets beside fetches of 2,000 nodes, p99", 2.0, "ms")
BESIDE_FETCHES_READERS = Bound("beside", "the same / with these gets left to the readers, p99", 0.25, "x")
EXPIRIES = Bound("expiries", "broker turns with 100,000 expiries, the longest", 50, "ms")
IDLE_CPU = Bound("idle", "idle node, share of a core", 0.7, "%")
IDLE_MEMORY = Bound("idle", "idle node, memory (PSS)", 100, "MiB")
HELP = Bound("start", "dagbox --help", 50, "ms")
FIRST_GET = Bound("start", "dagbox get, a process", 100, "ms")
IMPORT_AND_OPEN = Bound("start", "import dagbox and open, a process", 60, "ms")
WATCHED = Bound("watched", "cost of a dashboard that watches, share of the node", 1.0, "%")

BOUNDS = (
    DIRECT_GET,
    DIRECT_GET_REDIS,
    SERVED_GET_REDIS,
    WAKE_UPS,
    SYSTEM_CALLS,
    FETCH_NODE,
    FETCH_PATH,
    GET_MANY,
    SCAN,
    BATCH_PUTS,
    IN_FLIGHT,
    IN_FLIGHT_COMPILED,
    AWAITED_SERVED,
    AWAITED_DIRECT,
    PIPELINE_REDIS,
    DURABLE_REDIS,
    DURABLE_THREADS,
    BESIDE_FETCHES,
    BESIDE_FETCHES_READERS,
    EXPIRIES,
    IDLE_CPU,
    IDLE_MEMORY,
    HELP,
    FIRST_GET,
    IMPORT_AND_OPEN,
    WATCHED,
)
