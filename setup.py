"""The packages of the wheel: `selviz` without its help for tests, and the folder `app` as the package `selviz_app`."""

from setuptools import find_packages, setup

library = find_packages(include=["selviz", "selviz.*"], exclude=["selviz.testing", "selviz.testing.*"])
dashboard = [f"selviz_{name}" for name in find_packages(include=["app", "app.*"])]
setup(packages=[*library, *dashboard], package_dir={"selviz_app": "app"})
