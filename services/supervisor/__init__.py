"""Owns every process of one machine for `busbar up`: starts them, restarts what dies, stops them in order.

settings        what can be set
app             builds everything, in the order in which it opens
supervisor      CENTRAL: the processes of the run, from their start to their orderly end → managed
managed         one process that is kept running → children, restarts
restarts        when a process that died is started again (pure)
children        the two ways to start one: a service of ours on a lifeline, or a program of others under a guard
nursery         starts our services, forked from one process that has imported what they need: cradle
crew            the workers of each version, and servers that we start: begun, replaced, ended → launching
launching       how each process is started: environment, lifeline, log
steering        builds what takes orders, when the bus is there → control
control         the supervisor on the bus → reloading, deployments
background      work that goes on beside
reloading       puts what the operator's file says now into force → configuration, crew
deployments     new versions beside those in force, until one of the two is stopped
configuration   what a file says, whole, and what a reload changes (pure but for the reading)
plan            which services there shall be (pure)
embedded        NATS and Valkey from their wheels
pinning         the configurations that workers are started with: as it was in force, whatever the file says now
ports           which ports everything takes; one in use is told before anything has started
run_keys        the keys that are printed, made for this run
readiness       when the system is ready, and how its servers are → probes
probes          one small HTTP request, or only a connection
state_folder    the folder of a run: its lock, its files, and state.json for `busbar status`
targets         what Prometheus is told: where each service's /metrics are (pure)
welcome         what is printed
signals         the order to stop
errors          what keeps `busbar up` from starting

It imports no service: they are named to the cradle, a process of its own. No FastAPI or Redis client is loaded here.
"""
