"""The functions that a query may call: those that give here what they give on Athena.

A name that is not here is refused as unknown, also where DuckDB knows it: what works on a laptop has to work on AWS.
`tests/localcloud/athena/test_translate.py` holds an example of each, with Athena's answer.
"""

from __future__ import annotations

from sqlglot import exp

_NAMES = (
    "abs approx_distinct approx_percentile arbitrary array_agg array_join avg bool_and bool_or cardinality "
    "ceil ceiling chr coalesce concat contains corr count count_if covar_pop covar_samp cume_dist current_date "
    "current_timestamp date date_add date_diff date_parse date_trunc day degrees dense_rank element_at exp "
    "first_value floor from_iso8601_date from_iso8601_timestamp from_unixtime greatest hour if is_nan lag "
    "last_value lead least length ln log10 log2 lower ltrim max max_by min min_by minute mod month now "
    "nth_value ntile nullif percent_rank pi position pow power quarter radians rank regexp_like replace reverse "
    "round row_number rtrim second sequence split split_part sqrt starts_with stddev stddev_pop "
    "stddev_samp strpos substr substring sum to_unixtime trim truncate upper var_pop var_samp variance week year "
)
NAMES = frozenset(_NAMES.split())

WITHOUT_NAME: tuple[type[exp.Expr], ...] = (
    exp.And,
    exp.Or,
    exp.ArgMax,
    exp.ArgMin,
    exp.Array,
    exp.Case,
    exp.Cast,
    exp.Ceil,
    exp.CurrentDate,
    exp.CurrentTimestamp,
    exp.Exists,
    exp.Extract,
    exp.Floor,
    exp.If,
    exp.Chr,
    exp.StrPosition,
    exp.Substring,
    exp.Trim,
    exp.TryCast,
    exp.Unnest,
)
"""What the parser makes of syntax that is no call by a name, or whose name it does not keep."""
