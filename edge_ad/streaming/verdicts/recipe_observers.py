"""Observers for each recipe: its rules hold for the frames that were captured under it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from edge_ad.streaming.frame import Event, RecipeMark, Result
from edge_ad.streaming.recipe import Recipe
from edge_ad.streaming.verdicts.observers import CountingObserver, EndingObserver, Observer

__all__ = ["RecipeObservers"]

_MOST_OPEN = 8  # recipes of which a source may still give a frame; beyond that the oldest is over


@dataclass
class _Turn:
    """The observers from one switch to the next, and the sources whose frames they have seen."""

    number: int
    observers: Sequence[Observer]
    sources: set[str] = field(default_factory=set)

    def end(self) -> list[Event]:
        return [event for one in self.observers if isinstance(one, EndingObserver) for event in one.end()]


class RecipeObservers:
    """Has each result seen by the observers of its recipe. A part ends with the recipe that it began under.

    Args:
        first: The recipe to start with.
        make: Makes the observers of a recipe.
    """

    def __init__(self, first: Recipe, make: Callable[[Recipe], Sequence[Observer]]) -> None:
        self._make = make
        self._recipes = {first.mark: first}
        self._counting = make(first)
        self._turns: list[_Turn] = []  # by number, the newest last

    def add(self, recipe: Recipe, threshold: float) -> None:
        """Take a recipe before the first frame that is captured under it; called from any thread.

        Args:
            recipe: The recipe.
            threshold: Its threshold; the results have it too.
        """
        self._recipes = {**self._recipes, recipe.mark: recipe}
        self._counting = self._make(recipe)

    def see(self, result: Result) -> Sequence[Event]:
        """Take the next result and give the events that follow from it."""
        turn = self._turn_of(result.frame.setup, result.recipe)
        turn.sources.add(result.frame.source)
        # The frames of a source are in order: it gives none of an earlier turn any more.
        ended = [event for one in self._over(turn, result.frame.source) for event in one.end()]
        return [*ended, *(event for observer in turn.observers for event in observer.see(result))]

    def counts(self, reason: str) -> bool:
        """Whether a frame counts that is not judged for this reason, by the rules of the newest recipe."""
        return any(isinstance(one, CountingObserver) and one.counts(reason) for one in self._counting)

    def end(self) -> Sequence[Event]:
        """The events that only the end of the stream decides."""
        turns, self._turns = self._turns, []
        return [event for turn in turns for event in turn.end()]

    def _turn_of(self, number: int, mark: RecipeMark) -> _Turn:
        for turn in self._turns:
            if turn.number == number:
                return turn
        turn = _Turn(number, self._make(self._recipes[mark]))
        self._turns = sorted([*self._turns, turn], key=lambda one: one.number)
        return turn

    def _over(self, now: _Turn, source: str) -> list[_Turn]:
        """Take out the turns of which no source can give a frame any more."""
        before = [turn for turn in self._turns if turn.number < now.number]
        for turn in before:
            turn.sources.discard(source)
        over = [turn for turn in before if not turn.sources]
        over += [turn for turn in before if turn not in over][: max(0, len(before) - len(over) - _MOST_OPEN)]
        self._turns = [turn for turn in self._turns if turn not in over]
        return over
