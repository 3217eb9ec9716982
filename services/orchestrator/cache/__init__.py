"""Answers that are given again: of a tool or resource whose operator, or whose server, says for how long.

cache          CENTRAL: kept, or being asked for already, or else asked for → shelf, single_flight
shelf          finds and keeps answers, in memory and in the store → l1, store
rules          what may be kept, for how long, for whom
keys           what makes two queries the same
entry          an answer as it is kept
l1             the answers that this process saw last
store          entries and generations in the shared store
single_flight  those who ask the same thing at once
metrics        how often an answer was there already
"""
