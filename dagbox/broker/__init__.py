"""The broker: queues requests per service and hands them to workers as these become free.

`machine` takes the messages; `lifecycle` has the requests and is the only module that changes one (`bypass` adds those
that do not pass the broker); `workers` has the workers; `views` and `controls` answer the broker's own services,
`breakpoints` hold requests for an operator. Below them: `directory` (services and clients), `model` (the entries and
limits), `queues` (the data structures that make the work O(1)), `histograms`, `records` (events, traces, dead letters),
`bodies`, `outbox`. All of it is pure: messages and `now` in, messages out.
"""

from dagbox.broker.machine import Broker
from dagbox.broker.model import BrokerLimits

__all__ = ["Broker", "BrokerLimits"]
