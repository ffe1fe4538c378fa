"""Stage 3: the table of rules, one file a topic."""

from symgrad.rules import elementwise, linear, matrix_functions, reductions, softmax
from symgrad.rules.registry import RULES, Rule, rule, rule_for

__all__ = ["RULES", "Rule", "rule", "rule_for"]

_TOPICS = (elementwise, linear, matrix_functions, reductions, softmax)  # importing them fills the table
