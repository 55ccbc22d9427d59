"""An AWS endpoint on one machine: the services that the template's loop depends on, really executing.

`localcloud up` starts it (`localcloud.cli`), `localcloud.server.build` gives the same application in process.
What localcloud owns is listed in `localcloud.services`; what moto stores for it, in `localcloud.leaf`.
"""
