"""Choosing among the variants of an index: hosts, preferences, requirements and what is to be said of an index.

Everything here is a function of values: nothing is fetched, and no clock, environment or machine is looked at.
"""
