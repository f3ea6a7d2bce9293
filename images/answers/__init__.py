"""Answers for vendors' installers, given beforehand: what an installer would ask a person, and where it looks for that."""

from images.answers.given import AnswerFile, Answers, Volume, Wishes
from images.answers.writing import WORD, answers_for

__all__ = ["WORD", "AnswerFile", "Answers", "Volume", "Wishes", "answers_for"]
