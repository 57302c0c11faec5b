"""A wheel for this platform: it holds the shared library and the program, built by `make python`."""
from setuptools import setup
from setuptools.dist import Distribution


class Binary(Distribution):
    def has_ext_modules(self):
        return True


try:
    from setuptools.command.bdist_wheel import bdist_wheel

    class AnyPython(bdist_wheel):
        """The library is loaded with ctypes: any Python 3 will do."""

        def get_tag(self):
            return "py3", "none", super().get_tag()[2]

    commands = {"bdist_wheel": AnyPython}
except ImportError:
    commands = {}

setup(distclass=Binary, cmdclass=commands)
