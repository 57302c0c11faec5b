"""The package's version is the library's (src/base/error.c); tests/test_package.py compares them."""
VERSION = "0.1.0"
