"""Eq. 5 for single images: which of them remind a finetuned network of what it should have forgotten.

Images go in, one row each comes out. Beside the rows stands a record of the threshold, of how often it is wrong on
clean images, and of how often it is right on composites.
"""

from tlaudit.screen.rows import ROW_COLUMNS
from tlaudit.screen.screening import Screening

__all__ = ["ROW_COLUMNS", "Screening"]
