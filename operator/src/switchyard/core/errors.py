"""The exception tree of the core.

    Exception
     └── CoreError                 something the core was given or did cannot be right
          ├── ProfileError         a latency profile with numbers that no server can have
          ├── LedgerError          a placement that takes more devices than a pool has left (a bug)
          ├── TemplateError        a pod template from which no pod can be built
          ├── PlanError            a cutover plan that the schema would not have taken
          ├── RoutingDocumentError  a routing document that no router can follow
          ├── SamplesError         a reading of a router's samples that no router can have made
          └── EvidenceError        kept evidence of a cutover that no test can have written

Expected outcomes (no capacity, objective out of reach, budget too small) are values with a reason, never
exceptions. What is raised here is caught once per object by `decide`, so that one bad object stops no other.
"""

from __future__ import annotations


class CoreError(Exception):
    """Base of everything the core raises on purpose."""


class ProfileError(CoreError):
    """A latency profile with numbers that no server can have."""


class LedgerError(CoreError):
    """A placement that takes more devices than a pool has left."""


class TemplateError(CoreError):
    """A pod template from which no pod can be built."""


class PlanError(CoreError):
    """A cutover plan that the schema would not have taken."""


class RoutingDocumentError(CoreError):
    """A routing document that no router can follow; the message has one line per problem."""


class SamplesError(CoreError):
    """A reading of a router's samples that no router can have made; the message has one line per problem."""


class EvidenceError(CoreError):
    """Kept evidence of a cutover that no test can have written."""
