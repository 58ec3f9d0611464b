"""glassloop.offload(): functions that take long, run beside the loop.

offloading  the public function: what it takes, and where each kind of job goes
job         one call, from when it is asked for until its function has returned
pools       a loop's own pools: made when first needed, replaced when broken, ended with the loop
process     what crosses into a worker process, and back
interpreter what a subinterpreter cannot take, in words
cluster     dask.distributed and Ray, as executors
"""
