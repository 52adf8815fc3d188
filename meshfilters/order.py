"""Where filters must stand: declared by each, checked for all, never sorted.

A filter's class may have three class variables, each a map from another filter's
name to the reason a user will read:

``outside``
    must be listed before that one, where both are.
``inside``
    must be listed behind that one, where both are.
``requires``
    that one must be in the listener's chains, at whatever level.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence


def check_order(
    levels: Mapping[str, Sequence[tuple[str, object]]],
) -> Iterator[tuple[str, int, str]]:
    """Yield (level, place, sentence) for every rule that is broken.

    ``levels`` has each level's filters as (name, configuration), in listed order,
    connection before request: across levels, that is the order they are met in.
    """
    met = [
        (level, place, name, configuration)
        for level, filters in levels.items()
        for place, (name, configuration) in enumerate(filters)
    ]
    for index, (level, place, name, configuration) in enumerate(met):
        names_before = {each[2] for each in met[:index]}
        names_behind = {each[2] for each in met[index + 1 :]}
        for other, reason in _rules(configuration, "outside").items():
            if other in names_before:
                yield level, place, f"{name} must be listed before {other}: {reason}"
        for other, reason in _rules(configuration, "inside").items():
            if other in names_behind:
                yield level, place, f"{name} must be listed behind {other}: {reason}"
        for other, reason in _rules(configuration, "requires").items():
            if other not in names_before | names_behind:
                yield level, place, f"{name} needs {other} in the chain: {reason}"


def _rules(configuration: object, kind: str) -> Mapping[str, str]:
    rules: Mapping[str, str] = getattr(type(configuration), kind, {})
    return rules
