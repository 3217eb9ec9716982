"""The command line, one file per command; it talks to the services over HTTP, or becomes one of them.

main          `busbar`: the commands there are
lazy          imports a command's module when the command is used

query         asks a tool, a resource or a prompt → arguments, http_client, answers
tools         what the servers offer → http_client, tables
status        the fleet at a glance → snapshot (what the services tell), fleet_view (its rows), watching
rollout       moves traffic from one version to another → rollouts (what the admin service tells), rollout_view
deploy        a new version beside the old one, then its rollout → supervisors (orders over the bus), rollouts
audit         whether the chain of the audit log holds → runtime.audit_chain
pins          which definitions of tools are accepted → admin_service
mcp           an MCP server over stdio → stdio_front (carries its messages to /mcp and back)
keys, config  the keys file and busbar.yaml → runtime.auth, runtime.config
init          the folder of a deployment with containers → deployment/ (what is in it), config_errors
up            the whole system on one machine → becoming
orchestrator, health, admin, worker   → becoming: the process turns into the service

location      where the system is: variables, or the state folder of `busbar up`
admin_service  where it is, and what it answers
http_client   one bounded HTTP request, and its failure in one line
tables        tables, in text without control characters
errors        how a command fails: the line on stderr and the exit status
config_errors how a command tells of a configuration that is wrong
options       the options that several commands share
processes     whether a process lives
"""
