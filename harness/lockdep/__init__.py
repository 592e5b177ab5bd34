"""Finds lock orders that could jam, and waits that do, in unchanged asyncio and threading code.

    import harness.lockdep as lockdep

    with lockdep.watch() as watch:
        asyncio.run(main())
    for finding in watch.findings():
        print(finding.text())

Observed are asyncio.Lock, Semaphore, Condition, Event, Queue, TaskGroup and awaited tasks, threading locks, joins of
threads, and waits for the futures of executors and loops. `watch()` can be started and stopped by hand as well
(`start()`, `stop()`); one watch at a time; what it replaced is put back exactly.

What is reported: `jam` (a circle of waits, told before the wait that closes it begins; or a loop of which no task can
go on), `leak` (a task that ended with a lock), `order` (a cycle in the order of locks by different actors, without a
common gate lock and not ordered by starts and joins): `feasible`, `latent` when no actor can be suspended between the
two acquisitions as the code stands, `by-class` when only other instances of the same classes were combined.
`harness.lockdep.confirm.confirm(finding, main)` runs the program again and steers it into the cycle: CONFIRMED,
REFUTED (by exhausting a model of it) or UNDECIDED.
"""

from harness.lockdep.findings import Finding, Participant
from harness.lockdep.model import Site
from harness.lockdep.watch import DeadlockError, Watch, watch

__all__ = ["DeadlockError", "Finding", "Participant", "Site", "Watch", "watch"]
