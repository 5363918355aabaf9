"""What has this model learned? One call, and the words in which results over seeds are put."""

from latentbook.report.agreement import agreement
from latentbook.report.codes import Codes, select
from latentbook.report.summary import Report, report
from latentbook.report.words import over_seeds, tally, verdict

__all__ = ["Codes", "Report", "agreement", "over_seeds", "report", "select", "tally", "verdict"]
