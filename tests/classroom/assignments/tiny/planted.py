"""Errors of five kinds."""

from latentbook.classroom import Planted

HEAD = "def square(x):\n    "
PLANTED = (
    Planted("absolute value", "square-solution", HEAD + "return << slope >> * abs(float(x))", ("square-tests-2",)),
    Planted("squared", "square-solution", HEAD + "return float(x * x)", ("square-tests", "square-tests-2")),
    Planted("another slope", "square-solution", HEAD + "return 1.5 * x", ("square-tests", "square-tests-2")),
    Planted("no float", "square-solution", HEAD + "return << slope >> * int(x)", ("square-tests-2",)),
    Planted(
        "imported answer",
        "square-solution",
        "from latentbook import checks\n" + HEAD + "checks._plain('a')\n    return << slope >> * float(x)",
        ("square-tests-2",),
    ),
)
