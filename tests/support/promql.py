"""As much of PromQL as the alert rules use, evaluated over made-up series: enough to see each alert fire and stop.

promql-parser (Prometheus's grammar, in Rust) parses; this module evaluates. Instant vectors are dictionaries from
label sets to values. `rate` and `increase` are not extrapolated to the edges of their range: a rule that depends on
that would be a bad rule. promtool, where there is one, reads the same scenarios.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any, Final

import promql_parser as promql

Labels = frozenset[tuple[str, str]]
Vector = dict[Labels, float]
Value = Vector | float
LOOKBACK: Final = 300.0
NAME: Final = "__name__"
_COMPARE: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "==": operator.eq, "!=": operator.ne, ">": operator.gt, "<": operator.lt, ">=": operator.ge, "<=": operator.le,
}  # fmt: skip
_COUNT: Final[Mapping[str, Callable[[float, float], float]]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul,
    "/": lambda one, other: one / other if other else math.nan,
}  # fmt: skip
_REDUCE: Final[Mapping[str, Callable[[list[float]], float]]] = {
    "sum": math.fsum, "max": max, "min": min, "count": lambda values: float(len(values)),
}  # fmt: skip


class Series:
    """Samples by label set, `interval` seconds apart, as promtool's notation has them."""

    def __init__(self, interval: float) -> None:
        self.interval = interval
        self._samples: dict[Labels, list[float | None]] = {}

    def add(self, selector: str, values: str) -> None:
        """One series: `name{label="value"}`, and `1 2 0+5x10 _x3`."""
        parsed: Any = promql.parse(selector)
        labels = {matcher.name: matcher.value for matcher in parsed.matchers.matchers}
        self._samples[frozenset((labels | {NAME: parsed.name}).items())] = list(_expanded(values))

    def put(self, labels: Mapping[str, str], at: float, value: float) -> None:
        """One sample."""
        samples = self._samples.setdefault(frozenset(labels.items()), [])
        index = round(at / self.interval)
        samples += [None] * (index + 1 - len(samples))
        samples[index] = value

    def matching(self, selector: Any) -> Iterator[tuple[Labels, list[float | None]]]:
        """The series a selector names."""
        for labels, samples in self._samples.items():
            own_labels = dict(labels)
            if own_labels[NAME] == selector.name and all(
                _matches(own_labels, one) for one in selector.matchers.matchers
            ):
                yield labels, samples

    def window(self, samples: list[float | None], at: float, seconds: float) -> list[float]:
        """The samples of the last `seconds` up to `at`."""
        last = int(at // self.interval)
        first = max(0, math.ceil((at - seconds) / self.interval))
        return [value for value in samples[first : last + 1] if value is not None]


def evaluate(expression: str, series: Series, at: float) -> Value:
    """The value of an expression at a moment, in seconds from the start. Raises NotImplementedError for what no rule uses."""
    return _value(promql.parse(expression), series, at)


def names(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Every metric an expression names, with the labels it expects there: those it selects, sums by or shows."""
    yield from _names(promql.parse(expression), frozenset())


def _names(node: Any, wanted: frozenset[str]) -> Iterator[tuple[str, set[str]]]:
    kind = type(node).__name__
    if kind == "VectorSelector":
        yield node.name, {matcher.name for matcher in node.matchers.matchers} | set(wanted)
    elif kind == "AggregateExpr":
        yield from _names(node.expr, _kept(node) if wanted <= _kept(node) or not wanted else wanted)
    elif kind == "BinaryExpr":
        for side in (node.lhs, node.rhs):
            yield from _names(side, frozenset())
    elif kind == "Call":
        needed = frozenset({"le"}) if node.func.name == "histogram_quantile" else frozenset()
        for argument in node.args:
            yield from _names(argument, wanted | needed)
    else:
        for child in ("expr", "vector_selector"):
            if hasattr(node, child):
                yield from _names(getattr(node, child), wanted)


def _kept(node: Any) -> frozenset[str]:
    modifier = node.modifier
    if modifier is None:
        return frozenset()
    if modifier.type != promql.AggModifierType.By:
        raise NotImplementedError("aggregation without")
    return frozenset(modifier.labels)


def _value(node: Any, series: Series, at: float) -> Value:
    kind = type(node).__name__
    if kind == "NumberLiteral":
        return float(node.val)
    if kind == "ParenExpr":
        return _value(node.expr, series, at)
    if kind == "VectorSelector":
        windows = ((labels, series.window(samples, at, LOOKBACK)) for labels, samples in series.matching(node))
        return {labels: window[-1] for labels, window in windows if window}
    if kind == "AggregateExpr":
        return _aggregated(node, _vector(_value(node.expr, series, at)))
    if kind == "Call":
        return _called(node, series, at)
    if kind == "BinaryExpr":
        return _binary(node, _value(node.lhs, series, at), _value(node.rhs, series, at))
    raise NotImplementedError(kind)


def _aggregated(node: Any, vector: Vector) -> Vector:
    kept, groups = _kept(node), dict[Labels, list[float]]()
    for labels, value in vector.items():
        groups.setdefault(frozenset(label for label in labels if label[0] in kept), []).append(value)
    return {labels: _REDUCE[str(node.op)](values) for labels, values in groups.items()}


def _called(node: Any, series: Series, at: float) -> Value:
    name = node.func.name
    if name == "time":
        return float(at)
    if name == "vector":
        return {frozenset(): float(node.args[0].val)}
    if name == "absent":
        return {} if _value(node.args[0], series, at) else {frozenset(): 1.0}
    if name == "histogram_quantile":
        return _quantile(node.args[0].val, _vector(_value(node.args[1], series, at)))
    if name in {"rate", "increase"}:
        seconds = node.args[0].range.total_seconds()
        return dict(_grown(series, node.args[0], at, seconds, per_second=name == "rate"))
    raise NotImplementedError(name)


def _grown(
    series: Series, matrix: Any, at: float, seconds: float, *, per_second: bool
) -> Iterator[tuple[Labels, float]]:
    """How much counters grew, a fall being a restart from nothing."""
    for labels, samples in series.matching(matrix.vector_selector):
        window = series.window(samples, at, seconds)
        if len(window) > 1:
            steps = pairwise(window)
            grown = math.fsum(after - before if after >= before else after for before, after in steps)
            span = (len(window) - 1) * series.interval
            yield _unnamed(labels), grown / span if per_second else grown


def _quantile(wanted: float, vector: Vector) -> Vector:
    """The quantile of buckets `le`, linear within one, as Prometheus has it."""
    groups: dict[Labels, list[tuple[float, float]]] = {}
    for labels, value in vector.items():
        rest = frozenset(label for label in labels if label[0] != "le")
        groups.setdefault(rest, []).append((float(dict(labels)["le"]), value))
    return {labels: _within(wanted, sorted(buckets)) for labels, buckets in groups.items()}


def _within(wanted: float, buckets: list[tuple[float, float]]) -> float:
    rank, below, bottom = wanted * buckets[-1][1], 0.0, 0.0
    for bound, number in buckets:
        if number >= rank:
            return bottom if math.isinf(bound) else bottom + (bound - bottom) * (rank - below) / (number - below or 1)
        below, bottom = number, bound
    return bottom


def _binary(node: Any, left: Value, right: Value) -> Value:
    sign = str(node.op)
    if sign == "and":
        keys = {_unnamed(labels) for labels in _vector(right)}
        return {labels: value for labels, value in _vector(left).items() if _unnamed(labels) in keys}
    if sign == "or":
        keys = {_unnamed(labels) for labels in _vector(left)}
        return {
            **_vector(left),
            **{labels: value for labels, value in _vector(right).items() if _unnamed(labels) not in keys},
        }
    if sign in _COMPARE:
        compare = _COMPARE[sign]
        return {labels: one for labels, one, other in _paired(left, right) if compare(one, other)}
    act = _COUNT[sign]
    if isinstance(left, float) and isinstance(right, float):
        return act(left, right)
    return {_unnamed(labels): act(one, other) for labels, one, other in _paired(left, right)}


def _paired(left: Value, right: Value) -> Iterable[tuple[Labels, float, float]]:
    """The values that belong together: a number goes with every series, two series by all their labels."""
    if isinstance(right, float):
        return [(labels, value, right) for labels, value in _vector(left).items()]
    if isinstance(left, float):
        return [(labels, left, value) for labels, value in right.items()]
    others = {_unnamed(labels): value for labels, value in right.items()}
    return [(labels, value, others[_unnamed(labels)]) for labels, value in left.items() if _unnamed(labels) in others]


def _vector(value: Value) -> Vector:
    if isinstance(value, float):
        raise NotImplementedError("a number where a vector is needed")
    return value


def _unnamed(labels: Labels) -> Labels:
    return frozenset(label for label in labels if label[0] != NAME)


def _matches(labels: Mapping[str, str], matcher: Any) -> bool:
    value = labels.get(matcher.name, "")
    if matcher.op == promql.MatchOp.Re:
        return re.fullmatch(matcher.value, value) is not None
    if matcher.op == promql.MatchOp.Equal:
        return bool(value == matcher.value)
    if matcher.op == promql.MatchOp.NotEqual:
        return bool(value != matcher.value)
    raise NotImplementedError("!~")


def _expanded(values: str) -> Iterator[float | None]:
    for token in values.split():
        match = re.fullmatch(r"(_|-?[\d.]+)([+-][\d.]+)?(?:x(\d+))?", token)
        assert match is not None, token
        start, step, times = match[1], float(match[2] or 0), int(match[3] or 0)
        if start == "_":
            yield from [None] * max(1, times)
        else:
            yield from (float(start) + step * index for index in range(times + 1))
