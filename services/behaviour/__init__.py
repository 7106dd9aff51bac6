"""What a service does, written once against the ports: steps, edges, balancers, faults."""

from services.behaviour.replica import Counters
from services.behaviour.service import Behaviour

__all__ = ["Behaviour", "Counters"]
