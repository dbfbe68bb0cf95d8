"""The broker: queues requests per service and hands them to workers as these become free.

`machine` is the broker itself; `model` what it knows of requests, workers and services; `queues` the data
structures that make its work O(1); `metrics` its histograms and rates; `records` events, traces and dead
letters; `inspect` the services that it answers itself. All of it is pure: messages and `now` in, messages out.
"""

from dagbox.broker.machine import Broker
from dagbox.broker.model import Limits

__all__ = ["Broker", "Limits"]
