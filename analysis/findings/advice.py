"""What a finding proposes, for code that no scenario describes.

A refactor is written for a scenario file; of anybody's traces it says what to change instead.
"""

from __future__ import annotations

from analysis.findings.finding import Finding


def in_code(finding: Finding) -> str:
    """One line; empty where the finding proposes nothing."""
    refactor, where = finding.refactor, finding.where
    if refactor is None:
        return ""
    caller = where.caller or "the caller"
    asked = f"{where.callee or 'the callee'} {where.operation or ''}".rstrip()
    match refactor["op"]:
        case "batch":
            times = finding.count_per_request.p50
            often = "" if times is None else f": {caller} asks {times:g} times in a request"
            return f"a bulk endpoint for {asked}{often}"
        case "cache":
            return f"keep the answers of {asked} in {caller}, for the length of a request"
        case "parallelize":
            return f"start these calls of {caller} at once, where none needs another's answer"
        case "bound":
            if where.callee is None:  # a storm over several edges, of which one is bounded
                asked = str(refactor["edge"]).partition("->")[2]
            return f"at most {refactor['max']} calls of {asked} at once"
        case "hedge":
            return f"ask {asked} a second time at another replica when the first is late"
        case "asyncify":
            return f"send {asked} as a message, where nothing waits for its answer"
        case "merge":
            return f"do in {caller} what {asked} does, without the hop"
        case "protocol":
            return f"speak {refactor['to']} between {caller} and {where.callee}"
        case _:
            return ""
