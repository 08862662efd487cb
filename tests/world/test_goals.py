from __future__ import annotations

import random
from functools import cache
from typing import cast

from coalm.world.goals import Goal, GoalMaker
from coalm.world.schema import services
from coalm.world.tools import world_database, world_toolbox


@cache
def some() -> tuple[Goal, ...]:
    maker = GoalMaker(world_database(1))
    goals: list[Goal] = []
    for number in range(300):
        rng = random.Random(number)
        names = rng.sample(list(services()), rng.choice((1, 2, 3)))
        goals.append(maker.draw(rng, f"goal_{number}", names))
    return tuple(goals)


def test_goals_follow_from_the_seed() -> None:
    rng = random.Random(5)
    names = rng.sample(list(services()), rng.choice((1, 2, 3)))
    assert GoalMaker(world_database(1)).draw(rng, "goal_5", names) == some()[5]


def test_goals_know_all_that_will_be_asked() -> None:
    for goal in some():
        for task in goal.tasks:
            service = services()[task.service]
            for intent in task.intents:
                needed = set(service.intents[intent].required) - {"reference_number"}
                assert needed <= task.wishes.keys(), task


def test_searches_find_what_the_user_has_in_mind() -> None:
    box = world_toolbox(1)
    for goal in some():
        for task in goal.tasks:
            service = services()[task.service]
            for name in task.intents:
                intent = service.intents[name]
                if not intent.transactional:
                    wanted = {s: task.wishes[s] for s in intent.inputs if s in task.wishes}
                    rows = cast("list[dict[str, str]]", box.call(name, {**wanted}))
                    shared = set(intent.result) & task.wishes.keys()
                    assert any(all(row[s] == task.wishes[s] for s in shared) for row in rows), task


def test_hopes_are_in_vain() -> None:
    tasks = [task for goal in some() for task in goal.tasks if task.hopes]
    box = world_toolbox(1)
    assert len(tasks) > 10
    for task in tasks:
        intent = services()[task.service].intents[task.intents[0]]
        if intent.transactional:
            known = world_database(1).rows("SELECT reference_number FROM table_bookings")
            assert task.hopes.keys() == {"reference_number"}
            assert {"reference_number": task.hopes["reference_number"]} not in known
        elif len(task.intents) == 1:
            wishes = {**task.wishes, **task.hopes}
            asked = {slot: wishes[slot] for slot in intent.inputs if slot in wishes}
            assert box.call(task.intents[0], {**asked}) == []


def test_tasks_are_linked() -> None:
    linked = [(goal.tasks, task) for goal in some() for task in goal.tasks if task.follows]
    assert len(linked) > 20
    for tasks, task in linked:
        (before,) = [other for other in tasks if other.service == task.follows]
        links = services()[task.service].links
        assert any(
            task.wishes.get(slot) == before.wishes.get(source.partition(".")[2])
            for slot, sources in links.items()
            for source in sources
            if source.startswith(before.service)
        )


def test_goals_can_be_kept_as_json() -> None:
    goal = some()[0]
    assert Goal.model_validate_json(goal.model_dump_json()) == goal
