"""The 32 functions of the executable categories that need no network, written anew.

Upstream's own (ShishirPatil/gorilla until April 2025, `executable_python_function.py`) are not in
the wheel. Results are compared with `==`, so names, defaults and the order of operations on floats
are upstream's, and so are oddities: prime factors by float division, a least common multiple that
is a float. What could run for hours there is refused here.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping, Sequence

from coalm.errors import ToolError
from coalm.evals.bfcl.arithmetic import compute
from coalm.evals.bfcl.decode import parse_expression
from coalm.evals.bfcl.verdict import Value

_MAX_STEPS = 10_000
_MAX_DIVISOR = 1_000_000
_STEP = 0.0000000001
"""Width over which a derivative is estimated."""
_ACTIVITY: Sequence[float] = (1.2, 1.375, 1.55, 1.725, 1.9)
"""Factor on the basal metabolic rate for activity levels 1 to 5."""
_GOALS = {"lose": -500, "gain": 500}


def _within_limit(count: Value) -> Value:
    if isinstance(count, int) and count > _MAX_STEPS:
        raise ToolError(f"{count} steps are over the limit of {_MAX_STEPS}")
    return count


# geometry and algebra


def _triangle_area(base: Value, height: Value) -> Value:
    return base * height / 2


def _circle_area(radius: Value) -> Value:
    return math.pi * radius**2


def _polygon_area(vertices: Value) -> Value:
    if len(vertices) < 3:
        raise ToolError("a polygon has at least 3 corners")
    corners = vertices.copy()  # a list is wanted, a tuple fails
    area = 0
    for here, there in zip(corners, [*corners[1:], corners[0]], strict=True):
        area += here[0] * there[1] - there[0] * here[1]
    return abs(area) / 2.0


def _distance(pointA: Value, pointB: Value) -> Value:  # noqa: N803 - the benchmark's names
    return ((pointA[0] - pointB[0]) ** 2 + (pointA[1] - pointB[1]) ** 2) ** 0.5


def _max_points(points: Sequence[Value]) -> int:
    """Most points on one line."""
    if len(points) < 2:
        return 1
    best = 1
    for at, (x, y) in enumerate(_pairs(points)):
        slopes: dict[Value, int] = {}
        for other_x, other_y in _pairs(points[at + 1 :]):
            slope = (other_y - y) / (other_x - x) if other_x != x else None
            slopes[slope] = slopes.get(slope, 0) + 1
        best = max(best, *slopes.values(), 0)
    return best + 1


def _pairs(points: Sequence[Value]) -> list[tuple[Value, Value]]:
    return [(point[0], point[1]) for point in points]


def _quadratic_roots(a: Value, b: Value, c: Value) -> list[Value]:
    discriminant = b**2 - 4 * a * c
    if discriminant >= 0:
        return [
            (-b + discriminant**0.5) / (2 * a),
            (-b - discriminant**0.5) / (2 * a),
        ]
    real = -b / (2 * a)
    imaginary = abs(discriminant) ** 0.5 / (2 * a)
    return [{"real": real, "imaginary": sign * imaginary} for sign in (1, -1)]


def _matrix_product(matA: Value, matB: Value) -> list[list[Value]]:  # noqa: N803
    product: list[list[Value]] = []
    for row in matA:
        product.append([])
        for column in range(len(matB[0])):
            total = 0
            for at in range(len(matB)):
                total += row[at] * matB[at][column]
            product[-1].append(total)
    return product


def _estimate_derivative(function: str, x: Value) -> Value:
    """Slope of `function`, the text of a lambda, at `x`."""
    value = _read_lambda(function)
    return (value(x + _STEP) - value(x)) / _STEP


def _read_lambda(text: str) -> Callable[[Value], Value]:
    node = parse_expression(text)
    if not isinstance(node, ast.Lambda) or len(node.args.args) != 1:
        raise ToolError(f"{text!r} is no function of one variable")
    return lambda value: compute(node.body, {node.args.args[0].arg: value})


# whole numbers


def _factorial(n: Value) -> Value:
    product = 1
    for factor in range(1, _within_limit(n) + 1):
        product *= factor
    return product


def _permutations(n: Value, k: Value) -> Value:
    return _factorial(n) / _factorial(n - k)


def _binomial_probability(n: Value, k: Value, p: Value) -> Value:
    ways = _factorial(n) / (_factorial(k) * _factorial(n - k))
    return ways * (p**k * (1 - p) ** (n - k))


def _prime_factors(number: Value) -> list[int]:
    factors: list[int] = []
    divisor = 2
    while number > 1:
        while number % divisor == 0:
            factors.append(divisor)
            number = number / divisor
        divisor += 1
        if divisor > _MAX_DIVISOR:
            raise ToolError(f"a divisor over the limit of {_MAX_DIVISOR}")
    return factors


def _greatest_common_divisor(a: Value, b: Value) -> Value:
    for _ in range(_MAX_STEPS):
        if b == 0:
            return a
        a, b = b, a % b
    raise ToolError(f"no divisor after {_MAX_STEPS} steps")


def _least_common_multiple(a: Value, b: Value) -> Value:
    return a * b / _greatest_common_divisor(a, b)


def _fibonacci_sequence(n: Value) -> list[int]:
    numbers = [0, 1]
    for _ in range(2, _within_limit(n)):
        numbers.append(numbers[-1] + numbers[-2])
    return numbers


def _fibonacci_number(n: Value) -> Value:
    if n <= 0:
        return "Input should be a positive integer."
    return 0 if n == 1 else _fibonacci_sequence(n)[-1]


def _add_binary(a: str, b: str) -> str:
    return bin(int(a, 2) + int(b, 2))[2:]


# physics


def _final_velocity(initial_velocity: Value, acceleration: Value, time: Value) -> Value:
    return initial_velocity + acceleration * time


def _displacement(initial_velocity: Value, acceleration: Value, time: Value) -> Value:
    return initial_velocity * time + 0.5 * acceleration * time**2


def _potential_energy(charge: Value, voltage: Value) -> Value:
    return charge * voltage


def _density(mass: Value, volume: Value) -> Value:
    return mass / volume


# statistics


def _mean(numbers: Sequence[Value]) -> Value:
    return sum(numbers) / len(numbers)


def _standard_deviation(numbers: Sequence[Value]) -> Value:
    mean = _mean(numbers)
    return (sum((number - mean) ** 2 for number in numbers) / len(numbers)) ** 0.5


def _cosine_similarity(vectorA: Value, vectorB: Value) -> Value:  # noqa: N803
    product = sum(vectorA[at] * vectorB[at] for at in range(len(vectorA)))
    length_a = sum(vectorA[at] ** 2 for at in range(len(vectorA))) ** 0.5
    length_b = sum(vectorB[at] ** 2 for at in range(len(vectorB))) ** 0.5
    return product / (length_a * length_b)


def _linear_regression(x: Sequence[Value], y: Sequence[Value], point: Value) -> Value:
    n = len(x)
    sum_x, sum_y = sum(x), sum(y)
    sum_squares = sum(value**2 for value in x)
    sum_products = sum(x[at] * y[at] for at in range(n))
    slope = (n * sum_products - sum_x * sum_y) / (n * sum_squares - sum_x**2)
    return slope * point + (sum_y - slope * sum_x) / n


def _sort(array: Sequence[Value], reverse: Value = False) -> list[Value]:
    return sorted(array, reverse=reverse)


# money and everyday life


def _future_value(present_value: Value, interest_rate: Value, periods: Value) -> Value:
    return present_value * (1 + interest_rate) ** periods


def _mortgage(loan_amount: Value, interest_rate: Value, loan_period: Value) -> Value:
    rate = interest_rate / 12
    growth = (1 + rate) ** (loan_period * 12)
    return loan_amount * rate * growth / (growth - 1)


def _investment_value(
    initial_investment: Value,
    annual_contribution: Value,
    years: Value,
    annual_return: Value,
    inflation_rate: Sequence[Value],
    adjust_for_inflation: Value = True,
) -> Value:
    value = initial_investment
    for year in range(_within_limit(years)):
        if not adjust_for_inflation:
            value = value * (1 + annual_return) + annual_contribution
            continue
        inflation = inflation_rate[year]
        value = value * (1 + annual_return - inflation) + annual_contribution * (1 - inflation)
    return value


def _nutritional_needs(
    weight: Value, height: Value, age: Value, gender: Value, activity_level: Value, goal: Value
) -> dict[str, Value]:
    if gender == "male":
        rate = 88.362 + (13.397 * weight) + (4.799 * height) - (5.677 * age)
    else:
        rate = 447.593 + (9.247 * weight) + (3.098 * height) - (4.330 * age)
    level: int = activity_level - 1
    factor = _ACTIVITY[level]
    calories = rate * factor + _GOALS.get(goal, 0)
    return {
        "calories": calories,
        "proteins_g": (calories * 0.30) / 4,
        "fats_g": (calories * 0.25) / 9,
        "carbohydrates_g": (calories * 0.45) / 4,
    }


def _book_room(
    room_type: Value,
    price: Value,
    check_in_date: Value,
    check_out_date: Value,
    customer_id: Value,
    discount_code: Value = None,
) -> dict[str, Value]:
    if discount_code == "DISCOUNT10":
        price = price * 0.9
    return {
        "customer_id": customer_id,
        "room_number": room_type,
        "check_in_date": check_in_date,
        "check_out_date": check_out_date,
        "total_price": price,
    }


def _order_food(item: Sequence[Value], quantity: Sequence[Value], price: Sequence[Value]) -> Value:
    return sum(quantity[at] * price[at] for at in range(len(item)))


EXEC_FUNCTIONS: Mapping[str, Callable[..., Value]] = {
    "add_binary_numbers": _add_binary,
    "book_room": _book_room,
    "calc_binomial_probability": _binomial_probability,
    "calculate_cosine_similarity": _cosine_similarity,
    "calculate_density": _density,
    "calculate_displacement": _displacement,
    "calculate_electrostatic_potential_energy": _potential_energy,
    "calculate_final_velocity": _final_velocity,
    "calculate_future_value": _future_value,
    "calculate_investment_value": _investment_value,
    "calculate_mean": _mean,
    "calculate_nutritional_needs": _nutritional_needs,
    "calculate_permutations": _permutations,
    "calculate_standard_deviation": _standard_deviation,
    "calculate_triangle_area": _triangle_area,
    "estimate_derivative": _estimate_derivative,
    "geometry_area_circle": _circle_area,
    "get_distance": _distance,
    "get_fibonacci_number": _fibonacci_number,
    "get_fibonacci_sequence": _fibonacci_sequence,
    "get_prime_factors": _prime_factors,
    "linear_regression": _linear_regression,
    "mat_mul": _matrix_product,
    "math_factorial": _factorial,
    "math_gcd": _greatest_common_divisor,
    "math_lcm": _least_common_multiple,
    "maxPoints": _max_points,
    "mortgage_calculator": _mortgage,
    "order_food": _order_food,
    "polygon_area": _polygon_area,
    "quadratic_roots": _quadratic_roots,
    "sort_array": _sort,
}
"""Every function that runs offline, by its name in the benchmark."""
