"""What setup.cfg cannot say: the packages are those found, and `reference`, which is installed within minibert."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["minibert", "minibert.*"]), "minibert.reference"])
