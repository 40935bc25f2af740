"""Values of signal gates: one query of the admin's per gate, and one series for an answer."""

from __future__ import annotations

from collections.abc import Mapping

from switchyard.adapters.signals.bounded_http import NoAnswer
from switchyard.adapters.signals.instant_query import Asker, read_single
from switchyard.core.cutover.orders import SignalQuery, SignalValue
from switchyard.engine.query_templates import TemplateProblem, fill_template
from switchyard.engine.settings import MetricTemplate


async def ask_gate(asker: Asker, query: SignalQuery, templates: Mapping[str, MetricTemplate]) -> SignalValue:
    """What the template says of the candidate, or why it says nothing."""
    template = templates.get(query.template)
    if template is None:
        known = ", ".join(sorted(templates)) or "none"
        problem = f"the operator's settings have no template {query.template}; there are: {known}"
        return SignalValue(None, problem)
    namespace, workload = query.workload
    try:
        text = fill_template(
            template.query,
            namespace=namespace,
            workload=workload,
            service=query.track,
            track=query.track,
            window_seconds=query.window_seconds,
        )
        return SignalValue(read_single(await asker.ask(text), asker.now))
    except (NoAnswer, TemplateProblem) as problem:
        return SignalValue(None, f"source {query.source}: template {template.name}: {problem}")
