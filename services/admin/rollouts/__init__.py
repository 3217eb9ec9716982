"""Moves a server's queries from one version to another in steps, and back by itself when the new one is worse.

rollout   what there is to know of one rollout, and what a caller is told of it
gate      whether the new version does worse than the old one (pure)
plan      CENTRAL: what comes next, by the time, what was counted and who lives; and what an operator may order (pure)
window    what the orchestrators have counted since a step began
survey    what the plan has to know of the fleet → window
book      the rollouts in the shared store: one at a time for a server, changed by comparing, one driver
telling   weights and drains, said to the fleet
driver    does what the plan says, in one admin process at a time → plan, survey, book, telling
control   what operators order, in any admin process → plan, book, telling
api       HTTP: /v1/rollouts → control
"""
