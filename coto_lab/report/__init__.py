"""The adapter report: a page about any PEFT adapter, and a smaller adapter of its best blocks."""

from coto_lab.report.make import Report, report
from coto_lab.report.smaller import keep_modules

__all__ = ["Report", "keep_modules", "report"]
