"""Tests that ask one deployment, brought up from nothing for all of them."""
