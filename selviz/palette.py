"""The hues of selviz, as constants that need no library: `CLASSES[dark]`, `ALPHA[dark]`.

Alpha and classes never share a color, and all of them stay apart under simulated protanopia, deuteranopia and
tritanopia (Machado et al. 2009), in light (False) and in dark (True); tests/figures/test_colors.py measures it.
"""

ALPHA = {False: ("#2166ac", "#8a8f98", "#e08214"), True: ("#4393d6", "#9aa0aa", "#f0953a")}  # suppressed, baseline, ...
CLASSES = {
    False: (
        "#3b2fb5",
        "#b5a0f0",
        "#87cfe6",
        "#686b14",
        "#4fb87d",
        "#d3c43c",
        "#7a3210",
        "#d81e5b",
        "#4f2260",
        "#a0357d",
    ),
    True: (
        "#504ef4",
        "#ccadfc",
        "#a2e9ef",
        "#958802",
        "#47dc9b",
        "#e3d80a",
        "#ab4817",
        "#f40c75",
        "#9235bb",
        "#ba62a2",
    ),
}
OTHER = {False: "#c9ccd1", True: "#4b4f58"}  # classes that are not singled out, dead units
MANY = {False: "#4a6a86", True: "#8fb4d6"}  # the one hue of all classes where there are more than ten
INK = {False: "#31333f", True: "#fafafa"}
CHANGE = {  # lost, no change, gained: a scale of its own, neither alpha's nor a class's
    False: ("#a970bd", "#f1f1f3", "#57a871"),
    True: ("#9a4fb5", "#23262e", "#2f9e58"),
}
