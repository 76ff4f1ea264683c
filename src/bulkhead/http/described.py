"""Answers as the description of an API tells of them.

Answers are rendered from rows (`answers.answer`), and no model is made of one. What is declared
here is only described: it is built when somebody asks for the description, so that starting up
does not wait for it.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Described(BaseModel):
    """An answer, or a part of one; subclasses declare its fields."""

    model_config = ConfigDict(defer_build=True)
