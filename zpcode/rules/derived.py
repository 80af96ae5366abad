"""The cards that follow from a batch's row, a lot's batches, and the decisions about a target: told anew from the truth.

The services write these cards step by step, as things happen; this is what they must have come to.
"""

from __future__ import annotations
